"""Write docs/measurements.md, how every figure is measured: `python -m tools.measurements`.

What a figure is, its unit and its paper stand in stages/lib/quality/metrics.py, its file in
stages/lib/project/lineage.py; here is what to beware of.
"""

from pathlib import Path

from stages.lib.project.files import write_text
from stages.lib.project.lineage import METRIC_SOURCES
from stages.lib.quality.metrics import METRICS

PAGE = Path("docs/measurements.md")
SPREAD = "Over these images; no confidence interval for others."
FRAMEWORK = "Includes the interpreter and its libraries, which weigh more beside a small model."
CHANGED = "A changed image need not be a worse one."
OWN_CLIP = "The model's own CLIP judges; other models' scores are not comparable. Without a CLIP it is not measured."
CAVEATS = {
    "parameters": "Before anything is left out; what a back end does not store is counted apart.",
    "theoretical_mib": "A bound for comparison: scales, headers and layers that stay wider come on top.",
    "disk_mib": "Without tokenizer and configurations.",
    "runtime_mib": "Graphs of OpenVINO and ONNX Runtime are stored compressed; this is what they are unpacked to.",
    "memory_mib": "Tensors only; a runtime may keep copies besides, see the increase on loading.",
    "load_growth_mib": "On a CPU it is memory that belongs to the process alone (USS), in one fresh process.",
    "overhead_percent": "High where layers are not converted, or where integers are only simulated.",
    "quantize_s": "One run, not repeated.",
    "quantize_peak_mib": FRAMEWORK,
    "compression": "Of the whole model: one component may compress far more or less.",
    "load_time_s": "One start, not repeated; depends on what the system has in its file cache.",
    "first_call_s": "One call, not repeated.",
    "latency_s": "One prompt on one machine. Never given for a simulated format.",
    "speedup": "The baseline against itself shows how far the clock can be trusted.",
    "load_peak_mib": FRAMEWORK,
    "run_peak_mib": FRAMEWORK,
    "psnr_db": f"{CHANGED} Identical images have none and are counted apart.",
    "psnr_db_std": SPREAD,
    "ssim": CHANGED,
    "ssim_std": SPREAD,
    "ssim_minimum": "One image; another prompt may be worse.",
    "ms_ssim": CHANGED,
    "ciede2000": "A mean hides a small area of a quite different colour, see the 95th percentile.",
    "ciede2000_p95": "Says nothing about the twentieth pixel itself.",
    "gmsd": "Sees edges, no colour.",
    "st_lpips": "Over a sample of the prompts; its judges saw photographs.",
    "flip": "Over a sample of the prompts; says where a difference is seen, not whether it is worse.",
    "feature_cosine": OWN_CLIP,
    "clip_score": OWN_CLIP,
    "clip_score_change": OWN_CLIP,
    "attributes_right": OWN_CLIP,
    "attributes_right_change": OWN_CLIP,
    "kid": "Images of the same prompts are no independent samples; may be negative.",
    "cmmd": "Images of the same prompts are no independent samples; may be negative.",
    "fid": "Refused below `quality.fid_images` images, with the reason in the report.",
    "latent_snr_db": "For the first `quality.trajectory_prompts` prompts only.",
    "images": "The same prompts and seeds for every format.",
    "identical": "On the same machine and versions; other processors round otherwise.",
    "flagged": "By the checker in the format's own numbers: a flip may come from it or from the image.",
}
INTRODUCTION = """\
# How every figure is measured

Made by `python -m tools.measurements` from the code that measures. M stands for a model of params.yaml, V for a format.
Any figure is traced down to the hashes in dvc.lock by `python -m stages.trace V KEY`, for example
`python -m stages.trace int8-openvino ssim`. A figure that was not measured is null in its file, with the reason beside
it; a report shows that reason, never a zero.

- **Size** is counted from the stored files and from the loaded tensors (`quantize`).
- **Time and memory** are taken in fresh processes, in alternation with the baseline in a second process, with raw
  samples kept (`benchmark`).
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
        cells = [metric.name, f"`{key}`", unit, metric.sentence, where, metric.reference, CAVEATS[key]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return INTRODUCTION + "\n".join(lines) + "\n"


def main() -> None:
    write_text(PAGE, page())


if __name__ == "__main__":
    main()
