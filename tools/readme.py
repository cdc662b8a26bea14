"""Bring README.md, its image grid and docs/measurements.md up to date after a run: `python -m tools.readme`.

The table of results, of the default set of formats, and the line about the images stand between markers in README.md.
"""

import argparse
import json
from collections.abc import Collection
from pathlib import Path

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_bytes, write_text
from stages.lib.project.lock_file import read_lock
from stages.lib.project.params import Params, load_params
from stages.lib.quality.metrics import METRICS
from stages.lib.reporting.numbers import figure
from tools import images, measurements
from tools.pipeline_file import RUNS

GRID = Path("docs/images.webp")
README = Path("README.md")
BEGIN, END = "<!-- results: made by `python -m tools.readme` -->\n", "<!-- end of results -->\n"
GRID_BEGIN, GRID_END = "<!-- images: made by `python -m tools.readme` of ", " -->\n"
COLUMNS = ("disk_mib", "compression", "latency_s", "speedup", "run_peak_mib", "psnr_db", "ssim")


def result_table(summary: dict, shown: Collection[str]) -> str:
    """A Markdown table of the content of a model's summary.json, one row for each of the variants `shown`."""
    titles = [f"{METRICS[key].name}{f', {METRICS[key].unit}' if METRICS[key].unit else ''}" for key in COLUMNS]
    lines = [" | ".join(["Variant", *titles]), " | ".join(["---", *["---:"] * len(titles)])]
    for row in (row for row in summary["variants"] if row["variant"] in shown):
        lines.append(" | ".join([row["label"], *(_cell(row, key, summary["baseline"]) for key in COLUMNS)]))
    return "".join(f"| {line} |\n" for line in lines)


def with_results(readme: str, summary: dict, shown: Collection[str]) -> str:
    """`readme` with the table between its markers replaced."""
    return _between(readme, BEGIN, result_table(summary, shown), END)


def default_set(params: Params) -> list[str]:
    """The formats that `make report` makes unless it is asked for all."""
    return [name for name, variant in params.variants.items() if variant.default or name == params.baseline]


def with_images(readme: str, stamp: str) -> str:
    """`readme` with the line that tells which run the image grid is of."""
    return _between(readme, GRID_BEGIN, stamp, GRID_END)


def _between(text: str, begin: str, new: str, end: str) -> str:
    before, _, rest = text.partition(begin)
    return before + begin + new + end + rest.partition(end)[2]


def _cell(row: dict, key: str, baseline: str) -> str:
    value = row.get(key)
    if value is not None:
        about = "≈ " if key == "latency_s" and row.get("extrapolated") else ""
        return about + figure(key, value)
    if row["variant"] == baseline or row.get("identical"):
        return "identical"
    return "not measured"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    params = load_params()
    for path in (Path(f"reports/{params.model}/summary.json"), RUNS / params.model / "images" / params.baseline):
        if not path.exists():
            raise UserError(f"{path} is missing: run `make report SET=all` first")
    summary = json.loads(Path(f"reports/{params.model}/summary.json").read_text(encoding="utf-8"))
    write_bytes(GRID, images.generated(params, RUNS / params.model / "images"))
    text = with_results(README.read_text(encoding="utf-8"), summary, default_set(params))
    write_text(README, with_images(text, images.stamp(read_lock(Path("dvc.lock")))))
    measurements.main()


if __name__ == "__main__":
    run_stage(main)
