"""Write docs/measurements.md, how every figure is measured: `python -m tools.measurements`.

All that is said of a figure stands in stages/lib/quality/metrics.csv.
"""

from pathlib import Path

from stages.lib.project.files import write_text
from stages.lib.quality.metrics import METRIC_SOURCES, METRICS

PAGE = Path("docs/measurements.md")
INTRODUCTION = """\
# How every figure is measured

Made by `python -m tools.measurements` from the code that measures. M stands for a model of params.yaml, V for a format.
Any figure is traced down to the hashes in dvc.lock by `python -m stages.trace V KEY`, for example
`python -m stages.trace int8-openvino ssim`. A figure that was not measured is null in its file, with the reason beside
it; a report shows that reason, never a zero.

- **Size** is counted from the stored files and from the loaded tensors (`quantize`).
- **Time and memory** are taken in alternation with the baseline in a second process, in several restarts of both, with
  raw samples kept (`benchmark`).
- **Quality** compares each image with the baseline's image of the same prompt and the same noise (`evaluate`); the
  95 % intervals are bootstraps over prompts. `floor` says what a rerun alone changes, `controls` that wrong images
  are noticed; damage that shows without a reference is looked for as well (`evaluate`).

"""


def page() -> str:
    """The page: one line for each metric."""
    lines = ["| Figure | Key | Unit | What | Stage and file | Source | Beware |", "|---|---|---|---|---|---|---|"]
    for key, metric in METRICS.items():
        source, path = METRIC_SOURCES[key]
        where = f"{source.step}: `{source.file}`" + ("" if path == key else f", `{path}`")
        unit = {"x": "×"}.get(metric.unit, metric.unit)
        cells = [metric.name, f"`{key}`", unit, metric.sentence, where, metric.reference, metric.caveat]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return INTRODUCTION + "\n".join(lines) + "\n"


def main() -> None:
    write_text(PAGE, page())


if __name__ == "__main__":
    main()
