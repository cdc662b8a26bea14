"""How long do ten thousand to ten million images take, what do they cost, and what gets in the way first?

`python -m tools.scale_plan` prints the table of docs/scale.md from what was measured: it simulates processes that load
and then take one image after another, and adds what one process does alone. `--joining 1000 10000` measures how long
the stage generate takes to join so many images here.
"""

import argparse
import heapq
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.lib.generation.parts import RECORDS, Parts
from stages.lib.generation.recipe import Order
from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import load_params
from stages.lib.project.prompts import MOST_BYTES, MOST_ROWS, Prompt

RECORD = Path("reports/machines/2ae88f9e46fc/scale.json")
TIMING = Path("reports/machines/9339417a8d8d/embedded/fp32/timing.json")  # of its calls only the relative spread
PROCESSES = 8  # on a GPU, as in the record
# docs/scale.md's rows with one process on a GPU: seconds by images of a process. They differ in images, not in loading.
WHOLE_S = {50: 46.4, 500: 344.7}
# Seconds by files, measured on two cores: `dvc add` as in docs/scale.md, and `--joining`.
DVC_S, JOINING_S = {1_000: 0.84, 10_000: 4.7}, {1_000: 0.11, 10_000: 1.17}
IMAGE_BYTES, NOISE_BYTES, ROW_BYTES = 67_000, 4 * 32 * 32 * 4, 96  # a PNG, its latents in FP32, a row of prompts
SIZES, GPUS = (10_000, 100_000, 1_000_000, 10_000_000), (1, 2, 8)
HEAD = "| Images | One GPU, h | Two, h | Eight, h | Eight, as multiplied, h | Cost | Images, GB | Noise, GB | First |"


def line_through(measured: dict[int, float], count: float) -> float:
    """What two measured points, seconds by count, say of another count."""
    (few, few_s), (many, many_s) = measured.items()
    return few_s + (count - few) * (many_s - few_s) / (many - few)


def image_times_s(spread: dict, calls: Sequence[float]) -> list[float]:
    """Seconds of an image in one of PROCESSES processes: their mean from a row of the record, spread as `calls` are."""
    mean_s = (spread["seconds"] - line_through(WHOLE_S, 0)) * PROCESSES * spread["gpus"] / spread["images"]
    return [mean_s * call * len(calls) / sum(calls) for call in calls]


def simulated_s(images: int, processes: int, times_s: Sequence[float]) -> float:
    """Seconds until the last image is there: each process, once loaded, takes the next image when it is free."""
    chance, free_s = random.Random(0), [0.0] * processes
    for _ in range(images):
        heapq.heapreplace(free_s, free_s[0] + chance.choice(times_s))
    return max(free_s)


def plan(images: int, gpus: int, times_s: Sequence[float]) -> dict[str, float]:
    """Seconds of each part of generating `images`, in runs of as many as a prompts file has, one after the other."""
    most = min(MOST_ROWS, MOST_BYTES // ROW_BYTES)
    found = dict.fromkeys(("generation", "loading", "joining", "DVC"), 0.0)
    for count, runs in ((most, images // most), (images % most, 1)):
        if count and runs:
            found["generation"] += runs * simulated_s(count, PROCESSES * gpus, times_s)
            found["loading"] += runs * line_through(WHOLE_S, 0)
            found["joining"] += runs * line_through(JOINING_S, count)
            found["DVC"] += runs * line_through(DVC_S, count)
    return found


def rows(spread: dict, calls: Sequence[float], price_per_hour: float) -> Iterator[str]:
    """The table in Markdown, from a row of the record and seconds of single images, timed one after the other."""
    times_s = image_times_s(spread, calls)
    yield f"{HEAD}\n|{'---:|' * (HEAD.count('|') - 1)}"
    for images in SIZES:
        plans = [plan(images, gpus, times_s) for gpus in GPUS]
        most, whole_h = plans[-1], [sum(found.values()) / 3600 for found in plans]
        multiplied_h = images * spread["seconds"] / spread["images"] / GPUS[-1] / 3600
        first = max(list(most)[1:], key=most.__getitem__)
        figures = [*whole_h, multiplied_h, whole_h[0] * price_per_hour]
        figures += [images * IMAGE_BYTES / 1e9, images * NOISE_BYTES / 1e9]
        share = f"{first} {most[first]:.0f} s, {most[first] / whole_h[-1] / 3600:.0%}"
        yield f"| {images:,} | {' | '.join(map(short, figures))} | {share} |"


def short(value: float) -> str:
    """Two digits: 0.16, 24, 670."""
    return f"{float(f'{value:.2g}'):g}"


def joining_s(images: int) -> float:
    """Measured seconds in which Parts.join makes the output of so many images, whose pixels it does not read."""
    orders = [Order(Prompt(f"m{n}", "a red house", "house", "low", n, "many"), recorded=False) for n in range(images)]
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts.beside(Path(folder, "fp32"), {})
        for order in orders:
            entry = {"id": order.prompt.id, "prompt": order.prompt.prompt, "sha256": "0" * 64, "flagged": False}
            write_json(parts.folder / RECORDS / f"{order.prompt.id}.json", {"entry": entry, "denoising": {}})
            (parts.folder / f"{order.prompt.id}.png").touch()
        start_s = time.perf_counter()
        parts.join(orders, {})
        return time.perf_counter() - start_s


def main() -> None:
    """Print the table, or measure joining."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--joining", type=int, nargs="+", metavar="IMAGES", help="measure the joining of so many")
    for count in (counts := parser.parse_args().joining or ()):
        print(f"{count} images joined in {joining_s(count):.2f} s")
    if not counts:
        (spread,), timing = read_json(RECORD)["spread"], read_json(TIMING)
        calls = [call["latency_s"] for call in timing["calls"]]
        print("\n".join(rows(spread, calls, load_params().cost.price_per_hour)))


if __name__ == "__main__":
    run_stage(main)
