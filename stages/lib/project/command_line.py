"""The command line of a stage: paths of what it reads and writes, as dvc.yaml gives them. All are required."""

import argparse
from pathlib import Path

# What an option that several stages have stands for.
OPTIONS = {
    "variant": "a key of `variants` in params.yaml",
    "base": "pipeline folder of the base model",
    "models": "folder with one model folder per variant",
    "calibration": "inputs that the stage `calibrate` collected",
    "noise": "initial latents that the stage `noise` drew",
    "images": "folder with one folder of images per variant",
    "reports": "folder of all models' results",
    "environment": "the description of this machine",
    "output": "what to write",
}


def command_line(about: str, *options: str, **others: str) -> argparse.Namespace:
    """The arguments of a stage whose docstring is `about`: `options` of OPTIONS, and `others` with what they are."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    for name, meaning in ({name: OPTIONS[name] for name in options} | others).items():
        parser.add_argument(f"--{name}", type=str if name == "variant" else Path, required=True, help=meaning)
    return parser.parse_args()
