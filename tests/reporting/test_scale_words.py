"""What the report says of thousands of images: verdicts with their margin, distances with their n, and the runs."""

import json
from pathlib import Path

import pytest
from scipy.special import stdtrit

from stages.lib.reporting.words.scale_words import scale_sentences
from stages.lib.results.evidence import seal
from stages.lib.results.scale import RECORD, Scale, load_scale
from tests.conftest import PROJECT
from tools.large_comparison import FEW, MARGIN

COMMITTED = PROJECT / "reports/machines/2ae88f9e46fc"


def distances(excess: float, low: float, high: float, n: int = 5000) -> dict:
    """What features of a network tell of a format; its FID lies `excess` above that of other noise."""
    fid = {"distance": 9.0, "excess": excess, "low": low, "high": high}
    return {"fid": fid, "kid": {"mean": 0.1, "n": n}, "cmmd": {"mean": 0.1}, "precision": 0.9, "recall": 0.8}


NONE = distances(0.0, 0.0, 0.0)
TOO_FEW = {**distances(0.0, 0.0, 0.0, 100), "fid": None}


def record_of(verdict: str, draws: dict[str, float], mean: float = -3.0) -> dict:
    """FP32 and INT4, whose attributes come to that verdict, and samples of 34 to `draws`."""
    change = {"mean": mean, "low": mean - 0.2, "high": mean + 0.2, "verdict": verdict}
    few = {"prompts": 34, "draws": 1000, "verdicts": draws}
    attributes = {"asked": 100, "right": 90, "baseline_right": 93, "change": change, "few": few}
    first = {"label": "FP32", "variant": "fp32", "attributes": attributes, "n": 5000, "psnr_db": None}
    return {
        "model_label": "Tiny", "baseline_label": "FP32", "gpu": "A GPU",
        "origin": {"runs": [{"commit": "abc", "processes": 8, "prompts": 5000}], "compared": "abc", "notes": []},
        "spread": [{"gpus": n, "images": 10, "seconds": s, "digest": "a"} for n, s in ((1, 4.0), (2, 2.5))],
        "sets": {"batch_size": 2, "asked": 5000, "margin": 1.0, "fid_images": 10000,
                 "rows": [first, {**first, "label": "INT4", "variant": "int4"}]},
    }  # fmt: skip


def read(folder: Path, record: dict) -> Scale:
    """A record, written whole and read back."""
    (folder / RECORD).write_text(json.dumps({**record, "sha256": seal(record)}))
    return load_scale(folder, "")


def said_of(scale: Scale) -> str:
    """What the report says."""
    return " ".join(scale_sentences(scale, lambda text: text))


def test_a_record_is_read_with_speedups(tmp_path):
    scale = read(tmp_path, record_of("lower", {"lower": 1.0}))
    assert scale.spread[1]["speedup"] == 1.6 and scale.same_files and scale.tables == 2


@pytest.mark.parametrize(
    ("verdict", "mean", "draws", "wanted"),
    [
        ("lower", -3.0, {"lower": 0.97, "undecided": 0.03}, "So n = 34 prompts give the verdict of all prompts on a"),
        ("lower", -3.0, {"lower": 0.97, "undecided": 0.03}, "INT4 (lower by 3.00 points). The margin is 1 (perc"),
        ("equal", -0.34, {"lower": 0.2, "undecided": 0.8}, "for none of these formats. A sample decides otherwise in"),
        ("equal", -0.34, {"undecided": 1.0}, "INT4 (lower by 0.34 points, less than the margin of 1)"),
        ("equal", 0.1, {"undecided": 1.0}, "Attributes by all prompts (n = 5,000): INT4 (equal)."),
    ],
)
def test_what_few_and_all_prompts_say_of_attributes_is_a_sentence(tmp_path, verdict, mean, draws, wanted):
    assert wanted in said_of(read(tmp_path, record_of(verdict, draws, mean)))


