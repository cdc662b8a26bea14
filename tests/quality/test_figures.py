"""Figures of sets of images: the same in any batch, in order, and shown beside the floor as they should be."""

from pathlib import Path

import numpy as np
import pytest

from stages.lib.generation.image_folder import StoredImage
from stages.lib.project.errors import UserError
from stages.lib.quality import figures
from stages.lib.reporting.charts.shapes import Curve, curves
from stages.lib.reporting.quality_tables import below_rerun_db


def item(number: int, side: int = 16) -> tuple:
    rng = np.random.default_rng(number)
    before = rng.integers(0, 200, (side, side, 3), dtype=np.uint8)
    names = [
        StoredImage(Path(f"{kind}/{number}.png"), str(number), "kind", "a cat", number, "", False, "a cat")
        for kind in "rp"
    ]
    return *names, before, before + np.uint8(number % 5)


def test_batches_change_nothing(monkeypatch):
    """Protects memory and order at once: 40 pairs in batches of 16, of 7, and one by one."""
    found = []
    for size in (16, 7, 1):
        monkeypatch.setattr(figures, "BATCH_SIZE", size)
        pairs, features = figures.compare_sets((item(number) for number in range(40)), None)
        assert features is None
        found.append(pairs)
    assert found[0] == found[1] == found[2]
    assert [pair.image.id for pair in found[0]] == [str(number) for number in range(40)]


def test_images_of_two_sizes_are_an_error():
    reference, image, before, after = item(1)
    with pytest.raises(UserError, match="dvc repro generate"):
        figures.compare_sets([(reference, image, before, after[:-1])], None)


def test_the_gap_to_a_rerun_is_over_shared_images_and_the_worst_rerun():
    """Protects "so many dB below a rerun": an identical rerun bounds nothing, the nearest rerun is the bar."""
    own = {"per_image": [{"id": "a", "psnr_db": 30.0}, {"id": "b", "psnr_db": 40.0}, {"id": "c", "psnr_db": 99.0}]}
    same = {"per_image": [{"id": "a", "psnr_db": None}, {"id": "b", "psnr_db": None}]}
    threads = {"per_image": [{"id": "a", "psnr_db": 88.0}, {"id": "b", "psnr_db": 90.0}]}
    worse = {"per_image": [{"id": "a", "psnr_db": 50.0}, {"id": "b", "psnr_db": 60.0}]}
    assert below_rerun_db(own, {"runs": {"again": same}}) is None
    assert below_rerun_db(own, {"runs": {"again": same, "threads": threads}}) == 54
    assert below_rerun_db(own, {"runs": {"threads": threads, "processes": worse}}) == 20


def test_curves_are_generated_with_gaps_and_the_same_bytes():
    rows = [Curve("A $x$", (1.0, None, 3.0)), Curve("again", (9.0, 9.0, 9.0), True)]
    assert curves(rows, ("step", "dB")) == curves(rows, ("step", "dB"))
