"""What all formats together say: the one question that each was made to answer, every two, and whether measures agree.

Every other comparison in a report is exploratory: it was looked for, and of many some differ by chance.
"""

import math
from dataclasses import asdict
from itertools import combinations

import numpy as np

from stages.lib.project.sections import Quality
from stages.lib.quality.figures import AVERAGED
from stages.lib.quality.metrics import METRICS
from stages.lib.quality.statistics import FEWEST, compare_paired, holm, student_p

SIGNIFICANT = 0.05
# The primary comparison of a format with the baseline: the measure, its value without any loss, and its margin.
QUESTIONS = {"ssim": (1.0, "ssim"), "clip_score_change": (0.0, "clip_score")}
COMPARED = ("psnr_db", "ssim", "clip_score")
# The measures whose agreement is looked at: each once, so not the same one at another percentile.
RANKED = (*(key for key in AVERAGED if key != "ciede2000_p95"), "feature_cosine", "clip_score_change")


def primary(qualities: dict[str, dict], baseline: str, settings: Quality) -> list[dict]:
    """For every format but the baseline, by question: mean and interval over images, and what follows.

    `within`: that the mean loss is smaller than the margin was shown; `beyond`: that it is larger; else `undecided`. p
    is Student's for a loss of just the margin, corrected by Holm for the number of all these questions together, so
    that chance alone gives any wrong answer in at most 5 % of such reports. A question without values is left out.
    """
    found, tests = [], []
    for name, report in qualities.items():
        if name == baseline:
            continue
        row: dict = {"variant": name}
        for key, (lossless, margin) in QUESTIONS.items():
            values = [image[key] for image in report["per_image"] if image[key] is not None]
            if values:
                allowed = getattr(settings.margins, margin)
                row[key] = report["averages"][key] | {"margin": allowed, "p": None, "verdict": "undecided"}
                if len(values) >= FEWEST:
                    tests.append((row[key], lossless - allowed, student_p(np.array(values), lossless - allowed)))
        found.append(row)
    for (answer, bound, _), corrected in zip(tests, holm([p for *_, p in tests]), strict=True):
        answer["p"] = corrected
        if corrected < SIGNIFICANT:
            answer["verdict"] = "within" if answer["mean"] > bound else "beyond"
    return found


def rank_correlations(qualities: dict[str, dict], baseline: str) -> dict | None:
    """Spearman's rank correlations between measures over the formats but the baseline: 1 where two order them alike.

    Of each measure the mean over the same images, those of the sample that all measures have, better values first.
    None of fewer than three formats, or without a sample; a measure that some format lacks is left out, and a
    correlation with a measure by which all formats are equal is None.
    """
    names = [name for name in qualities if name != baseline]
    rows = {name: [row for row in qualities[name]["per_image"] if row["st_lpips"] is not None] for name in names}
    if len(names) < FEWEST or not all(rows.values()):
        return None
    means = {key: [_mean(key, rows[name]) for name in names] for key in RANKED}
    measures = [key for key, values in means.items() if None not in values]
    ranks = [_ranks([_better(key) * value for value in means[key]]) for key in measures]
    return {
        "measures": measures,
        "formats": len(names),
        "images": len(rows[names[0]]),
        "spearman": [[_correlation(one, other) for other in ranks] for one in ranks],
    }


def _mean(key: str, rows: list[dict]) -> float | None:
    """Without what an image lacks: identical images have no PSNR, and images that are all identical the highest."""
    values = [row[key] for row in rows if row[key] is not None]
    if values:
        return float(np.mean(values))
    return math.inf if key == "psnr_db" else None


def _better(key: str) -> int:
    return 1 if METRICS[key].direction == "higher" else -1


def _ranks(values: list[float]) -> np.ndarray:
    """Places from the lowest up; equal values share the mean of theirs."""
    array = np.array(values)
    return (array[:, None] > array).sum(axis=1) + (array[:, None] == array).sum(axis=1) / 2


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def compare_variants(qualities: dict[str, dict], settings: Quality) -> list[dict]:
    """For every two variants, by measure, the mean difference `variant` minus `reference` and what follows from it.

    `qualities` maps names to reports of reports/M/quality, all of the same images. Differences are of each image's
    distance to the baseline (PSNR, SSIM) or of its CLIP score. A measure that an image lacks in either variant (the
    PSNR of identical images) leaves that image out; None where all are left out.
    """
    names = list(combinations(qualities, 2))
    values = {
        name: {row["id"]: [row[key] for key in COMPARED] for row in report["per_image"]}
        for name, report in qualities.items()
    }
    found: list[dict] = [{"reference": reference, "variant": variant} for reference, variant in names]
    for number, key in enumerate(COMPARED):
        differences = [_differences(values[reference], values[variant], number) for reference, variant in names]
        for entry in found:
            entry[key] = None
        for length in sorted({len(row) for row in differences} - {0}):
            chosen = [index for index, row in enumerate(differences) if len(row) == length]
            rows = np.array([differences[index] for index in chosen])
            margin = getattr(settings.margins, key)
            compared = compare_paired(rows, margin, settings.resamples, settings.seed)
            for index, item in zip(chosen, compared, strict=True):
                found[index][key] = asdict(item)
    return found


def _differences(reference: dict[str, list], variant: dict[str, list], number: int) -> list[float]:
    """Measure `number` of the variant minus that of the reference, of the images that have both."""
    both = ((row[number], reference[id][number]) for id, row in variant.items())
    return [new - old for new, old in both if new is not None and old is not None]
