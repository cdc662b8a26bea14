"""Results of other machines: merged with their own baseline, and what is missing or of other code is said."""

import json
import shutil
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.results.evidence import seal, unsealed
from stages.lib.results.machines import FILES, compare_machines, load_machines
from stages.lib.results.records import load_results
from tests.conftest import PROJECT
from tests.pages import rendered
from tests.results_folder import write_machine, write_project
from tests.timings import set_speedup

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "bf16": {"label": "BF16", "backend": "torch", "weights": "bfloat16"},
    "int8-simulated": {"label": "INT8 Simulated", "backend": "torch", "weights": "int8", "simulated": True},
}
COMMIT = "aaaaaaaaaaaa-modified"
OTHER = "ffffffffffff"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines") / "project"
    write_project(folder, VARIANTS)
    write_machine(folder, OTHER, VARIANTS, COMMIT)
    return folder


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_an_edited_record_is_found_by_its_digest(project: Path):
    """Protects the figures of machines that nobody here can ask again."""
    folder = project / "reports/machines" / OTHER / "embedded/bf16"
    records = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in FILES}
    change(folder / "origin.json", sha256=seal(records))
    assert load_machines(project / "reports/machines")
    change(folder / "timing.json", speedup=9.0)
    with pytest.raises(UserError, match="embedded/bf16 was edited after it was measured"):
        load_machines(project / "reports/machines")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("environment.json", "{}"),
        ("environment.json", "[]"),
        ("environment.json", f'{{"fingerprint": "{OTHER}"}}'),
        ("asked.json", "{}"),
        ("asked.json", '{"models": [], "failed": {}}'),
        ("asked.json", "<<<<<<< HEAD"),
        ("embedded/bf16/timing.json", "{}"),
        ("embedded/bf16/origin.json", "{}"),
        ("embedded/bf16/origin.json", "[]"),
        ("embedded/bf16/size.json", "1"),
        ("embedded/bf16/quality.json", '{"measured": NaN}'),
    ],
)
def test_a_record_of_another_form_is_one_message_that_names_where_it_comes_from(project: Path, name: str, content: str):
    (project / "reports/machines" / OTHER / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"{OTHER}.* (delete|bring)"):
        load_machines(project / "reports/machines")


def test_a_description_that_was_edited_and_a_digest_that_was_taken_away_are_named(project: Path):
    """Protects from another machine's name over figures, and from records that were edited without their digest."""
    assert list(unsealed(PROJECT / "reports/machines")) == []
    folder = shutil.copytree(PROJECT / "reports/machines", project / "copied")
    origin = next(folder.glob("*/*/*/origin.json"))
    environment = origin.parents[2] / "environment.json"
    change(environment, threads=9)
    assert [line.partition(" ")[0] for line in unsealed(folder)] == [str(environment)]
    record = json.loads(origin.read_text(encoding="utf-8"))
    del record["sha256"]
    origin.write_text(json.dumps(record), encoding="utf-8")
    assert [line.partition(" ")[0] for line in unsealed(folder)] == [str(environment), str(origin)]


def test_speedups_are_each_machines_own(project: Path):
    """Protects the comparison: a machine twice as slow has the same ratio, and a simulated format has none."""
    timing = project / f"reports/machines/{OTHER}/embedded/bf16/timing.json"
    there, here = (project / f"reports/{folder}" for folder in (f"machines/{OTHER}/embedded", "embedded"))
    for path in (there / "fp32/timing.json", here / "timing/fp32.json"):
        set_speedup(path, 1.0)
    set_speedup(timing, 3.5, device="cuda")
    set_speedup(here / "timing/bf16.json", 1.25)
    params = load_params()
    results = load_results(Path("reports"), Path("data/runs/embedded/images"), params)
    (comparison,) = compare_machines(load_machines(Path("reports/machines")), results, params.model)
    assert comparison.machines == ["Invented CPU", "Invented GPU"]
    rows = dict(comparison.rows)
    assert list(rows) == ["FP32", "BF16"]
    assert rows["BF16"] == [
        {"latency_s": 0.8, "speedup": pytest.approx(1.25), "device": "cpu"},
        {"latency_s": pytest.approx(1 / 3.5), "speedup": pytest.approx(3.5), "device": "cuda"},
    ]


