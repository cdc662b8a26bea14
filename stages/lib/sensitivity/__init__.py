"""Which component, which step and which layer makes the error: swapping, Shapley values, probe points, layers to spare.

All of it may be changed without looking elsewhere, but for the keys of the records, which the report reads.
"""
