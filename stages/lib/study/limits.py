"""Checks of the study's tables against what the model's exact size and the hardware allow.

Each check takes the study's printed values, the exact model (both from data/study) and a translating function.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from stages.lib.reporting.languages import Translate, list_of, number
from stages.lib.reporting.words.names import component_names

MIB = 1024**2
BYTES = {"FP32": 4, "FP16": 2, "INT8": 1}
TOLERANCE = 0.03  # a size within 3 % is called right: it covers buffers and MB for MiB of what is printed

# "Impossible" is for arithmetic on sizes and counts alone. A nominal peak forbids nothing: clocks rise above it, and
# Winograd's convolutions multiply less than a direct count says.
Verdict = Literal["agrees", "differs", "implausible", "impossible", "meaningless"]


@dataclass(frozen=True)
class Finding:
    """One line of the audit, known by `key`; the next three are finished texts. `verdict` follows from the numbers."""

    key: str
    where: str
    printed: str
    arithmetic: str
    verdict: Verdict


def near(value: float, expected: float, tolerance: float) -> bool:
    """Whether a printed value agrees with a computed one but for rounding."""
    return abs(value - expected) <= tolerance


def sizes(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Bytes = parameters times bytes per parameter."""
    for key, row in printed["table_4"]["components"].items():
        parameters = model["components"][key]["parameters"]
        expected = parameters * BYTES["FP32"] / MIB
        per_parameter = row["FP32"] * MIB / (row["parameters_million"] * 1e6)
        fits = abs(row["FP32"] / expected - 1) <= TOLERANCE
        yield Finding(
            f"size-{key}",
            _("Table 4, %(component)s in FP32") % {"component": component_names(_)[key]},
            _("%(size)s MB, %(millions)s M parameters")
            % {"size": number(row["FP32"], ",.1f"), "millions": number(row["parameters_million"], ".1f")},
            _("%(millions)s M × 4 bytes = %(expected)s MiB; what is printed is %(bytes)s bytes per parameter")
            % {
                "millions": number(parameters / 1e6, ".2f"),
                "expected": number(expected, ",.1f"),
                "bytes": number(per_parameter, ".1f"),
            },
            "agrees" if fits else "impossible",
        )


