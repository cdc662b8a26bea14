"""Any number of prompts from the grammar of the training captions, for `prompts.file` of params.yaml.

`python -m training.prompts 10000 > data/many.csv` writes the set `many`: the same rows every time, and the first of a
longer file are those of a shorter one. The words may be those of a training image; the noise is each row's own.
"""

import argparse
import csv
import random
import sys

from stages.lib.project.prompts import COLUMNS, MOST_ROWS
from training.captions import caption
from training.scenes import sample_scene

FIRST_SCENE = 10**9
FIRST_SEED = 10**6


def rows(count: int) -> list[tuple]:
    """That many rows in the columns of the prompts file; the same numbers give the same rows."""
    found = []
    for number in range(count):
        scene = sample_scene(random.Random(f"{FIRST_SCENE + number} scene"))
        text = caption(scene, random.Random(f"{FIRST_SCENE + number} caption"))
        found.append((f"many-{number:06d}", text, scene.subject, "medium", FIRST_SEED + number, "many"))
    return found


def main() -> None:
    """Write the rows to the standard output."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, choices=range(1, MOST_ROWS + 1), metavar="count", help=f"1 to {MOST_ROWS}")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([COLUMNS, *rows(parser.parse_args().count)])


if __name__ == "__main__":
    main()
