"""What the study printed beside what is measured: verdicts follow from numbers that a test can change."""

import json
import re
import shutil
from collections.abc import Callable
from gettext import NullTranslations
from pathlib import Path

import pytest

from stages.lib.project.files import read_json
from stages.lib.project.params import variant_of
from stages.lib.reporting.languages import Language
from stages.lib.reporting.outline import STUDY_TABLES
from stages.lib.reporting.words.names import NAMES
from stages.lib.study.beside import study_values
from stages.lib.study.beside_figures import size_verdict
from stages.lib.study.beside_quality import ranks
from stages.lib.study.sources import Line, exact_parameters, is_format
from tests.conftest import PROJECT
from tests.pages import subject
from tests.results_folder import write_project

VARIANTS = {
    "reference": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
    "dynamic": {
        "label": "INT8 dynamic",
        "backend": "torch_dynamic",
        "weights": "int8",
        "activations": "int8",
        "granularity": "tensor",
        "device": "cpu",
        "compute": "float32",
    },
    "simulated": {"label": "INT8 rounded", "backend": "torch", "weights": "int8", "simulated": True},
}
MIB = 1024**2


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside") / "project"
    write_project(folder, {"fp32" if name == "reference" else name: entry for name, entry in VARIANTS.items()})
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return shutil.copytree(PROJECT / "data/study", tmp_path / "study")


