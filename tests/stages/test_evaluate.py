"""Stage evaluate: figures have known answers, and images that cannot be compared stop it."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import evaluate
from stages.lib.project.errors import UserError
from tests.conftest import PROJECT
from tests.tiny_project import images_of, write_images, write_settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which bf16 differs from fp32 by 5 in two images and in nothing in the third."""
    write_settings(tmp_path)
    (tmp_path / "data/runs/tiny/models/base").mkdir(parents=True)
    write_images(tmp_path / "data/runs/tiny/images/fp32", images_of(0))
    write_images(tmp_path / "data/runs/tiny/images/bf16", images_of(5) | {"animal": images_of(0)["animal"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, variant: str, base: Path = Path("data/runs/tiny/models/base")) -> dict:
    output = Path("reports/tiny/quality") / f"{variant}.json"
    command = ["evaluate", "--variant", variant, "--images", "data/runs/tiny/images", "--base", str(base)]
    command += ["--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    evaluate.main()
    return json.loads(output.read_text(encoding="utf-8"))


def test_means_are_over_images_and_identical_ones_are_counted_apart(project, monkeypatch) -> None:
    """Protects the averages: per image, PSNR without the identical one, SSIM with it."""
    quality = run(monkeypatch, "bf16")
    assert (quality["variant"], quality["label"], quality["baseline"]) == ("bf16", "BF16", "fp32")
    assert (quality["images"], quality["identical"]) == (3, 1)
    assert quality["psnr_db"] == pytest.approx(20 * math.log10(255 / 5), abs=1e-3)
    assert quality["psnr_db_std"] == pytest.approx(0, abs=1e-3)
    ssims = [image["ssim"] for image in quality["per_image"]]
    assert ssims[1] == 1 and ssims[0] < 1
    assert quality["ssim"] == pytest.approx(sum(ssims) / 3, abs=1e-5)
    assert quality["ssim_minimum"] == min(ssims)
    assert [image["id"] for image in quality["per_image"]] == ["landscape", "animal", "fantasy"]
    assert [image["rating"] for image in quality["per_image"]] == ["good", "identical", "good"]
    assert quality["per_image"][1]["psnr_db"] is None and quality["per_image"][1]["identical"] is True


def test_mean_psnr_is_the_mean_of_the_images_values(project, monkeypatch) -> None:
    """Protects against pooling: offsets 1 and 100 average to 28.1 dB, pooled they would give 11.1 dB."""
    images = images_of(0)
    images["animal"] = images_of(1)["animal"]
    images["fantasy"] = images_of(100)["fantasy"]
    write_images(project / "data/runs/tiny/images/bf16", images)
    expected = (20 * math.log10(255 / 1) + 20 * math.log10(255 / 100)) / 2
    assert run(monkeypatch, "bf16")["psnr_db"] == pytest.approx(expected, abs=1e-3)


def test_safety_decisions_are_counted_on_both_sides(project, monkeypatch) -> None:
    """Protects the count of flagged images, which no quality figure contains."""
    write_images(project / "data/runs/tiny/images/bf16", images_of(5), flagged=True)
    quality = run(monkeypatch, "bf16")
    assert (quality["flagged"], quality["baseline_flagged"]) == (2, 1)


def test_the_baseline_is_identical_to_itself_and_has_no_psnr(project, monkeypatch) -> None:
    """Protects JSON from infinity where everything is identical."""
    quality = run(monkeypatch, "fp32")
    assert (quality["identical"], quality["psnr_db"], quality["psnr_db_std"]) == (3, None, None)
    assert quality["ssim"] == 1


@pytest.mark.parametrize("folder", ["fp32", "bf16"])
def test_a_image_missing_on_either_side_is_an_error(project, monkeypatch, folder: str) -> None:
    """Protects against comparing only what both have."""
    images = images_of(0)
    del images["fantasy"]
    write_images(project / "data/runs/tiny/images" / folder, images)
    with pytest.raises(UserError, match=f"{folder} has no image fantasy.*dvc repro generate@{folder}"):
        run(monkeypatch, "bf16")


def test_images_that_cannot_be_compared_are_errors_that_name_the_file(project, monkeypatch) -> None:
    """Protects against a resize, a skipped file, a hand-made change and images of other seeds."""
    # WeasyPrint, where a test has imported it in this process, makes Pillow accept truncated files.
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", False)
    folder, path = project / "data/runs/tiny/images/bf16", project / "data/runs/tiny/images/bf16/animal.png"
    whole = path.read_bytes()

    def error() -> str:
        with pytest.raises(UserError) as caught:
            run(monkeypatch, "bf16")
        assert not (project / "reports/tiny/quality/bf16.json").exists()
        return str(caught.value)

    path.write_bytes(whole[:-60])
    assert "animal.png cannot be read" in error()
    path.write_bytes(b"no image")
    assert "animal.png cannot be read" in error()
    path.unlink()
    assert "animal.png is missing" in error()
    write_images(folder, images_of(5))
    (folder / "landscape.png").write_bytes((project / "data/runs/tiny/images/fp32/landscape.png").read_bytes())
    assert "landscape.png is not the image that images.json lists" in error()
    write_images(folder, {id: np.ascontiguousarray(rgb[:-1]) for id, rgb in images_of(5).items()})
    assert "32 x 24 pixels" in (message := error()) and "32 x 23" in message
    write_images(folder, images_of(5), seed=7)
    assert "different prompts or seeds" in error()
    (folder / "images.json").unlink()
    assert "images.json is missing: run `dvc repro generate@bf16`" in error()
    assert "no variant 'nope'" in str(pytest.raises(UserError, run, monkeypatch, "nope").value)


def test_what_needs_a_clip_is_measured_with_the_models_own(project, monkeypatch) -> None:
    """Protects the figures of content: scores, attributes, sets, each with its n, and where a PSNR is missing."""
    write_images(project / "data/runs/tiny/images/bf16", images_of(5) | {"animal": images_of(0)["animal"]})
    quality = run(monkeypatch, "bf16", PROJECT / "data/embedded")
    averages, rows = quality["averages"], quality["per_image"]
    assert {key: item["n"] for key, item in averages.items()} == {
        **dict.fromkeys(("ssim", "ciede2000", "ciede2000_p95", "gmsd"), 3),
        **dict.fromkeys(("feature_cosine", "clip_score", "clip_score_change"), 3),
        **dict.fromkeys(("psnr_db", "attributes_right", "attributes_right_change"), 2),
    }
    for key, item in averages.items():
        assert item["low"] is None or item["low"] <= item["mean"] <= item["high"], key
    assert set(quality["not_measured"]) == {"lpips", "ms_ssim"}
    assert rows[1]["feature_cosine"] == pytest.approx(1, abs=1e-6) and rows[1]["clip_score_change"] == 0
    assert rows[0]["attributes"] == {} and rows[1]["attributes"]["subject"]["asked"] == "cat"
    assert quality["attributes"]["subject"]["asked"] == 2
    assert quality["distribution"]["n"] == 3 and quality["distribution"]["fid"] is None
    assert quality["trajectory"]["prompts"] == 1


def test_without_a_clip_the_reason_stands_in_place_of_figures(project, monkeypatch) -> None:
    quality = run(monkeypatch, "bf16")
    assert quality["attributes"] is None and quality["distribution"] is None
    assert quality["not_measured"]["feature_cosine"] == "the model brings no CLIP of its own"
    assert all(row["clip_score"] is None for row in quality["per_image"])
    assert "clip_score" not in quality["averages"]
