"""Timings of single calls of large denoisers on other machines: reports/machines/FINGERPRINT/denoisers.json."""

RECORD = "denoisers.json"
