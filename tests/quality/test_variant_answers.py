"""Primary comparisons and agreement of measures: the answers that data of known truth must have."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from stages.lib.project.sections import Margins, Quality
from stages.lib.quality.statistics import intervals
from stages.lib.quality.variant_answers import RANKED, primary, rank_correlations

SETTINGS = Quality(
    trajectory_prompts=0, floor_prompts=1, floor_seeds=3, resamples=200, seed=0,
    margins=Margins(psnr_db=1, ssim=0.01, clip_score=1), fid_images=10_000, perceptual_prompts=2,
)  # fmt: skip


def report(ssims, changes=None) -> dict:
    rows = [{"id": str(n), "ssim": ssim, "clip_score_change": None} for n, ssim in enumerate(ssims)]
    for row, change in zip(rows, changes if changes is not None else [], strict=False):
        row["clip_score_change"] = change
    samples = {key: [row[key] for row in rows if row[key] is not None] for key in ("ssim", "clip_score_change")}
    return {"per_image": rows, "averages": intervals(samples, 200, 0)}


def verdicts(qualities: dict[str, dict]) -> dict[str, str]:
    return {
        row["variant"]: row["ssim"]["verdict"]
        for row in primary({"fp32": report([1.0] * 5)} | qualities, "fp32", SETTINGS)
    }


def test_a_loss_below_and_beyond_the_margin_and_one_that_cannot_be_told():
    rng = np.random.default_rng(0)
    assert verdicts(
        {
            "near": report(0.998 + rng.normal(0, 0.001, 34)),
            "far": report(0.9 + rng.normal(0, 0.02, 34)),
            "edge": report(0.99 + rng.normal(0, 0.02, 34)),
            "same": report([1.0] * 34),
        }
    ) == {"near": "within", "far": "beyond", "edge": "undecided", "same": "within"}


def test_alignment_is_the_other_question_and_is_left_out_without_a_clip():
    changes = np.random.default_rng(1).normal(-3, 0.5, 34)
    qualities = {"fp32": report([1.0] * 34), "a": report([1.0] * 34, changes), "b": report([1.0] * 34)}
    first, second = primary(qualities, "fp32", SETTINGS)
    assert first["clip_score_change"]["verdict"] == "beyond" and "clip_score_change" not in second


def test_many_questions_raise_the_bar_for_each():
    """Alone this loss is shown to be beyond the margin; among sixty others it may be chance."""
    values = 0.984 + 0.013 * np.random.default_rng(2).normal(0, 1, 34)
    alone = verdicts({"x": report(values)})
    rng = np.random.default_rng(3)
    others = {f"v{n}": report(0.99 + rng.normal(0, 0.02, 34)) for n in range(60)}
    assert alone["x"] == "beyond" and verdicts(others | {"x": report(values)})["x"] == "undecided"
    assert set(verdicts(others).values()) == {"undecided"}


def test_two_images_answer_nothing():
    assert verdicts({"x": report([0.1, 0.1])}) == {"x": "undecided"}


def sampled(level: float, rng: np.random.Generator) -> dict:
    """Two images of the sample and one beyond it, worse by `level` in every measure."""
    row = {"psnr_db": 60 - 40 * level, "ssim": 1 - level, "ms_ssim": 1 - level, "ciede2000": level, "gmsd": level}
    row |= {"st_lpips": level, "flip": level, "feature_cosine": 1 - level, "clip_score_change": rng.normal()}
    beyond = dict.fromkeys(RANKED, 0.0) | {"st_lpips": None, "flip": None}
    return {"per_image": [{"id": "a", **row}, {"id": "b", **row}, {"id": "c", **beyond}]}


def test_measures_that_order_formats_alike_correlate_fully_whatever_their_direction():
    rng = np.random.default_rng(4)
    levels = [0.4, 0.1, 0.3, 0.2, 0.25]
    qualities = {"fp32": sampled(0, rng)} | {f"v{n}": sampled(level, rng) for n, level in enumerate(levels)}
    found = rank_correlations(qualities, "fp32")
    assert (found["formats"], found["images"], found["measures"]) == (5, 2, list(RANKED))
    table = np.array(found["spearman"])
    assert table[:-1, :-1] == pytest.approx(1) and table == pytest.approx(table.T)
    changes = [qualities[f"v{n}"]["per_image"][0]["clip_score_change"] for n in range(5)]
    assert table[-1, 1] == pytest.approx(spearmanr(changes, [-level for level in levels]).statistic)


def test_ties_identical_images_and_missing_measures():
    rng = np.random.default_rng(5)
    qualities = {"fp32": sampled(0, rng)} | {name: sampled(0.2, rng) for name in ("a", "b", "c")}
    for row in qualities["a"]["per_image"]:
        row["psnr_db"] = row["ms_ssim"] = None
    found = rank_correlations(qualities, "fp32")
    assert "ms_ssim" not in found["measures"]
    first = found["measures"].index("psnr_db"), found["measures"].index("ssim")
    assert found["spearman"][first[0]][first[0]] == 1, "identical images rank above the others"
    assert found["spearman"][first[0]][first[1]] is None, "all have the same SSIM"
    assert rank_correlations(dict(list(qualities.items())[:3]), "fp32") is None