@pytest.fixture
def texts(project: Path, study: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """All texts of the study for the project's results; a test may have changed `study` before it asks."""
    monkeypatch.chdir(project)

    def ask(language: str = "en", recommended: dict | None = None) -> dict:
        return study_values(study, subject(), recommended or {}, Language(language, NullTranslations()))

    return ask


def lines(texts: dict, key: str) -> dict[str, Line]:
    return {line.what: line for line in texts["study_beside"][key].lines}


def change(study: Path, edit: Callable[[dict], None]) -> None:
    path = study / "printed.json"
    printed = json.loads(path.read_text(encoding="utf-8"))
    edit(printed)
    path.write_text(json.dumps(printed), encoding="utf-8")


def test_stable_diffusion_has_1_370_216_895_parameters():
    exact = read_json(PROJECT / "data/study/stable_diffusion_v1_5.json")
    assert exact_parameters(exact) == 1_370_216_895
    assert exact_parameters(exact) * 4 / MIB == pytest.approx(5226.96, abs=0.005)


def test_every_printed_table_is_there():
    """Fifteen tables; of 1 to 13 each has a block."""
    printed = read_json(PROJECT / "data/study/printed.json")
    assert {f"table_{n}" for n in range(1, 16)} <= set(printed)


def test_each_of_tables_1_to_13_has_a_block_with_verdicts(texts):
    found = texts()["study_beside"]
    assert sorted(block.number for block in found.values()) == list(range(1, 14))
    assert all(STUDY_TABLES[block.number - 1] == key for key, block in found.items())
    verdicts = {line.verdict for block in found.values() for line in block.lines}
    assert verdicts <= set(NAMES["verdict"]) and {"agrees", "differs", "impossible", "unmeasured"} <= verdicts


def test_a_size_below_parameters_times_bytes_is_impossible_with_the_proof(texts):
    unet = lines(texts(), "sizes")["U-Net"]
    assert unet.verdict == "impossible"
    assert "859.52 M × 4 bytes = 3,278.8 MiB" in unet.why and "−48.9 %" in unet.why
    assert unet.here.startswith("3,278.8 / 1,639.4 / 819.7 MiB")
    assert lines(texts(), "sizes")["All"].here == "5,227.0 / 2,613.5 / 1,306.7 MiB; 1,370.22 M"


def test_the_right_size_would_agree_and_a_larger_one_differ(texts, study):
    exact = {"FP32": 3278.8, "FP16": 1639.4, "INT8": 819.7}
    change(study, lambda printed: printed["table_4"]["components"]["unet"].update(exact))
    assert lines(texts(), "sizes")["U-Net"].verdict == "agrees"
    change(study, lambda printed: printed["table_4"]["components"]["unet"].update(INT8=1000.0))
    assert lines(texts(), "sizes")["U-Net"].verdict == "differs"


def test_size_verdicts():
    assert size_verdict([100.0, 50.0], [100.0, 50.0]) == "agrees"
    assert size_verdict([100.0, 40.0], [100.0, 50.0]) == "impossible"
    assert size_verdict([100.0, 60.0], [100.0, 50.0]) == "differs"


def test_prompts_that_are_the_study_s_agree(texts, study):
    found = list(lines(texts(), "prompts").values())
    assert [line.verdict for line in found] == ["agrees", "agrees", "agrees", "differs"]
    change(study, lambda printed: printed["table_3"][0].update(seed=1))
    assert next(iter(lines(texts(), "prompts").values())).verdict == "differs"


def test_absolute_figures_of_another_model_are_not_compared_but_ratios_are(texts, study):
    """FP16's time alone would be 'twice as slow'; what is compared is the speed-up, with its measured range."""
    block = texts()["study_beside"]["performance"]
    assert "absolute figures are not comparable" in block.note
    line = lines(texts(), "performance")["FP16, time and speed-up"]
    assert line.verdict == "differs"
    low, high = (float(value) for value in re.search(r"from ([\d.]+) to ([\d.]+)", line.why).groups())
    change(study, lambda printed: printed["table_6"]["FP16"].update(speedup=(low + high) / 2, seconds=99.0))
    assert lines(texts(), "performance")["FP16, time and speed-up"].verdict == "agrees"


def test_what_arithmetic_forbids_needs_no_measurement(texts):
    found = lines(texts(), "performance")
    assert found["INT8 CPU, time and speed-up"].verdict == "implausible"
    assert found["FP32, time and speed-up"].verdict == "implausible"
    assert "3,339.1 MiB" in found["INT8 CPU, GPU and CPU memory"].why
    assert found["INT8 Simulated, time and speed-up"].verdict == "unmeasured"
    assert lines(texts(), "quality")["FID"].verdict == "meaningless"
    assert "unbounded" in lines(texts(), "kinds")["landscape"].why


def test_ranks_are_compared_where_decibels_are_not(texts):
    assert ranks({"a": 30.0, "b": 40.0, "c": 40.0}) == {"a": 3, "b": 1, "c": 1}
    found = lines(texts(), "quality")
    assert "rank by PSNR: 1 of 3 there, 1 of 3 here" in found["FP16"].why and found["FP16"].verdict == "agrees"
    assert "“good”" in found["INT8 CPU"].why and found["INT8 CPU"].verdict == "differs"


def test_an_artefact_counts_only_where_it_is_seen(texts, project):
    found = lines(texts(), "appearance")["INT8 CPU"]  # the folder's images are blocky and grainy
    assert found.why.endswith("of these seen here: 1") and found.verdict == "differs"
    path = project / "reports/embedded/appearance/dynamic.json"
    before = path.read_text(encoding="utf-8")
    appearance = json.loads(before)
    for key in ("blockiness", "posterization_bits", "detail_db", "green_red"):
        appearance["measures"][key]["grade"] = "slight"
    path.write_text(json.dumps(appearance), encoding="utf-8")
    try:
        assert lines(texts(), "appearance")["INT8 CPU"].verdict == "agrees"
    finally:
        path.write_text(before, encoding="utf-8")


def test_formats_are_recognized_by_what_they_are():
    variant = variant_of(name="x", **VARIANTS["dynamic"])
    assert is_format(variant, "INT8 CPU") and not is_format(variant, "INT8 Simulated")
    rounded = variant_of(name="y", activations="int8", **VARIANTS["simulated"])
    assert not is_format(rounded, "INT8 Simulated")


def test_advice_is_compared_where_there_is_one(texts):
    recommended = {"gpu-4-8gb": variant_of(name="fp16", **VARIANTS["fp16"])}
    found = texts(recommended=recommended)
    assert lines(found, "recommendations")["Production on a GPU with 4 to 8 GB"].verdict == "agrees"
    assert lines(found, "recommendations")["Production on a GPU with more than 8 GB"].verdict == "differs"


def test_a_claim_on_memory_is_answered_by_memory_and_not_by_disk(texts, project):
    """FP16 takes half the disk; only once its peak in generation is lower is INT8 not the only way to save memory."""
    assert lines(texts(), "recommendations")["CPU-only deployment"].verdict == "unmeasured"
    path = project / "reports/embedded/timing/fp16.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(before) | {"run_peak_mib": 512.0}), encoding="utf-8")
    try:
        line = lines(texts(), "recommendations")["CPU-only deployment"]
        assert line.verdict == "differs" and "FP16 (512)" in line.why and "2.00×" not in line.why
    finally:
        path.write_text(before, encoding="utf-8")


def test_the_study_speaks_russian_in_a_russian_report(texts):
    found = texts(language="ru")
    assert "Развертывание без GPU" in lines(found, "formats")["INT8 CPU"].printed
    assert found["study_directions"][0].name == "Квантизация с обучением (QAT)"


def test_directions_and_prospects_follow_the_results(texts):
    found = texts()
    status = {row.name: row.status for row in found["study_directions"]}
    assert status["Quantization-aware training (QAT)"] == "no"
    assert status["Quantization of activations"] == "measured"
    assert len(found["study_prospects"]) == 6
    assert "images an hour" in found["study_prospects"][-1].found
