"""Single calls of large denoisers, timed on other machines beside compiled 16 bits.

reports/machines/FINGERPRINT/denoisers.json, by tools/measure_denoisers.py: `rows`, and `sha256`, a digest over them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.results.evidence import seal

RECORD = "denoisers.json"
# What kernels are for, by their names; the first that fits. The products of what is not asked here are `products`.
KERNELS = {
    "attention": r"sdpa|flash|fmha|attention|softmax",
    "layout": r"nchwToNhwc|nhwcToNchw|transpose",
    "unpacking": r"[Dd]equant|dequantize|int4pack",
    "convolutions": r"conv|fprop|implicit|cudnn",
    "products": r"gemm|nvjet|cutlass|splitK|_mm",
    "rounding": r"triton.*(amax|abs|clamp)",
    "casts": r"to_copy|copy_kernel|Memcpy",
}


@dataclass(frozen=True)
class DenoiserRow:
    """One format of one denoiser in one batch.

    Times in ms of a call, medians; `speedup` over `control`, a format of 16 bits compiled in the same layout, timed in
    turns, with its least and greatest turn in `speedups`. `typical_gmac`: the work-weighted mean size of the Linear
    layers' products, 10^9 multiply-accumulates. `failure` says why there is no time; `shares` what the kernels of a
    slow row are for.
    """

    model: str
    label: str
    batch: int
    is_control: bool
    arithmetic: str
    commit: str | None
    parameters: int = 0
    size_mib: float = 0.0
    latency_ms: float = 0.0
    eager_ms: float = 0.0
    peak_mib: float = 0.0
    compile_s: float | None = None
    speedup: float = 0.0
    speedups: tuple[float, float] = (0.0, 0.0)
    typical_gmac: float = 0.0
    failure: str = ""
    shares: dict[str, float] = field(default_factory=dict)


def load_denoisers(folder: Path, remedy: str) -> tuple[DenoiserRow, ...]:
    """The rows of a machine's folder, by model and batch; none where it has no file. Edited ones are a UserError."""
    path = folder / RECORD
    if not path.is_file():
        return ()
    content = read_mapping(path, remedy)
    if content.pop("sha256", None) != seal(content):
        raise UserError(f"{path} was edited after it was measured: {remedy}")
    rows = [_row(found) for found in content["rows"]]
    models = list(dict.fromkeys(row.model for row in rows))
    return tuple(sorted(rows, key=lambda row: (models.index(row.model), row.batch, not row.is_control)))


def _row(found: dict[str, Any]) -> DenoiserRow:
    variant = found["variant"]
    known = {
        "model": found["model_label"],
        "label": variant["label"],
        "batch": found["batch"],
        "is_control": found["format"] == found["control"],
        "arithmetic": variant.get("activations", ""),
        "commit": found["commit"],
    }
    if "failure" in found:
        return DenoiserRow(**known, failure=found["failure"])
    keys = ("parameters", "size_mib", "latency_ms", "eager_ms", "peak_mib", "speedup")
    return DenoiserRow(
        **known,
        **{key: found[key] for key in keys},
        compile_s=found.get("compile_s"),
        speedups=tuple(found["speedups"]),
        typical_gmac=found["products"]["typical_gmac"],
        shares=kernel_shares(found["kernels_ms"]) if "kernels_ms" in found else {},
    )


def kernel_shares(kernels_ms: dict[str, float]) -> dict[str, float]:
    """Of a call's time on the GPU, what each kind of KERNELS takes, the largest first; "other" is what none is."""
    whole, shares = kernels_ms[""], dict.fromkeys(KERNELS, 0.0)
    for name, time_ms in kernels_ms.items():
        kind = next((kind for kind, pattern in KERNELS.items() if re.search(pattern, name)), None)
        if kind:
            shares[kind] += time_ms / whole
    shares["other"] = max(0.0, 1 - sum(shares.values()))
    return {kind: share for kind, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= 0.01}
