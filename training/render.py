"""Draw the scenes to learn from and the held-out ones.

Writes, under --output: train.npy and heldout.npy (uint8, n x size x size x 3) and train.jsonl, heldout.jsonl with one
line per drawing: its caption and its scene.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from stages.lib.project.errors import UserError, run_stage
from training.scenes import SIZE, example
from training.settings import load_settings

CHUNK = 32


def render(first_seed: int, count: int, size: int, pictures: Path, scenes: Path) -> None:
    """Draw examples first_seed .. first_seed + count - 1, size x size pixels, with all cores, into the two files."""
    partial = pictures.with_suffix(".partial")
    np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, size, size, 3)).flush()
    chunks = [(partial, first_seed, start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    with multiprocessing.Pool(min(len(os.sched_getaffinity(0)), len(chunks))) as pool:
        drawn = list(tqdm(pool.imap(_draw_chunk, chunks), total=len(chunks), desc=pictures.stem, mininterval=5))
    scenes.write_text("".join(line for lines in drawn for line in lines), encoding="utf-8")
    partial.replace(pictures)


def _draw_chunk(task: tuple[Path, int, int, int]) -> list[str]:
    path, first_seed, start, stop = task
    pictures = np.lib.format.open_memmap(path, mode="r+")
    lines = []
    for index in range(start, stop):
        picture, caption, scene = example(first_seed + index)
        pictures[index] = Image.fromarray(picture).reduce(SIZE // pictures.shape[1])
        lines.append(json.dumps({"caption": caption, "scene": dataclasses.asdict(scene)}) + "\n")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--output", type=Path, default=Path("training/work"))
    options = parser.parse_args()
    settings = load_settings(options.params)
    values, size = settings.render, settings.autoencoder.picture_size
    if SIZE % size:
        raise UserError(f"{options.params}: autoencoder.picture_size is {size}: give a divisor of {SIZE}")
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    render(0, values.train_count, size, folder / "train.npy", folder / "train.jsonl")
    render(values.heldout_first_seed, values.heldout_count, size, folder / "heldout.npy", folder / "heldout.jsonl")


if __name__ == "__main__":
    run_stage(main)
