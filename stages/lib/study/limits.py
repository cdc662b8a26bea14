"""Checks of the study's tables against what the model's exact size and the hardware allow.

Each check takes the study's printed values, the exact model (both from data/study) and a translating function.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from stages.lib.reporting.languages import Translate, list_of, number, numbers
from stages.lib.reporting.words.names import names_of

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


def exact_parameters(model: dict[str, Any]) -> int:
    """All parameters of Stable Diffusion v1.5: 1,370,216,895."""
    return sum(part["parameters"] for part in model["components"].values())


def dynamic_bytes(model: dict[str, Any]) -> int:
    """Those of the model after dynamic quantization: one for each weight of Linear layers, four for all else."""
    return sum(4 * part["parameters"] - 3 * part["linear_weights"] for part in model["components"].values())


def sizes(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Bytes = parameters times bytes per parameter."""
    for key, row in printed["table_4"]["components"].items():
        millions, parameters = row["parameters_million"], model["components"][key]["parameters"]
        expected = parameters * BYTES["FP32"] / MIB
        exact = numbers(".2f", millions=parameters / 1e6) | numbers(",.1f", expected=expected)
        yield Finding(
            f"size-{key}",
            _("Table 4, %(component)s in FP32") % {"component": names_of("component", _)[key]},
            _("%(size)s MB, %(millions)s M parameters")
            % (numbers(",.1f", size=row["FP32"]) | numbers(".1f", millions=millions)),
            _("%(millions)s M × 4 bytes = %(expected)s MiB; what is printed is %(bytes)s bytes per parameter")
            % (exact | numbers(".1f", bytes=row["FP32"] * MIB / (millions * 1e6))),
            "agrees" if abs(row["FP32"] / expected - 1) <= TOLERANCE else "impossible",
        )