def dynamic(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Dynamic quantization turns the weights of Linear layers into one byte each and leaves the rest at four."""
    parts = model["components"].values()
    total = 4 * sum(part["parameters"] for part in parts)
    after = total - 3 * sum(part["linear_weights"] for part in parts)
    unet = model["components"]["unet"]
    unet_ratio = 4 * unet["parameters"] / (4 * unet["parameters"] - 3 * unet["linear_weights"])
    claimed = printed["table_4"]["compression"]["INT8"]
    yield Finding(
        "compression-int8",
        _("Tables 4 and 5, INT8"),
        _("%(ratio)s× smaller, in every component") % {"ratio": number(claimed, ".2f")},
        _(
            "PyTorch's dynamic quantization converts Linear layers only: at most %(whole)s× for the whole model, "
            "%(unet)s× for the U-Net"
        )
        % {"whole": number(total / after, ".2f"), "unet": number(unet_ratio, ".2f")},
        "agrees" if near(claimed, total / after, 0.05) else "impossible",
    )


def theoretical(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    parameters = sum(part["parameters"] for part in model["components"].values())
    expected, claimed = parameters * 4 / MIB, printed["table_5"]["theoretical"]["FP32"]
    yield Finding(
        "theoretical-size",
        _("Table 5, theoretical size in FP32"),
        _("%(size)s MB") % {"size": number(claimed, ",.1f")},
        _("%(millions)s M × 4 bytes = %(expected)s MiB")
        % {"millions": number(parameters / 1e6, ",.1f"), "expected": number(expected, ",.1f")},
        "agrees" if abs(claimed / expected - 1) <= TOLERANCE else "impossible",
    )


def memory(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The peak holds at least the weights. Printed MB are read as MiB, the larger of the two: the kinder reading."""
    parameters = sum(part["parameters"] for part in model["components"].values())
    for name, stored in (("FP32", "FP32"), ("FP16", "FP16"), ("INT8 Simulated", "FP16")):
        claimed, weights = printed["table_6"][name]["gpu_mb"], parameters * BYTES[stored] / MIB
        yield Finding(
            f"gpu-memory-{name}",
            _("Table 6, GPU memory of %(format)s") % {"format": name},
            _("%(size)s MB at the peak") % {"size": number(claimed, ",.1f")},
            _("the weights alone, stored as %(stored)s, take %(weights)s MiB")
            % {"stored": stored, "weights": number(weights, ",.1f")},
            "agrees" if claimed >= weights else "impossible",
        )


def halves(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """A peak is weights, activations and work space; the last two do not shrink with a simulated format."""
    table = printed["table_6"]
    peaks = [table[name]["gpu_mb"] for name in ("FP32", "FP16", "INT8 Simulated")]
    ratios = [first / second for first, second in zip(peaks, peaks[1:], strict=False)]
    exact = all(near(ratio, 2, 0.001) for ratio in ratios)
    yield Finding(
        "gpu-memory-ratios",
        _("Table 6, GPU memory, all rows"),
        " / ".join(number(peak, ",.1f") for peak in peaks),
        _(
            "ratios of %(ratios)s: halves to the last digit, although activations and work space are part of a peak "
            "and INT8 Simulated stores FP16"
        )
        % {"ratios": list_of([number(ratio, ".3f") for ratio in ratios])},
        "implausible" if exact else "agrees",
    )


def _image_tflop(model: dict[str, Any]) -> float:
    return (model["steps"] * model["gflop"]["unet_step"] + model["gflop"]["vae_decode"]) / 1000


def gpu_time(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    row, peak = printed["table_6"]["FP32"], model["hardware"]["Tesla T4"]["fp32_peak_tflops"]
    work, seconds, error = _image_tflop(model), row["seconds"], row["std"]
    yield Finding(
        "time-FP32",
        _("Table 6, time of FP32 on a Tesla T4"),
        _("%(seconds)s ± %(error)s s per image") % {"seconds": number(seconds, ".2f"), "error": number(error, ".2f")},
        _(
            "%(work)s TFLOP in that time, by a direct count, are %(slowest)s to %(fastest)s TFLOP/s without a pause; "
            "the card's nominal FP32 peak is %(peak)s"
        )
        % {
            "work": number(work, ".1f"),
            "slowest": number(work / (seconds + error), ".1f"),
            "fastest": number(work / (seconds - error), ".1f"),
            "peak": number(peak, ".1f"),
        },
        "implausible" if work / seconds > peak else "agrees",
    )


def cpu_time(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Even if the quantized Linear layers took no time, the other operations stay in FP32."""
    cpu, gflop = model["hardware"]["Xeon"], model["gflop"]
    peak = cpu["cores"] * cpu["clock_ghz"] * cpu["fp32_flop_per_cycle"] / 1000
    rest = _image_tflop(model) - model["steps"] * gflop["unet_step_linear"] / 1000
    seconds = printed["table_6"]["INT8 CPU"]["seconds"]
    yield Finding(
        "time-INT8 CPU",
        _("Table 6, time of INT8 CPU on 8 cores of 2.2 GHz"),
        _("%(seconds)s s per image") % {"seconds": number(seconds, ".2f")},
        _(
            "%(rest)s TFLOP, by a direct count, outside the U-Net's Linear layers stay in FP32; at a nominal peak of "
            "%(peak)s TFLOP/s (64 per core and cycle) they alone take %(least)s s"
        )
        % {"rest": number(rest, ".1f"), "peak": number(peak, ".2f"), "least": number(rest / peak, ".1f")},
        "implausible" if rest / peak > seconds else "agrees",
    )


def fid(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """A singular covariance has a square root, so there is a FID; but it is of these images and nothing else."""
    images, features = printed["images"], model["inception_features"]
    values = [number(row["fid"], ".1f") for row in printed["table_7"].values()]
    yield Finding(
        "fid",
        _("Table 7, FID"),
        " / ".join(values),
        _(
            "a covariance of %(features)s features from n = %(images)s images has rank %(rank)s at most: the FID "
            "exists, but at this n it says nothing about the format"
        )
        % {"features": number(features, ",d"), "images": images, "rank": images - 1},
        "meaningless" if images - 1 < features else "agrees",
    )
