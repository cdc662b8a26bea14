"""The formulas that the study prints, each tried on numbers: right, or wrong with the correction."""

import math
from dataclasses import dataclass
from typing import Any

from stages.lib.reporting.languages import Translate, numbers
from stages.lib.study.limits import MIB, dynamic_bytes, exact_parameters

STEP, ZERO_POINT, EXAMPLE = 0.1, 3, 1.0  # what the affine formulas are tried on


@dataclass(frozen=True)
class StudyFormula:
    """`image` and `correction` name entries of the report's FORMULAS; `correction` is None where none is needed."""

    section: str
    image: str
    words: str
    right: bool
    reading: str
    correction: str | None = None
    correction_words: str = ""


def study_formulas(exact: dict[str, Any], _: Translate) -> list[StudyFormula]:
    """All six, in the study's order. `exact` is data/study/stable_diffusion_v1_5.json."""
    return [_quantization(_), *_theory(_), _size(exact, _)]


def printed_quantization(x: float, step: float, zero_point: int) -> float:
    """What the study prints: the integer zero point is added to a real number."""
    return round(x / step) * step + zero_point


def affine_quantization(x: float, step: float, zero_point: int) -> float:
    """To INT8 and back: x' = (q - z) s with q = clamp(round(x / s) + z)."""
    return (max(-128, min(127, round(x / step) + zero_point)) - zero_point) * step


def _quantization(_: Translate) -> StudyFormula:
    printed = printed_quantization(EXAMPLE, STEP, ZERO_POINT)
    right = affine_quantization(EXAMPLE, STEP, ZERO_POINT)
    text = _(
        "The zero point z is an integer and is added to a real number, and nothing keeps q within −128 to 127. "
        "With Δ = %(step)s and z = %(zero)s, x = %(x)s becomes %(printed)s; affine quantization gives %(right)s."
    )
    return StudyFormula(
        "2.1.1",
        "study-quantize",
        _("Q(x) = round(x / Δ) Δ + z"),
        abs(printed - EXAMPLE) <= STEP / 2,
        text % numbers("g", step=STEP, zero=ZERO_POINT, x=EXAMPLE, printed=printed, right=right),
        "quantize",
        _("q = clamp(round(x / s) + z, q min, q max)"),
    )


def _theory(_: Translate) -> list[StudyFormula]:
    """Diffusion's two processes and the two measures of a pair of images."""
    beta, error = 0.012, 10.0  # the largest share of noise of Stable Diffusion's schedule; a mean square error
    mean, variance, c1, c2 = 120.0, 900.0, (0.01 * 255) ** 2, (0.03 * 255) ** 2
    itself = (2 * mean * mean + c1) * (2 * variance + c2) / ((2 * mean**2 + c1) * (2 * variance + c2))
    return [
        StudyFormula(
            "2.2.1",
            "forward",
            _("q(x t | x t−1) = N(x t; √(1 − β t) x t−1, β t I)"),
            math.isclose(math.sqrt(1 - beta) ** 2 + beta, 1),
            _("A variance of 1 stays 1, since (1 − β) + β = 1. Here x is the latent, not the image."),
        ),
        StudyFormula(
            "2.2.2",
            "reverse",
            _("p θ(x t−1 | x t) = N(x t−1; μ θ(x t, t), Σ θ(x t, t))"),
            True,
            _(
                "The general form. The study's U-Net predicts noise, from which μ follows; Σ is not learned, and the "
                "PNDM scheduler, Stable Diffusion's default, adds no noise on the way (Σ = 0), so that formats can be "
                "compared image by image."
            ),
        ),
        StudyFormula(
            "2.3.1",
            "study-psnr",
            _("PSNR = 20 log10(MAX / √MSE)"),
            math.isclose(20 * math.log10(255 / math.sqrt(error)), 10 * math.log10(255**2 / error)),
            _(
                "The same as 10 log10(MAX² / MSE). It has no value for identical images; its mean is that of the "
                "images' decibels, not of their errors. The study's listing 3 computes it with a maximum "
                "that it never defines."
            ),
        ),
        StudyFormula(
            "2.3.1",
            "ssim",
            _("SSIM(x, y) = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))"),
            math.isclose(itself, 1),
            _(
                "Equal images give 1. σxy is a covariance, which the study's legend leaves out, and the formula holds "
                "for one window: what is printed is a mean over windows, whose size and constants it does not state."
            ),
        ),
    ]


def _size(exact: dict[str, Any], _: Translate) -> StudyFormula:
    linear = sum(part["linear_weights"] for part in exact["components"].values())
    counted, stored = 4 * (exact_parameters(exact) - linear) / MIB, dynamic_bytes(exact) / MIB
    return StudyFormula(
        "3.4.1",
        "study-size",
        _("size = sum of numel i × element size i"),
        math.isclose(counted, stored),
        _(
            "Right for a model as it was trained. Dynamic quantization packs the weights of Linear layers, which then "
            "are no parameters any more: of Stable Diffusion v1.5's %(stored)s MiB the sum finds %(counted)s at most. "
            "Here the bytes of files and of loaded storage are counted, and the theoretical size apart from them."
        )
        % numbers(",.1f", stored=stored, counted=counted),
        "size",
        _("theoretical bytes = sum of numel i × bits i / 8"),
    )
