"""Invented figures of distances, alignment, sets and trajectories, in the form that the stages write."""

import json
from pathlib import Path

CLIP = "own_clip"


def quality_figures(images: list[dict], clip: bool = True) -> dict:
    """What reports/quality/V.json holds beside PSNR and SSIM; `images` (id, psnr_db, ssim) are added to."""
    from stages.lib.quality.figures import NO_CLIP, tails
    from stages.lib.quality.statistics import intervals

    for number, row in enumerate(images):
        loss = 1 - row["ssim"]
        row |= {"ms_ssim": 1 - loss / 2, "ciede2000": 20 * loss, "ciede2000_p95": 60 * loss, "gmsd": loss / 3}
        row |= {"st_lpips": loss / 2, "flip": loss / 4} if number < 2 else {"st_lpips": None, "flip": None}
        row |= dict.fromkeys(("feature_cosine", "clip_score", "baseline_clip_score", "clip_score_change", "attributes"))
        row |= dict.fromkeys(("attributes_right", "attributes_right_change"))
        if clip:
            row |= {
                "feature_cosine": 1 - loss / 9,
                "baseline_clip_score": 70.0 + number,
                "clip_score_change": -9 * loss,
            }
            row |= {"clip_score": 70 + number - 9 * loss, "attributes_right": 90.0, "attributes_right_change": -loss}
    keys = ("psnr_db", "ssim", "ms_ssim", "ciede2000", "ciede2000_p95", "gmsd", "st_lpips", "flip")
    keys += ("feature_cosine", "clip_score", "clip_score_change", "attributes_right", "attributes_right_change")
    samples = {key: [row[key] for row in images if row[key] is not None] for key in keys}
    reasons = {}
    if not clip:
        reasons |= dict.fromkeys(("feature_cosine", "clip_score", "clip_score_change", "attributes"), NO_CLIP)
        reasons["distribution"] = NO_CLIP
    same = all(row["identical"] for row in images)
    counts = {"asked": 10, "right": 9, "baseline_right": 9, "lost": 0 if same else 1, "gained": 0 if same else 1}
    return {
        "averages": intervals(samples, 200, 0),
        "tails": tails(images),
        "not_measured": reasons,
        "attributes": {"all": counts, "subject": counts} if clip else None,
        "distribution": _sets(len(images), 0.0 if same else 1e-5) if clip else None,
        "trajectory": {
            "prompts": 3,
            "snr_db": {},
            "mean_snr_db": [None if same else 50.0 - step for step in range(21)],
        },
    }


def _sets(n: int, value: float) -> dict:
    interval = {"mean": value, "low": value - 1e-6, "high": value + 1e-6, "n": n}
    interval |= {"noise": 4e-7, "beyond_zero": value > 1e-6}
    return {
        "features": CLIP,
        "n": n,
        "dimension": 96,
        "rank": n - 1,
        "kid": interval,
        "cmmd": interval,
        "fid": None,
        "fid_required": 10_000,
    }


def write_floor(path: Path, quality: dict) -> None:
    """reports/floor.json after the quality of the baseline: identical but for another number of threads."""
    run = {key: quality[key] for key in ("averages", "attributes", "distribution", "trajectory", "identical", "images")}
    images = [{"id": row["id"], "psnr_db": None} for row in quality["per_image"]]
    same = run | {"threads": 2, "processes": 1, "per_image": images}
    from stages.lib.quality.appearance import MEASURES

    psnr = {"mean": 88.0, "low": 87.0, "high": 89.0, "n": len(images)}
    threads = same | {
        "threads": 1,
        "identical": 0,
        "averages": run["averages"] | {"psnr_db": psnr},
        "per_image": [row | {"psnr_db": 88.0} for row in images],
        "trajectory": run["trajectory"] | {"mean_snr_db": [100.0] * 21},
    }
    same["false_alarms"] = {"trials": 100, "rates": dict.fromkeys(MEASURES, 0.01)}
    runs = {"again": same, "threads": threads, "processes": same | {"processes": 2}}
    path.write_text(json.dumps({"baseline": "fp32", "runs": runs, "seeds": same}), encoding="utf-8")


def set_ssim(path: Path, mean: float, half: float = 0.02, images: int = 34) -> None:
    """Give a quality file that mean SSIM, and an interval of `half` on either side of it, as if of so many images."""
    quality = json.loads(path.read_text(encoding="utf-8"))
    quality["ssim"] = mean
    quality["averages"]["ssim"] = {"mean": mean, "low": mean - half, "high": min(1.0, mean + half), "n": images}
    for number, image in enumerate(quality["per_image"]):
        image["ssim"] = mean + 0.01 * (number - 2)
    path.write_text(json.dumps(quality), encoding="utf-8")
