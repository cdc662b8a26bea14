"""Do a finished run's figures come out again? Some of them, drawn from a seed, by numpy, scikit-image and scipy alone.

`python -m tests.referee` recomputes 40 figures of the run of params.yaml's model from its images, latents and models,
and fails where one differs by more than 1e-6 beyond the six digits that are stored.
"""

import argparse
import sys
from math import floor, log10
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tests.referee.run import Figure, Run

TOLERANCE = 1e-6
DIGITS = 6


def main() -> None:
    """Draw, recompute, print a line for each figure and one for all; exit 1 where any differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=int, default=40)
    parser.add_argument("--root", type=Path, default=Path(), help="folder with params.yaml, reports and data")
    arguments = parser.parse_args()
    params = YAML(typ="safe", pure=True).load((arguments.root / "params.yaml").read_text(encoding="utf-8"))
    model = params["model"]
    run = Run(arguments.root / "reports" / model, arguments.root / "data/runs" / model, params)
    wrong = 0
    for where, stored, recompute in drawn(run.kinds(), arguments.figures, arguments.seed):
        value = float(recompute())
        same = agrees(stored, value)
        wrong += not same
        print(f"{'agrees ' if same else 'DIFFERS'}  {where}: {stored:.6g} stored, {value:.9g} recomputed")
    print(f"referee: {arguments.figures - wrong} of {arguments.figures} figures agree (seed {arguments.seed})")
    sys.exit(wrong > 0)


def drawn(kinds: dict[str, list[Figure]], count: int, seed: int) -> list[Figure]:
    """Figures of all kinds in turns, none twice, as long as there are any."""
    rng = np.random.default_rng(seed)
    shuffled = [[found[index] for index in rng.permutation(len(found))] for found in kinds.values()]
    turns = [kind[turn] for turn in range(max(map(len, shuffled))) for kind in shuffled if turn < len(kind)]
    return turns[:count]


def agrees(stored: float, value: float) -> bool:
    """Whether `value`, rounded to the digits that are stored, is `stored` but for 1e-6 of it."""
    unit = 10.0 ** (floor(log10(abs(value))) - DIGITS + 1) if value else 0.0
    return abs(stored - value) <= unit / 2 + TOLERANCE * abs(value) + 1e-12


if __name__ == "__main__":
    main()