def dynamic(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Dynamic quantization turns the weights of Linear layers into one byte each and leaves the rest at four."""
    whole, unet = 4 * exact_parameters(model) / dynamic_bytes(model), model["components"]["unet"]
    unet_ratio = 4 * unet["parameters"] / (4 * unet["parameters"] - 3 * unet["linear_weights"])
    claimed = printed["table_4"]["compression"]["INT8"]
    text = _(
        "PyTorch's dynamic quantization converts Linear layers only: at most %(whole)s× for the whole model, "
        "%(unet)s× for the U-Net"
    )
    yield Finding(
        "compression-int8",
        _("Tables 4 and 5, INT8"),
        _("%(ratio)s× smaller, in every component") % numbers(".2f", ratio=claimed),
        text % numbers(".2f", whole=whole, unet=unet_ratio),
        "agrees" if near(claimed, whole, 0.05) else "impossible",
    )


def theoretical(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    parameters, claimed = exact_parameters(model), printed["table_5"]["theoretical"]["FP32"]
    expected = parameters * 4 / MIB
    yield Finding(
        "theoretical-size",
        _("Table 5, theoretical size in FP32"),
        _("%(size)s MB") % numbers(",.1f", size=claimed),
        _("%(millions)s M × 4 bytes = %(expected)s MiB")
        % numbers(",.1f", millions=parameters / 1e6, expected=expected),
        "agrees" if abs(claimed / expected - 1) <= TOLERANCE else "impossible",
    )


def memory(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The peak holds at least the weights. Printed MB are read as MiB, the larger of the two: the kinder reading."""
    for name, stored in (("FP32", "FP32"), ("FP16", "FP16"), ("INT8 Simulated", "FP16")):
        claimed, weights = printed["table_6"][name]["gpu_mb"], exact_parameters(model) * BYTES[stored] / MIB
        yield Finding(
            f"gpu-memory-{name}",
            _("Table 6, GPU memory of %(format)s") % {"format": name},
            _("%(size)s MB at the peak") % numbers(",.1f", size=claimed),
            _("the weights alone, stored as %(stored)s, take %(weights)s MiB")
            % {"stored": stored, **numbers(",.1f", weights=weights)},
            "agrees" if claimed >= weights else "impossible",
        )


def halves(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """A peak is weights, activations and work space; the last two do not shrink with a simulated format."""
    peaks = [printed["table_6"][name]["gpu_mb"] for name in ("FP32", "FP16", "INT8 Simulated")]
    ratios = [first / second for first, second in zip(peaks, peaks[1:], strict=False)]
    text = _(
        "ratios of %(ratios)s: halves to the last digit, although activations and work space are part of a peak "
        "and INT8 Simulated stores FP16"
    )
    yield Finding(
        "gpu-memory-ratios",
        _("Table 6, GPU memory, all rows"),
        " / ".join(number(peak, ",.1f") for peak in peaks),
        text % {"ratios": list_of([number(ratio, ".3f") for ratio in ratios])},
        "implausible" if all(near(ratio, 2, 0.001) for ratio in ratios) else "agrees",
    )


def cpu_memory(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """INT8 CPU runs the whole pipeline there: dynamic quantization makes Linear weights one byte."""
    claimed, weights = printed["table_6"]["INT8 CPU"]["cpu_mb"], dynamic_bytes(model) / MIB
    yield Finding(
        "cpu-memory-INT8 CPU",
        _("Table 6, CPU memory of INT8 CPU"),
        _("%(size)s MB") % numbers(",.1f", size=claimed),
        _("the weights alone, Linear layers in INT8 and the rest in FP32, take %(weights)s MiB")
        % numbers(",.1f", weights=weights),
        "agrees" if claimed >= weights else "impossible",
    )


def _image_tflop(model: dict[str, Any]) -> float:
    return (model["steps"] * model["gflop"]["unet_step"] + model["gflop"]["vae_decode"]) / 1000


def gpu_time(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    row, peak = printed["table_6"]["FP32"], model["hardware"]["Tesla T4"]["fp32_peak_tflops"]
    work, seconds, error = _image_tflop(model), row["seconds"], row["std"]
    text = _(
        "%(work)s TFLOP in that time, by a direct count, are %(slowest)s to %(fastest)s TFLOP/s without a pause; "
        "the card's nominal FP32 peak is %(peak)s"
    )
    slowest, fastest = work / (seconds + error), work / (seconds - error)
    yield Finding(
        "time-FP32",
        _("Table 6, time of FP32 on a Tesla T4"),
        _("%(seconds)s ± %(error)s s per image") % numbers(".2f", seconds=seconds, error=error),
        text % numbers(".1f", work=work, slowest=slowest, fastest=fastest, peak=peak),
        "implausible" if work / seconds > peak else "agrees",
    )


def cpu_time(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Even if the quantized Linear layers took no time, the other operations stay in FP32."""
    cpu, seconds = model["hardware"]["Xeon"], printed["table_6"]["INT8 CPU"]["seconds"]
    peak = cpu["cores"] * cpu["clock_ghz"] * cpu["fp32_flop_per_cycle"] / 1000
    rest = _image_tflop(model) - model["steps"] * model["gflop"]["unet_step_linear"] / 1000
    text = _(
        "%(rest)s TFLOP, by a direct count, outside the U-Net's Linear layers stay in FP32; at a nominal peak of "
        "%(peak)s TFLOP/s (64 per core and cycle) they alone take %(least)s s"
    )
    yield Finding(
        "time-INT8 CPU",
        _("Table 6, time of INT8 CPU on 8 cores of 2.2 GHz"),
        _("%(seconds)s s per image") % numbers(".2f", seconds=seconds),
        text % (numbers(".1f", rest=rest, least=rest / peak) | numbers(".2f", peak=peak)),
        "implausible" if rest / peak > seconds else "agrees",
    )


def fid(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """A singular covariance has a square root, so there is a FID; but it is of these images and nothing else."""
    images, features = printed["images"], model["inception_features"]
    text = _(
        "a covariance of %(features)s features from n = %(images)s images has rank %(rank)s at most: the FID "
        "exists, but at this n it says nothing about the format"
    )
    yield Finding(
        "fid",
        _("Table 7, FID"),
        " / ".join(number(row["fid"], ".1f") for row in printed["table_7"].values()),
        text % {"features": number(features, ",d"), "images": images, "rank": images - 1},
        "meaningless" if images - 1 < features else "agrees",
    )
