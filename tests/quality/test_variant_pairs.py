"""Paired comparisons of variants: signs, what is left out, and what is claimed."""

from stages.lib.project.sections import Margins, Quality
from stages.lib.quality.variant_answers import compare_variants

SETTINGS = Quality(
    trajectory_prompts=3, floor_prompts=8, floor_seeds=16, resamples=300, seed=0,
    margins=Margins(psnr_db=1, ssim=0.01, clip_score=1), fid_images=10_000, perceptual_prompts=0,
)  # fmt: skip


def report(psnrs: list[float | None], ssims: list[float], score: float | None = 70.0) -> dict:
    rows = zip(psnrs, ssims, strict=True)
    return {
        "per_image": [
            {"id": str(n), "psnr_db": psnr, "ssim": ssim, "clip_score": score} for n, (psnr, ssim) in enumerate(rows)
        ]
    }


def test_every_two_are_compared_once_in_the_declared_order_and_the_sign_is_that_of_the_second():
    qualities = {
        "base": report([None] * 4, [1.0] * 4),
        "good": report([40.0, 41.0, 42.0, 43.0], [0.99, 0.99, 0.992, 0.991]),
        "poor": report([30.0, 31.5, 32.0, 32.5], [0.8, 0.82, 0.85, 0.81]),
    }
    base_good, base_poor, good_poor = compare_variants(qualities, SETTINGS)
    assert (good_poor["reference"], good_poor["variant"]) == ("good", "poor")
    assert good_poor["psnr_db"]["verdict"] == "lower" and good_poor["psnr_db"]["mean"] == -10
    assert base_good["psnr_db"] is None and base_poor["ssim"]["verdict"] == "lower"
    assert base_good["ssim"]["verdict"] == "equal"
    assert good_poor["clip_score"]["verdict"] == "equal" and good_poor["clip_score"]["margin"] == 1


def test_images_without_a_figure_are_left_out_and_n_says_so():
    """Protects against a PSNR of identical images counted as anything, and against a missing CLIP."""
    qualities = {
        "a": report([40.0, None, 42.0, 41.0], [0.9] * 4),
        "b": report([39.0, 35.0, 41.0, 40.0], [0.9] * 4, None),
    }
    (found,) = compare_variants(qualities, SETTINGS)
    assert found["psnr_db"]["n"] == 3 and found["psnr_db"]["mean"] == -1
    assert found["ssim"]["n"] == 4 and found["clip_score"] is None
    assert compare_variants({"alone": qualities["a"]}, SETTINGS) == []
