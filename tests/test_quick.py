"""`make report QUICK=1`: its pipeline is a part of the whole one, and lies in a folder of its own."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.lib.project.params import load_params
from tests.conftest import PROJECT
from tools.quick import FORMATS, LEFT_OUT, formats_of, output_paths, prepare, prompts_of, shortened


def pipeline() -> dict:
    return YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")


def test_its_stages_read_what_its_stages_write_or_what_is_there() -> None:
    """Protects the short pipeline from a stage that waits for what nobody makes."""
    whole, stages = pipeline()["stages"], shortened(pipeline(), LEFT_OUT)["stages"]
    assert set(stages) == set(whole) - LEFT_OUT
    made = [path for entry in stages.values() for path in output_paths(entry.get("do", entry))]
    for name, entry in stages.items():
        stage, before = entry.get("do", entry), whole[name].get("do", whole[name])
        lost = set(before.get("deps", ())) - set(stage["deps"])
        assert not any(path.startswith(dep) for dep in lost for path in made), f"{name} lost {lost}"
        for dep in stage["deps"]:
            pattern = dep.replace("${item.backend}", "torch").replace("${prompts.file}", "data/prompts.csv")
            pattern = pattern.replace("${calibration.file}", "data/calibration.csv").replace("${baseline}", "${key}")
            is_made = any(path.startswith(pattern) or pattern.startswith(path) for path in made)
            assert is_made or (PROJECT / pattern).exists(), f"{name} reads {dep}"


def test_its_report_has_one_language_and_says_what_it_is() -> None:
    report = shortened(pipeline(), LEFT_OUT)["stages"]["report"]
    assert report["cmd"].endswith("--card reports/${model}/model-index.yml --quick")
    assert "--pdf reports/${model}/report.pdf --brief reports/${model}/brief.pdf --audit" in report["cmd"]
    names = ("report.html", "report.pdf", "brief.pdf", "audit.pdf", "summary.md", "summary.csv", "model-index.yml")
    assert output_paths(report) == [f"reports/${{model}}/{name}" for name in names]


def test_formats_and_prompts_are_those_of_the_study_or_the_first() -> None:
    """Protects who has taken them out: the first look is at what they have."""
    params = load_params(PROJECT / "params.yaml")
    assert formats_of(params) == ["fp32", *FORMATS]
    assert [prompt.id for prompt in prompts_of(params)] == ["landscape", "animal", "fantasy"]
    others = {name: variant for name, variant in params.variants.items() if name not in FORMATS}
    params = params.model_copy(update={"variants": others, "baseline": "bf16"})
    assert formats_of(params) == ["bf16", "fp32", "bf16-openvino", "int8-openvino-weights"]


def test_a_project_of_its_own_is_made_and_nothing_else_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the full run; making it again is no mistake."""
    for name in ("params.yaml", "dvc.yaml", "data/prompts.csv", "data/calibration.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for _time in range(2):
        prepare(load_params())
    own = tmp_path / ".quick"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and own not in path.parents} == (
        before
    )
    params = load_params(own / "params.yaml")
    assert list(params.variants) == ["fp32", *FORMATS] and params.benchmark.limit_s == 1
    assert "calibrate" not in json.loads((own / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert (own / "data/embedded").readlink() == tmp_path / "data/embedded"
    assert (own / "data/prompts.csv").read_text(encoding="utf-8").count("\n") == 4


def test_the_files_of_a_model_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a model of one file, whose configurations and LoRAs lie elsewhere."""
    for name in ("dvc.yaml", "data/prompts.csv", "data/calibration.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(PROJECT / name, tmp_path / name)
    document = YAML(typ="safe", pure=True).load(PROJECT / "params.yaml")
    mine = {"label": "Mine", "source": "file", "path": "data/mine.safetensors", "config": "data/config"}
    document["models"]["mine"] = mine | {"adapters": [{"path": "data/style.safetensors"}]}
    (tmp_path / "params.yaml").write_text(json.dumps(document | {"model": "mine"}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    prepare(load_params())
    for name in ("data/mine.safetensors", "data/config", "data/style.safetensors"):
        assert (tmp_path / ".quick" / name).readlink() == tmp_path / name
