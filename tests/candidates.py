"""Invented candidates for tests of trade-offs, decisions and costs."""

import random

from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range


def candidate(name: str, speedup: float | None = 1.0, disk_mib: float = 10.0, ssim: float | None = 1.0, **more):
    """A candidate whose baseline takes one second; ranges are 5 % wide, those of SSIM 0.01."""
    given = {
        "label": name.upper(),
        "device": "cpu",
        "simulated": speedup is None,
        "is_baseline": False,
        "compression": 40 / disk_mib,
        "making_s": 1.0,
        "peak_mib": None if speedup is None else 500.0,
        "extrapolated": False,
        "psnr_db": None if ssim in (None, 1.0) else 40.0,
        "ssims": () if ssim is None else (ssim,) * 4,
    } | more
    ratios = speedup and Range(speedup, 0.95 * speedup, 1.05 * speedup)
    times = speedup and Range(1 / speedup, 1 / (1.05 * speedup), 1 / (0.95 * speedup))
    quality = None if ssim is None else Range(ssim, ssim - 0.005, min(1.0, ssim + 0.005))
    return Candidate(name=name, disk_mib=disk_mib, speedup=ratios, time_s=times, ssim=quality, **given)


def some(seed: int, count: int = 8) -> list[Candidate]:
    """Candidates drawn from `seed`; values repeat, so that there are ties."""
    rng, found = random.Random(seed), []
    for number in range(count):
        speedup = rng.choice([None, 0.5, 1.0, 1.5, 2.0, 2.5])
        found.append(
            candidate(
                f"v{number}",
                speedup=speedup,
                disk_mib=rng.choice([8.0, 10.0, 20.0, 40.0]),
                ssim=rng.choice([0.8, 0.9, 0.95, 0.97, 0.99, 1.0]),
                device=rng.choice(["cpu", "cpu", "cuda"]),
                peak_mib=None if speedup is None else rng.choice([300.0, 500.0, 700.0, 900.0]),
            )
        )
    return found