def test_distances_are_told_of_each_network_with_its_n_also_without_attributes(tmp_path):
    record = record_of("lower", {})
    for row, excess in zip(record["sets"]["rows"], (NONE, distances(5.0, 4.0, 6.0, 3072)), strict=True):
        row |= {"attributes": None, "imagenet": excess}
    wanted = "By FID (ImageNet, n = 3,072), all formats lie further from FP32 than FP32 with other noise does."
    assert said_of(read(tmp_path, record)).startswith(wanted)
    record["sets"]["rows"][1]["imagenet"] = distances(0.1, -0.1, 0.2)
    assert "no format is shown to lie further from FP32 than FP32 with other noise" in said_of(read(tmp_path, record))


def test_networks_that_put_two_formats_in_another_order_are_said_to_disagree(tmp_path):
    record = record_of("lower", {"lower": 1.0})
    first, int4 = record["sets"]["rows"]
    first |= {"clip": NONE, "imagenet": NONE}
    int4 |= {"clip": distances(0.09, 0.08, 0.1), "imagenet": distances(40.0, 39.0, 42.0)}
    w8a8 = {"clip": distances(0.003, 0.002, 0.004), "imagenet": distances(73.0, 71.0, 75.0)}
    record["sets"]["rows"].append({**int4, "label": "W8A8", "variant": "w8a8", **w8a8})
    assert "by FID (own CLIP) INT4 lies further away than W8A8, by FID (ImageNet) nearer." in said_of(
        read(tmp_path, record)
    )
    record["sets"]["rows"][2]["imagenet"] = distances(73.0, 41.0, 99.0)  # its interval and INT4's overlap
    assert "disagree" not in said_of(read(tmp_path, record))


def test_too_few_images_have_no_fid_and_fewer_than_the_projects_rule_a_biased_one(tmp_path):
    record = record_of("lower", {"lower": 1.0})
    for found, networks, biased in ((TOO_FEW, [], False), (NONE, ["imagenet"], True)):
        for row in record["sets"]["rows"]:
            row["imagenet"] = found
        scale = read(tmp_path, record)
        assert (scale.networks, scale.with_fid, scale.fid_is_biased) == (["imagenet"], networks, biased)
        assert ("By FID" in said_of(scale)) == bool(networks)
    record["sets"]["fid_images"] = 5000
    assert not read(tmp_path, record).fid_is_biased


def test_the_committed_record_says_of_which_runs_it_was_put_together():
    scale = load_scale(COMMITTED, "")
    for wanted in (
        "Run at commit 2584c8b0aab3: n = 3,072 prompts, processes: 1. Taken from it: distances by ImageNet.",
        "Run at commit bd516857efe1: n = 8,448 prompts, processes: 8. Taken from it: PSNR, attributes, and dist",
        "The record was put together from these runs by hand. CLIP features were kept in FP16.",
        "Compared by the code of commit 3aa08e7.",
        "by FID (own CLIP) INT4 Denoiser Simulated lies further away than W8A8 Simulated, by FID (ImageNet) nearer.",
    ):
        assert wanted in said_of(scale)
    assert scale.fid_is_biased


def test_no_sample_of_34_of_the_committed_record_that_has_a_change_is_equal():
    """Why those that were "equal" could be counted as undecided without the images: of whole attributes, one is more
    than the margin. Its prompts all name some: 30,101 attributes of n = 8,448."""
    rows = load_scale(COMMITTED, "").sets["rows"]
    one = 100 * rows[0]["n"] / rows[0]["attributes"]["asked"]  # points of an attribute of an image
    least = min(
        abs(total) / FEW * one + stdtrit(FEW - 1, 0.95) * one * ((squares - total**2 / FEW) / (FEW - 1) / FEW) ** 0.5
        for squares in range(1, 5 * FEW)
        for total in range(-squares, squares + 1)
        if total**2 <= squares * FEW
    )
    assert least > 1.4 > MARGIN
    assert all("equal" not in row["attributes"]["few"]["verdicts"] for row in rows[1:])
