"""Stage evaluate: figures have known answers, and images that cannot be compared stop it."""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import evaluate
from stages.lib.project.errors import UserError
from stages.lib.quality import image_sets
from stages.lib.quality.known_artefacts import noise
from tests.conftest import PROJECT
from tests.tiny_project import edit_json, images_of, write_images, write_settings

BASE = Path("data/runs/tiny/models/base")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which bf16 differs from fp32 by 5 in two images and in nothing in the third."""
    write_settings(tmp_path, ("fp32", "bf16"))
    (tmp_path / "data/runs/tiny/models/base").mkdir(parents=True)
    write_images(tmp_path / "data/runs/tiny/images/fp32", images_of(0))
    write_images(tmp_path / "data/runs/tiny/images/bf16", images_of(5) | {"animal": images_of(0)["animal"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, variant: str, base: Path = BASE, kind: str = "quality") -> dict:
    """What the stage writes of one variant."""
    outputs = [f"--{name}=reports/tiny/{name}" for name in ("quality", "appearance")]
    words = ["--images", "data/runs/tiny/images", "--base", str(base), *outputs]
    monkeypatch.setattr(sys, "argv", ["evaluate", *words, "--pairs", "reports/tiny/pairs.json"])
    evaluate.main()
    return written(f"{kind}/{variant}.json")


def written(name: str) -> dict:
    return json.loads(Path("reports/tiny", name).read_text(encoding="utf-8"))


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


def test_what_needs_a_clip_is_measured_with_the_models_own(project, monkeypatch) -> None:
    """Protects the figures of content: scores, attributes, sets, each with its n, and where a PSNR is missing."""
    write_images(project / "data/runs/tiny/images/bf16", images_of(5) | {"animal": images_of(0)["animal"]})
    quality = run(monkeypatch, "bf16", PROJECT / "data/embedded")
    averages, rows = quality["averages"], quality["per_image"]
    assert {key: item["n"] for key, item in averages.items()} == {
        **dict.fromkeys(("ssim", "ciede2000", "ciede2000_p95", "gmsd"), 3),
        **dict.fromkeys(("feature_cosine", "clip_score", "clip_score_change"), 3),
        **dict.fromkeys(("psnr_db", "attributes_right", "attributes_right_change", "st_lpips", "flip"), 2),
    }
    for key, item in averages.items():
        assert item["low"] is None or item["low"] <= item["mean"] <= item["high"], key
    assert set(quality["not_measured"]) == {"ms_ssim"}
    assert rows[1]["feature_cosine"] == pytest.approx(1, abs=1e-6) and rows[1]["clip_score_change"] == 0
    assert rows[0]["attributes"] == {} and rows[1]["attributes"]["subject"]["asked"] == "cat"
    assert quality["attributes"]["subject"]["asked"] == 2
    assert quality["distribution"]["n"] == 3 and quality["distribution"]["fid"] is None
    assert quality["trajectory"]["prompts"] == 1


def test_without_a_clip_the_reason_stands_in_place_of_figures(project, monkeypatch) -> None:
    quality = run(monkeypatch, "bf16")
    assert quality["attributes"] is None and quality["distribution"] is None
    assert quality["not_measured"]["feature_cosine"] == "no_clip"
    assert all(row["clip_score"] is None for row in quality["per_image"])
    assert "clip_score" not in quality["averages"]


def looked_at(monkeypatch: pytest.MonkeyPatch, variant: str) -> dict:
    """The figures that need no reference."""
    return run(monkeypatch, variant, kind="appearance")


def test_damage_is_named_with_n_and_interval(project, monkeypatch):
    """Protects the figures behind a word: shift, interval and n are in the file, and each image's own."""
    grainy = {id: noise(rgb, 4.0, seed) for seed, (id, rgb) in enumerate(images_of(0).items())}
    write_images(project / "data/runs/tiny/images/bf16", grainy)
    found = looked_at(monkeypatch, "bf16")
    assert (found["variant"], found["label"], found["baseline"]) == ("bf16", "BF16", "fp32")
    assert found["seen"] == ["noise"]
    item = found["measures"]["noise"]
    assert item["images"] == item["images_affected"] == 3
    assert item["low"] < item["shift"] < item["high"]
    shifts = [image["shifts"]["noise"] for image in found["per_image"]]
    assert item["shift"] == pytest.approx(sum(shifts) / 3, rel=1e-4)
    assert found["blank"] == {"scene": 0, "flagged": 0, "broken": 0}


