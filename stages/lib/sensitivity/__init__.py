"""Which component, which step and which layer makes the error: swapping, Shapley values, probe points.

Only the three stages `sensitivity_*` use it, and the report reads what they write. All of it may be changed without
looking elsewhere, but for the keys of the records.
"""
