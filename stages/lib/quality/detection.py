"""Does the instrument see what it must see? Images generated wrongly on purpose, compared and judged like any
variant's.

And the limits of seeing: how weak known damage may be on these very images before no word is said about it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from stages.lib.generation.image_folder import StoredImage, check_same_prompts
from stages.lib.project.errors import UserError
from stages.lib.quality.appearance import MEASURES, judge, judge_all, seen, shift_of
from stages.lib.quality.artefacts import Figures, figures_of
from stages.lib.quality.comparison import average, compare
from stages.lib.quality.full_reference import Prepared
from stages.lib.quality.known_artefacts import DAMAGES, Damage
from stages.lib.quality.metrics import rate_psnr

Expectation = Literal["identical", "different", "stopped"]

# What each control must come to.
CONTROLS: dict[str, Expectation] = {
    "rerun": "identical",
    "seeds": "different",
    "prompts": "different",
    "int2": "different",
    "nan": "stopped",
}
# The study's words that an image generated wrongly must not earn. How far other words carry depends on how much the
# model listens to them; other noise and ruined weights leave nothing in place.
TOO_GOOD = {
    "seeds": ("identical", "excellent", "good"),
    "prompts": ("identical", "excellent"),
    "int2": ("identical", "excellent", "good"),
}
# Mean PSNR, dB, from which on images differ too little for such a control to say anything, and whose doing that is.
NEARLY_EQUAL_DB = {"seeds": 30.0, "prompts": 40.0, "int2": 30.0}
SAYS_NOTHING = {"seeds": "noise_hardly_used", "prompts": "prompt_hardly_read", "int2": "weights_hardly_used"}
Judged = tuple[StoredImage, np.ndarray]


def judge_images(name: str, references: Sequence[Judged], generated: Sequence[Judged]) -> dict[str, Any]:
    """One control's images against the baseline's, pair by pair: the figures and words that a variant would get.

    The images are first compared as what they are: where prompt or seed differs, `refusal` is the error that stops
    it. Then they are compared as if their names had lied.
    """
    comparisons = [
        compare(reference, image, (Prepared(before), Prepared(after)))
        for (reference, before), (image, after) in zip(references, generated, strict=True)
    ]
    judged = judge_all([figures_of(rgb) for _, rgb in references], [figures_of(rgb) for _, rgb in generated])
    means = average(comparisons)
    result = {
        "name": name,
        "expected": CONTROLS[name],
        **means,
        "rating": rate_psnr(means["psnr_db"]),
        "seen": {key: judged[key]["grade"] for key in seen(judged)},
        "refusal": refusal(references, generated),
        "message": None,
    }
    reason = says_nothing(result, references, generated)
    return result | {"reason": reason, "caught": None if reason else is_caught(result)}


def says_nothing(result: dict[str, Any], references: Sequence[Judged], generated: Sequence[Judged]) -> str | None:
    """Why a control that is not caught shows nothing of the instrument: with this model its images hardly differ.

    Taken from the pixels by arithmetic of its own, so that a comparison that sees nothing is still found. Images that
    are all equal whatever their noise, or with a ruined denoiser, are generation's fault: None, as for all others.
    """
    name = result["name"]
    if name not in SAYS_NOTHING or is_caught(result) or not _is_named(result):
        return None
    pairs = [
        (before.astype(float), after.astype(float))
        for (_, before), (_, after) in zip(references, generated, strict=True)
    ]
    errors = [float(((before - after) ** 2).mean()) for before, after in pairs]
    if not any(errors) and name != "prompts":
        return None
    return SAYS_NOTHING[name] if min(errors) <= 255**2 / 10 ** (NEARLY_EQUAL_DB[name] / 10) else None


def judge_stop(name: str, generate: Callable[[], Any]) -> dict[str, Any]:
    """A control that must end in a UserError, which `message` quotes; an image instead of it is not caught."""
    message = None
    try:
        generate()
    except UserError as error:
        message = str(error)
    return {"name": name, "expected": CONTROLS[name], "message": message, "caught": message is not None}


def refusal(references: Sequence[Judged], generated: Sequence[Judged]) -> str | None:
    """The error that stops comparing these images under their true prompts and seeds; None if nothing does."""
    pairs = [{image.id: image for image, _ in side} for side in (references, generated)]
    folders = [next(iter(side.values())).path.parent for side in pairs]
    try:
        check_same_prompts(folders, pairs)
    except UserError as error:
        return str(error)
    return None


def is_caught(result: dict[str, Any]) -> bool:
    """Whether the figures say what they must: all identical, or none of them and no good word for it."""
    if result["expected"] == "identical":
        return result["identical"] == result["images"] and not result["seen"] and result["ssim"] == 1
    return result["identical"] == 0 and result["rating"] not in TOO_GOOD[result["name"]] and _is_named(result)


def _is_named(result: dict[str, Any]) -> bool:
    """Whether images of other prompts or seeds were refused by their names."""
    return result["refusal"] is not None or result["name"] == "int2"


def detection_limits(images: Sequence[np.ndarray]) -> dict[str, dict[str, Any]]:
    """By kind of damage: the weakest strength of its ladder from which on all stronger ones are seen in `images`.

    `weakest` is None where not even the strongest is seen. `n` images, two at least.
    """
    before = [figures_of(rgb) for rgb in images]
    return {kind: _limit(damage, images, before) for kind, damage in DAMAGES.items()}


def false_alarms(references: Sequence[Figures], images: Sequence[Figures], trials: int, seed: int) -> dict[str, float]:
    """By measure: how often a grade would be given where there is nothing: the share of `trials`.

    `images` are as good as `references` and pair by pair of the same prompts, as from other seeds. In each trial the
    two of every pair are exchanged or not at random, which leaves no difference between the groups but chance. Two
    pairs at least.
    """
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (trials, len(references)))
    shifts = [shift_of(*pair) for pair in zip(references, images, strict=True)]
    rates = {}
    for key, measure in MEASURES.items():
        drawn = signs * np.array([shift[key] for shift in shifts])
        rates[key] = sum(judge(measure, row)["grade"] != "none" for row in drawn.tolist()) / trials
    return rates


def _limit(damage: Damage, images: Sequence[np.ndarray], before: Sequence[Figures]) -> dict[str, Any]:
    weakest = None
    for strength in reversed(damage.ladder):
        words = seen(judge_all(before, [figures_of(damage.do(rgb, strength)) for rgb in images]))
        if not set(words) & set(damage.measures):
            break
        weakest = strength
    return {
        "measures": list(damage.measures),
        "weakest": weakest,
        "tried": list(damage.ladder),
        "images": len(images),
    }
