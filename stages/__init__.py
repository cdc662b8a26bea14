"""The verbs: one module per stage of dvc.yaml, of the same name, run as `python -m stages.NAME`."""
