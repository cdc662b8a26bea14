"""Single calls of large denoisers, timed on other machines beside compiled 16 bits.

reports/machines/FINGERPRINT/denoisers.json, by tools/measure_denoisers.py: `rows`, and `sha256`, a digest over them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.results.evidence import read_sealed

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

    Times in ms of a call, medians; `speedup` of the faster of both over the control, a format of 16 bits compiled in
    the same layout, with the least and the greatest turn in `speedups`, if they were timed in turns. `typical_gmac`:
    the work-weighted mean size of the Linear layers' products, 10^9 multiply-accumulates. `failure` says why there is
    no time; `shares` what a slow row's time goes to.
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
    speedups: tuple[float, ...] = ()
    typical_gmac: float = 0.0
    failure: str = ""
    shares: dict[str, float] = field(default_factory=dict)


def load_denoisers(folder: Path, remedy: str) -> tuple[DenoiserRow, ...]:
    """The rows of a machine's folder, by model and batch; none where it has no file. Edited ones are a UserError."""
    content = read_sealed(folder / RECORD, remedy)
    if content is None:
        return ()
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
    keys = ("parameters", "size_mib", "latency_ms", "eager_ms", "peak_mib")
    in_turns = found["latency_ms"] <= found["eager_ms"]
    return DenoiserRow(
        **known,
        **{key: found[key] for key in keys},
        compile_s=found.get("compile_s"),
        speedup=found["speedup"] if in_turns else found["control_ms"] / found["eager_ms"],
        speedups=tuple(found["speedups"]) if in_turns else (),
        typical_gmac=found["products"]["typical_gmac"],
        shares=time_shares(found["kernels_ms"], found["latency_ms"]) if "kernels_ms" in found else {},
    )


def time_shares(kernels_ms: dict[str, float], latency_ms: float) -> dict[str, float]:
    """Of a call's time, what each kind of KERNELS takes, the largest first.

    "other" is what no pattern fits, "waiting" the time in which the GPU has nothing to do: `kernels_ms` has all kernels
    together under "". Below 1 % nothing is told.
    """
    whole = max(latency_ms, kernels_ms[""])
    shares = {**dict.fromkeys(KERNELS, 0.0), "waiting": 1 - kernels_ms[""] / whole}
    for name, time_ms in kernels_ms.items():
        kind = next((kind for kind, pattern in KERNELS.items() if re.search(pattern, name)), None)
        if kind:
            shares[kind] += time_ms / whole
    shares["other"] = max(0.0, 1 - sum(shares.values()))
    return {kind: share for kind, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= 0.01}
