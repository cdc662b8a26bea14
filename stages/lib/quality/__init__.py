"""How far images are from a reference, what they show, what damaged them: metrics, statistics, known damage.

A new measure of a pair is a function, a field of `Distances` and its call in full_reference.py, and a line of
metrics.csv: tables, rankings and lineage take it from there. Then `python -m tools.measurements` and
`python -m tools.catalogue`.
"""
