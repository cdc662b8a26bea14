"""The images of the page: copies within their budget, and differences that are those of the true pixels."""

import base64
import io
import weakref
import zlib

import numpy as np
import pytest
from PIL import Image

from stages.lib.project.errors import UserError
from stages.lib.reporting.images import screen_images
from stages.lib.reporting.images.difference_planes import COLOUR_STEP, LUMA_STEP, WORST_ERROR, YCBCR, difference_planes
from stages.lib.reporting.images.previews import LADDER, previews, webp
from tests import tiny_project

RNG = np.random.default_rng(0)
PROMPTS = ("one", "two")


def noise(height: int = 256, width: int = 256) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def images() -> dict[str, dict[str, np.ndarray]]:
    """A baseline of smooth images, one variant like it, one that is 20 levels redder on its left half."""
    y, x = np.mgrid[0:256, 0:256]
    smooth = {"one": np.stack([x, y, x // 2], 2).astype(np.uint8), "two": np.stack([y, x, y // 2], 2).astype(np.uint8)}
    redder = {id: image.astype(int) + [20, 0, 0] * (x < 128)[..., None] for id, image in smooth.items()}
    return {
        "base": smooth,
        "same": smooth,
        "red": {id: image.clip(0, 255).astype(np.uint8) for id, image in redder.items()},
    }


def unpacked(data: str, width: int, height: int) -> np.ndarray:
    """What the page's script reads: (variants x prompts, bytes), each plane summed up again, in steps."""
    rows = np.frombuffer(zlib.decompress(base64.b64decode(data), -15), np.uint8).reshape(-1, width * height * 3 // 2)
    ends = np.cumsum([0, width * height, width * height // 4, width * height // 4])
    planes = [np.cumsum(rows[:, a:b], axis=1, dtype=np.uint8) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    return np.concatenate(planes, axis=1).astype(int) - 128


def test_equal_images_differ_by_nothing_and_the_others_by_what_they_differ(images):
    planes = difference_planes(images, "base", PROMPTS)
    steps = unpacked(planes.data, planes.width, planes.height)
    assert (planes.width, planes.height, planes.block) == (64, 64, 4) and steps.shape[0] == 4
    assert not steps[:2].any()
    luma = steps[2, : 64 * 64].reshape(64, 64) * LUMA_STEP
    red = steps[2, 64 * 64 + 32 * 32 :].reshape(32, 32) * COLOUR_STEP
    assert np.abs(luma[:, :30] - 0.299 * 20).max() <= LUMA_STEP / 2 and not luma[:, 33:].any()
    assert np.abs(red[:, :15] - 0.5 * 20).max() <= COLOUR_STEP / 2 and not red[:, 17:].any()


def test_no_colour_is_further_off_than_the_page_says():
    """Protects the sentence below the map: a difference that is even over each square of colour."""
    coarse = RNG.integers(-60, 60, (32, 32, 3))
    base = np.full((256, 256, 3), 128, np.uint8)
    other = (128 + np.kron(coarse, np.ones((8, 8, 1), int))).astype(np.uint8)
    planes = difference_planes({"base": {"one": base}, "other": {"one": other}}, "base", ["one"])
    steps = unpacked(planes.data, 64, 64)[0]
    luma = steps[: 64 * 64].reshape(64, 64)[::2, ::2] * LUMA_STEP
    colours = steps[64 * 64 :].reshape(2, 32, 32) * COLOUR_STEP
    restored = np.stack([luma, *colours], axis=2) @ np.linalg.inv(YCBCR).T
    assert 1 < np.abs(restored - coarse).max() <= WORST_ERROR + 1e-3


def test_a_image_of_any_size_has_whole_squares():
    found = difference_planes({"base": {"one": noise(100, 70)}, "b": {"one": noise(100, 70)}}, "base", ["one"])
    assert (found.width, found.height, found.block) == (36, 50, 2)
    assert unpacked(found.data, found.width, found.height).shape == (1, 36 * 50 * 3 // 2)


def test_images_of_several_sizes_have_no_map():
    assert difference_planes({"base": {"one": noise(64, 64)}, "b": {"one": noise(32, 64)}}, "base", ["one"]) is None


def test_copies_are_those_of_the_images_and_none_is_made_of_what_looks_the_same(images):
    shown = previews(images, frozenset({("same", "one"), ("same", "two")}), PROMPTS)
    assert set(shown.copies) == {(name, id) for name in ("base", "red") for id in PROMPTS}
    copy = Image.open(io.BytesIO(base64.b64decode(shown.copies[("red", "one")])))
    assert copy.format == "WEBP" and copy.size == (256, 256)
    assert np.abs(np.asarray(copy.convert("RGB")).astype(int) - images["red"]["one"]).mean() < 4


@pytest.mark.parametrize(("share", "room"), [(4, 6), (1.05, 6), (0.4, 2)])
def test_a_smaller_budget_makes_smaller_copies_then_fewer_prompts(share, room):
    """Protects the page's 4 MiB from many or large images. `share` is of what the smallest copies of all take."""
    prompts = [str(number) for number in range(6)]
    found = {name: {id: noise(128, 128) for id in prompts} for name in ("base", "other")}
    budget = int(share * 12 * len(webp(found["base"]["0"], *LADDER[-1])))
    shown = previews(found, frozenset(), prompts, budget)
    assert sum(map(len, shown.copies.values())) <= budget * 1.05
    assert set(shown.copies) == {(name, id) for name in found for id in shown.prompts}
    assert len(shown.prompts) == room


def test_few_images_are_in_memory_at_a_time(tmp_path, monkeypatch):
    """Protects the report's memory from many prompts: what is read is let go of, and read again when it is wanted."""
    monkeypatch.setattr(screen_images, "KEPT", 1)
    generated = {id: noise(16, 16) for id in tiny_project.PROMPTS}
    tiny_project.write_images(tmp_path / "base", generated)
    found = screen_images.images_of(tmp_path, ["base"])["base"]
    seen = [weakref.ref(found[id]) for id in generated]
    assert sum(each() is not None for each in seen) == 1
    assert len(found) == len(generated) > 2 and all(np.array_equal(found[id], generated[id]) for id in found)
    first = next(iter(generated))
    (tmp_path / f"base/{first}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be read as an image"):
        found[first]
