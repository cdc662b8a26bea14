"""Another model's records: what is compared, what is left out and said to be missing, and known answers of rules."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.results.candidates import ssim_range
from stages.lib.results.other_models import (
    ComparedModel,
    Missing,
    common_images,
    load_model,
    rank_correlation,
    rows_of,
    this_model,
)
from stages.lib.results.records import load_results
from stages.lib.results.rules import RULES, apply_rules
from stages.lib.results.spared import to_spare
from tests.results_folder import write_model, write_project
from tests.stages.test_report import VARIANTS
from tests.timings import set_speedup
from tests.tiny_project import edit_json

OTHER = "embedded-transformer"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_project(folder, VARIANTS)
    return folder


@pytest.fixture
def project(written: Path, tmp_path: Path, monkeypatch) -> Path:
    """Results of a model and, the same at first, of another one."""
    import shutil

    shutil.copytree(written, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    write_model(Path(), OTHER)
    return Path("reports") / OTHER


def both() -> tuple[ComparedModel, ComparedModel]:
    params = load_params()
    own = this_model(load_results(Path("reports"), Path("data/runs/embedded/images"), params), params)
    return own, load_model(Path("reports"), OTHER, params)


def edit_images(path: Path, **changes) -> None:
    """Replace keys of every image of a quality record."""
    quality = json.loads(path.read_text("utf-8"))
    edit_json(path, per_image=[row | changes for row in quality["per_image"]])


def test_a_model_with_the_same_records_differs_in_nothing(project):
    own, other = both()
    rows = rows_of([own, other], load_params())
    assert [row.name for row in rows] == list(VARIANTS)
    assert all(row.differences[0].mean == 0 and row.differences[0].verdict == "equal" for row in rows)
    assert rank_correlation(rows, 1, "fp32") == (pytest.approx(1), 4)
    assert all(rules.transfers(1) is not False for rules in apply_rules([own, other], load_params()))


def test_the_rank_correlation_is_scipys_with_ties_too():
    """Known answers of another implementation; values of few levels have ties."""
    first, second = np.random.default_rng(3).integers(0, 6, (2, 25)) / 6
    rows = [
        SimpleNamespace(name=str(number), cells=[SimpleNamespace(ssim={"mean": mean}) for mean in pair])
        for number, pair in enumerate(zip(first, second, strict=True))
    ]
    assert rank_correlation(rows, 1, "fp32") == (pytest.approx(spearmanr(first, second).statistic), 25)


def test_a_difference_is_that_of_the_same_prompt(project):
    edit_images(project / "quality/bf16.json", ssim=0.5)
    rows = {row.name: row for row in rows_of(both(), load_params())}
    assert rows["bf16"].differences[0].verdict == "lower"
    one, other = rows["bf16"].cells
    assert rows["bf16"].differences[0].mean == pytest.approx(0.5 - one.ssim["mean"])
    assert other.ssim["mean"] == other.worst[0] == 0.5


def test_only_common_prompts_are_compared(project):
    for path in (project / "quality").glob("*.json"):
        edit_json(path, per_image=json.loads(path.read_text("utf-8"))["per_image"][1:3])
    own, other = both()
    assert common_images([own, other]) == own.images[1:3]
    assert all(cell.ssim["n"] == 2 for row in rows_of([own, other], load_params()) for cell in row.cells)


def test_a_format_counts_as_the_same_by_its_definition(project):
    summary = json.loads((project / "summary.json").read_text("utf-8"))
    changed = summary["definitions"]["bf16"] | {"compute": "float32"}
    edit_json(project / "summary.json", definitions=summary["definitions"] | {"bf16": changed})
    own, other = both()
    assert other.find("bf16") is None and other.redefined == ("BF16",)
    assert "bf16" not in [row.name for row in rows_of([own, other], load_params())]


@pytest.mark.parametrize("reason", ["absent", "incomplete", "baseline"])
def test_what_there_is_nothing_of_to_compare_is_said_and_no_error(project, reason):
    if reason == "baseline":
        edit_json(project / "summary.json", baseline="bf16")
    else:
        (project / {"absent": "summary.json", "incomplete": "quality/bf16.json"}[reason]).unlink()
    assert both()[1] == Missing(OTHER, load_params().models[OTHER].label, reason)


def test_a_record_in_another_form_is_an_error_with_the_remedy(project):
    edit_json(project / "timing/fp32.json", calls=None)
    with pytest.raises(UserError, match=f"reports/{OTHER} .*run `make report MODEL={OTHER}`"):
        both()


def test_networks_have_roles_by_where_they_do_damage(project):
    assert both()[1].roles == {"text_encoders": ("text_encoder",), "denoiser": ("unet",), "decoder": ("vae",)}


def test_a_rule_holds_where_its_figures_say_so_and_not_where_they_do_not(project):
    """Both ways for each rule that the invented records have figures for: none says the same whatever is measured."""
    found = {True: set(), False: set()}
    for _ in range(2):
        for rules in apply_rules(both(), load_params()):
            found[rules.findings[1].holds] = found.get(rules.findings[1].holds, set()) | {rules.key}
        turn_over(project)
    expected = {
        *("floats_of_16_bits", "weights_of_8_bits", "activations_cost_more", "weights_of_4_bits", "mixtures_win"),
        *("spare_the_ends", "integers_are_fastest", "text_encoders_withstand", "decoder_withstands", "early_calls"),
    }
    assert found[True] & found[False] >= expected - {"integers_are_fastest"}
    assert set(RULES) >= expected


def turn_over(project: Path) -> None:
    """Give the records of the other model figures by which each rule comes out the other way."""
    own, _other = both()
    for name in VARIANTS:
        quality, mean = project / f"quality/{name}.json", {"bf16": 0.999, "w8a8-simulated": 0.7}.get(name, 0.99)
        edit_images(quality, ssim=mean)
        averages = json.loads(quality.read_text("utf-8"))["averages"]
        ssim = {"mean": mean, "low": mean - 0.001, "high": mean + 0.0005, "n": 5}
        edit_json(quality, ssim=mean, averages=averages | {"ssim": ssim})
    layers = json.loads((project / "sensitivity/layers.json").read_text("utf-8"))
    layers["layers"][0] |= {"kind": "first and last", "weights": 10}
    layers["layers"][1]["kind"] = "time"
    layers["budgets"] = [row | {"noise": 0.0 if row["kind"] == "mixed" else 1.0} for row in layers["budgets"]]
    edit_json(project / "sensitivity/layers.json", **layers)
    components = json.loads((project / "sensitivity/components.json").read_text("utf-8"))
    for row in components["formats"][-1]["components"]:
        row |= {"effect_worst": "significant", "psnr_worst_db": 20.0}
    edit_json(project / "sensitivity/components.json", **components)
    steps = json.loads((project / "sensitivity/steps.json").read_text("utf-8"))
    windows = steps["formats"][-1]["windows"]
    spreads = [window["rms"] for window in windows][::-1]
    steps["formats"][-1]["windows"] = [w | {"rms": rms} for w, rms in zip(windows, spreads, strict=True)]
    edit_json(project / "sensitivity/steps.json", **steps)


def test_a_rule_that_the_intervals_cannot_decide_is_not_decided(project):
    own, _other = both()
    params = load_params()
    bf16 = own.find("bf16")
    wide = bf16.quality["averages"] | {"ssim": {"mean": 0.991, "low": 0.98, "high": 0.999, "n": 5}}
    changed = replace(bf16, quality=bf16.quality | {"ssim": 0.991, "averages": wide})
    model = replace(own, variants=tuple(changed if item.name == "bf16" else item for item in own.variants))
    assert RULES["floats_of_16_bits"](model, params).holds is None


def test_rules_about_images_are_not_decided_by_two(project):
    """Protects a reader who tried a model with two prompts: no interval, no verdict, whatever the means are."""
    for name in VARIANTS:
        quality = json.loads((project / f"quality/{name}.json").read_text("utf-8"))
        averages = quality["averages"] | {"ssim": {"mean": quality["ssim"], "low": None, "high": None, "n": 2}}
        edit_json(project / f"quality/{name}.json", images=2, per_image=quality["per_image"][:2], averages=averages)
    for stage, key, keep in (("components", "wholes", "probe_points"), ("steps", "samples", "windows")):
        path = project / f"sensitivity/{stage}.json"
        record = json.loads(path.read_text("utf-8"))
        held = record["formats"][-1][keep]
        for item in held.values() if stage == "components" else [window["rms"] for window in held]:
            item[key] = item[key][:2]
        edit_json(path, **record | {"images": 2})
    model, params = both()[1], load_params()
    rules = (*("floats_of_16_bits", "weights_of_8_bits", "activations_cost_more", "weights_of_4_bits", "mixed_bits"),
             *("text_encoders_withstand", "decoder_withstands", "early_calls", "denoiser_decides"))  # fmt: skip
    found = {key: RULES[key](model, params) for key in rules}
    assert not {key for key, finding in found.items() if finding and finding.holds is not None}
    ssim = ssim_range(model.find("bf16").quality)
    assert (ssim.low, ssim.high) == (-1, 1)


def test_speeds_of_formats_that_overlap_do_not_decide_which_is_fastest(project):
    set_speedup(project / "timing/bf16.json", 1.5, factor=1.01)
    set_speedup(project / "timing/fp32.json", 1.0, factor=1.01)
    finding = RULES["integers_are_fastest"](both()[1], load_params())
    assert finding.holds is False and finding.figures["label"] == "BF16"


def test_the_fewest_layers_to_spare_are_those_with_most_noise():
    """Known answer: 0.6 of 1 is half with one layer, 90 % takes a second one."""
    names = ("a", "b", "c")
    layers = [
        {"layer": name, "kind": kind, "weights": 100, "noise_4_bits": noise}
        for name, kind, noise in zip(names, ("time", "time", "other"), (0.6, 0.35, 0.05), strict=True)
    ]
    half, most = to_spare(layers, 0.5), to_spare(layers, 0.9)
    assert (half.layers, half.of, half.kinds, half.first) == (1, 3, (("time", 1),), "a")
    assert most.layers == 2 and most.weights == pytest.approx(2 / 3)