def test_a_noisy_reference_of_another_machine_has_a_consequence(project: Path):
    """Protects a reader from 0.88 (0.77 to 1.02) on another machine without a word."""
    reference = project / f"reports/machines/{OTHER}/embedded/fp32/timing.json"
    set_speedup(reference, 0.98, 1.01)
    (model,) = load_machines(project / "reports/machines")[0].models
    assert not model.clock.is_suspect
    set_speedup(reference, 0.88, 1.1)
    part = rendered().partition("<b>Invented GPU, Embedded.</b>")[2].partition("</p>")[0]
    assert "The speeds of this run are not to be trusted. FP32, timed against itself, came out 0.88" in part


def test_a_variant_of_another_format_is_not_compared(project: Path):
    """Protects against a ratio of two formats that only share a name; another device is the same format."""
    change(project / "params.yaml", variants=VARIANTS | {"bf16": VARIANTS["bf16"] | {"compute": "float32"}})
    params = load_params()
    results = load_results(Path("reports"), Path("data/runs/embedded/images"), params)
    assert compare_machines(load_machines(Path("reports/machines")), results, params.model) == []  # FP32 alone


def test_the_report_shows_other_machines_and_is_silent_without(project: Path):
    """Protects a reader from an empty section, and this machine from being told twice."""
    page = rendered()
    assert "Other machines" in page and "Invented GPU" in page and "Table M2" in page
    assert "Incomplete" not in page and "other code" not in page
    (project / f"reports/machines/{OTHER}").rename(project / "reports/machines/0123456789ab")
    change(project / "reports/machines/0123456789ab/environment.json", fingerprint="0123456789ab")
    for timing in project.glob("reports/machines/*/embedded/*/timing.json"):
        change(timing, fingerprint="0123456789ab")
    assert "Other machines" not in rendered()
    own = project / "reports/machines/0123456789ab"
    (own / "embedded").rename(own / "larger")
    change(own / "asked.json", models={"larger": list(VARIANTS)}, failed={})
    assert "Other machines" in rendered()  # what this one measured of another model is told nowhere else
    shutil.rmtree(project / "reports/machines")
    assert "Other machines" not in rendered()


def test_quality_of_no_format_takes_no_column(project: Path):
    """Protects the table from repeating in every row why a model's images are not compared."""
    before = rendered()
    for quality in project.glob("reports/machines/*/embedded/*/quality.json"):
        change(quality, measured=False, reason="random_weights")
    page = rendered()
    assert page.count("The quality was not measured (images generated from random weights mean nothing).") == 1
    assert page.count('<th scope="col">SSIM</th>') == before.count('<th scope="col">SSIM</th>') - 1


def test_what_is_missing_and_of_which_commit_the_rest_is_is_said(project: Path):
    """Protects a reader from taking half a folder for the whole, or figures of other code for those of this."""
    (project / f"reports/machines/{OTHER}/embedded/bf16/size.json").unlink()
    change(
        project / f"reports/machines/{OTHER}/asked.json",
        failed={"embedded": {"bf16": {"reason": "failed", "message": "no memory"}}},
    )
    page = rendered()
    assert "bf16 (it was not measured: no memory)" in page
    assert "Measured at commit aaaaaaaaaaaa-modified: FP32, INT8 Simulated." in page


def test_a_variant_of_another_time_names_the_folder_and_what_is_unknown(project: Path):
    """Protects a user from a traceback after an option was renamed."""
    origin = project / f"reports/machines/{OTHER}/embedded/bf16/origin.json"
    change(origin, variant={**json.loads(origin.read_text("utf-8"))["variant"], "tempo": "high"})
    with pytest.raises(
        UserError, match=r"bf16/origin.json has a variant.*\(unknown key 'tempo': legal here: label,.*delete"
    ):
        load_machines(Path("reports/machines"))


def test_figures_of_a_third_machine_stop_the_report(project: Path):
    """Protects a folder from files that were copied into it from elsewhere."""
    change(project / f"reports/machines/{OTHER}/embedded/bf16/timing.json", fingerprint="eeeeeeeeeeee")
    with pytest.raises(UserError, match="bf16/timing.json was measured on the machine eeeeeeeeeeee: delete"):
        load_machines(Path("reports/machines"))
    (project / f"reports/machines/{OTHER}/environment.json").unlink()
    with pytest.raises(UserError, match=f"{OTHER} is incomplete, environment.json is missing: delete"):
        load_machines(Path("reports/machines"))
