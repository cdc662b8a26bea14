"""How far images are from a reference, what they show, what damaged them: metrics, statistics, known damage.

A new measure of a pair is a function, a field of `Distances` and its call in full_reference.py, a key of
`figures.AVERAGED`, a line of metrics.csv and a key of `AVERAGES` in stages.lib.project.lineage; then
`python -m tools.measurements` and `python -m tools.catalogue`. A table that shows it names its key (distances.html.j2).
"""