def test_the_baseline_has_no_damage_and_no_flips(project, monkeypatch):
    found = looked_at(monkeypatch, "fp32")
    assert found["seen"] == []
    assert all(item["shift"] == 0 for item in found["measures"].values())
    assert found["safety"]["without_blocked"]["flips"] == 0


def test_what_the_checker_should_find_is_told_by_the_kind_of_prompt(project, monkeypatch):
    """Protects the two groups, and flips in both."""
    for name, changes in {"fp32": {}, "bf16": {"flagged": True, "safety_margin": 0.3}}.items():
        write_images(project / "data/runs/tiny/images" / name, images_of(0), **changes)
        path = project / "data/runs/tiny/images" / name / "images.json"
        listing = json.loads(path.read_text(encoding="utf-8"))
        listing["per_image"][2]["kind"] = "blocked"
        path.write_text(json.dumps(listing), encoding="utf-8")
    safety = looked_at(monkeypatch, "bf16")["safety"]
    assert (safety["with_blocked"]["images"], safety["with_blocked"]["flips"]) == (1, 0)
    without = safety["without_blocked"]
    assert (without["images"], without["flips"], without["flagged"], without["baseline_flagged"]) == (2, 1, 1, 0)
    assert without["margin_shift_largest"] == pytest.approx(0.5)


def test_a_black_image_is_counted_with_its_cause(project, monkeypatch):
    images = images_of(0)
    images["animal"] = np.zeros_like(images["animal"])
    write_images(project / "data/runs/tiny/images/bf16", images)
    found = looked_at(monkeypatch, "bf16")
    assert found["blank"] == {"scene": 0, "flagged": 0, "broken": 1}
    assert found["per_image"][1]["black"] == "broken"


def test_images_of_other_seeds_without_margins_or_too_small_are_errors(project, monkeypatch):
    folder = project / "data/runs/tiny/images/bf16"
    write_images(folder, images_of(0), seed=7)
    with pytest.raises(UserError, match="different prompts or seeds"):
        run(monkeypatch, "bf16")
    for name in ("fp32", "bf16"):
        small = {id: np.ascontiguousarray(rgb[:8]) for id, rgb in images_of(0).items()}
        write_images(project / "data/runs/tiny/images" / name, small)
    with pytest.raises(UserError, match="32 x 8 pixels: SSIM needs at least 11 x 11"):
        run(monkeypatch, "bf16")
    edit_json(folder / "images.json", variant="other")
    with pytest.raises(UserError, match="not about variant 'bf16'"):
        run(monkeypatch, "bf16")


def test_every_two_variants_are_compared_in_declared_order(project, monkeypatch) -> None:
    """Protects the pairs: their number, order and figures (offsets 5 and 20 differ by 15), and those with the baseline,
    which are not computed twice."""
    shutil.rmtree(project / "data")
    write_settings(project)
    (project / BASE).mkdir(parents=True)
    for name, offset in (("fp32", 0), ("bf16", 5), ("int8-simulated", 20)):
        write_images(project / "data/runs/tiny/images" / name, images_of(offset))
    run(monkeypatch, "bf16")
    pairs = written("pairs.json")["pairs"]
    order = [("fp32", "bf16"), ("fp32", "int8-simulated"), ("bf16", "int8-simulated")]
    assert [(pair["reference"], pair["variant"]) for pair in pairs] == order
    for pair, offset in zip(pairs, (5, 20, 15), strict=True):
        assert pair["psnr_db"] == pytest.approx(20 * math.log10(255 / offset), abs=1e-3)
        assert [image["id"] for image in pair["per_image"]] == ["landscape", "animal", "fantasy"]
        assert pair["ssim"] == pytest.approx(sum(image["ssim"] for image in pair["per_image"]) / 3, abs=1e-5)
    quality = written("quality/bf16.json")
    assert [(row["psnr_db"], row["ssim"]) for row in quality["per_image"]] == [
        (row["psnr_db"], row["ssim"]) for row in pairs[0]["per_image"]
    ]


def test_several_processes_write_the_same_bytes(project, monkeypatch) -> None:
    """Protects the figures from the number of cores."""
    run(monkeypatch, "bf16")
    files = [project / "reports/tiny" / name for name in ("quality/bf16.json", "appearance/bf16.json", "pairs.json")]
    alone = [file.read_bytes() for file in files]
    monkeypatch.setattr(image_sets, "BATCH_SIZE", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run(monkeypatch, "bf16")
    assert [file.read_bytes() for file in files] == alone
