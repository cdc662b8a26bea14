"""How far images are from a reference, what they show, what damaged them: metrics, statistics, known damage.

Pure functions of pixels and features, used by `evaluate`, `inspect`, `controls` and `floor`. A new metric is a
function here and one line of metrics.csv, which report, README and gates read; nothing else has to know of it.
"""
