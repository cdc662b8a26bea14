"""Learned and perceptual distances: the authors' numbers, nothing between equal images, more with more damage."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from stages.lib.project.errors import UserError
from stages.lib.quality import st_lpips
from stages.lib.quality.known_artefacts import blur, jpeg, noise, tint
from stages.lib.quality.perceptual import SMALLEST_SIDE, Perceived, flip_map, perceive
from stages.lib.quality.st_lpips import StLpips
from tests.quality.test_full_reference import image


@pytest.fixture(scope="module")
def network() -> StLpips:
    return StLpips()


# By the code of stlpips-pytorch 0.0.2 with its weights (LPIPS, net "alex", variant "shift_tolerant"), its imports of
# torchvision, torchsummary and IPython replaced by empty modules.
THEIRS = {
    "moved": (image(), np.roll(image(), 1, 1), 0.00281702),
    "blur": (image(), blur(image(), 1.0), 0.08778119),
    "noise": (image(), noise(image(), 8.0), 0.13311374),
    "tint": (image(96, 131), tint(image(96, 131), 0.2), 0.22864217),
    "flat": (image(33), np.full_like(image(33), 128), 0.89274091),
}


@pytest.mark.parametrize("name", THEIRS)
def test_the_network_is_the_authors(network, name):
    """Protects against an architecture that is only similar: their code gives these numbers."""
    reference, other, expected = THEIRS[name]
    assert network.distances(reference, [other]) == pytest.approx([expected], abs=1e-6)


def test_equal_images_are_no_distance_apart(network):
    assert network.distances(image(), [image(), blur(image(), 1.0)])[0] == 0
    assert not flip_map(image(), image()).any()


@pytest.mark.parametrize(("damage", "ladder"), [(blur, (0.5, 1, 2)), (jpeg, (70, 30, 10)), (noise, (2, 4, 8))])
def test_more_damage_is_more_distance(network, damage, ladder):
    damaged = [damage(image(), strength) for strength in ladder]
    for found in (network.distances(image(), damaged), [float(flip_map(image(), other).mean()) for other in damaged]):
        assert found[0] > 0 and found == sorted(found)


def test_the_smallest_side_is_the_smallest_that_works(network):
    square = image(SMALLEST_SIDE)
    assert network.distances(square, [square[:, ::-1]])[0] > 0
    with pytest.raises(RuntimeError):
        network.distances(square[1:], [square[1:]])


def test_flip_is_one_between_green_and_blue_at_its_own_place_only():
    """The paper's normalisation: no two colours differ more; and a map says where."""
    green = np.zeros((64, 64, 3), np.uint8)
    green[..., 1] = 255
    half = green.copy()
    half[:, 48:] = (0, 0, 255)
    found = flip_map(green, half)
    assert found.shape == (64, 64) and found.dtype == np.float32
    assert found[:, 60:] == pytest.approx(1, abs=1e-3) and found[:, :24].max() == 0


def test_weights_that_are_missing_or_changed_are_refused(monkeypatch, tmp_path: Path):
    """Protects against figures from another network under this one's name; the message says what to install."""
    changed = tmp_path / "alex_shift_tolerant.pth"
    changed.write_bytes(st_lpips._file().read_bytes()[:-1] + b"\0")
    assert hashlib.sha256(st_lpips._file().read_bytes()).hexdigest() == st_lpips.WEIGHTS_SHA256
    monkeypatch.setattr(st_lpips, "_file", lambda: changed)
    with pytest.raises(UserError, match=r"alex_shift_tolerant.pth is not the file of .*pip install stlpips-pytorch"):
        StLpips()
    monkeypatch.undo()
    monkeypatch.setattr(st_lpips, "PACKAGE", "no-such-package-of-ours")
    with pytest.raises(UserError, match="not installed: run `pip install stlpips-pytorch==0.0.2`"):
        StLpips()


def test_an_identical_image_is_no_distance_apart_and_others_have_both_distances(network):
    found = perceive(image(), {"same": image(), "other": blur(image(), 1.0)}, network)
    assert found["same"] == Perceived(0, 0)
    assert found["other"].st_lpips == pytest.approx(0.08778119, abs=1e-6)
    assert found["other"].flip == pytest.approx(flip_map(image(), blur(image(), 1.0)).mean())
