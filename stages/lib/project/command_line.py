"""The command line of a stage: paths of what it reads and writes, as dvc.yaml gives them. All are required."""

import argparse
import time
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


class Arguments(argparse.Namespace):
    """What a stage was given, and when it began."""

    def __init__(self) -> None:
        super().__init__()
        self._begin_s = time.perf_counter()

    @property
    def took(self) -> str:
        """How long it has worked so far: '12.3 s'."""
        return f"{time.perf_counter() - self._begin_s:.1f} s"


def command_line(about: str, *options: str, **others: str) -> Arguments:
    """The arguments of a stage whose docstring is `about`: `options` of OPTIONS, and `others` with what they are."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    for name, meaning in ({name: OPTIONS[name] for name in options} | others).items():
        parser.add_argument(f"--{name}", type=str if name == "variant" else Path, required=True, help=meaning)
    return parser.parse_args(namespace=Arguments())


def counted(number: int, noun: str) -> str:
    """'1 image', '2 images'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
