"""dvc.yaml is code: its stages, modules, outputs and imports must agree."""

import shlex
from pathlib import Path

from stages.lib.project.params import load_params
from tests.conftest import PROJECT
from tests.imports import imports_of


def module_of(stage) -> Path:
    """The file that a stage's command runs with `python -m`."""
    words = shlex.split(stage.cmd)
    assert words[:2] == ["python", "-m"], f"{stage.addressing}: runs `{stage.cmd}`"
    return PROJECT / (words[2].replace(".", "/") + ".py")


def test_the_stage_and_its_module_have_the_same_name(stages):
    for stage in stages:
        module = module_of(stage)
        assert module == PROJECT / "stages" / f"{stage.name.partition('@')[0]}.py"
        assert module.is_file()


def test_every_module_in_stages_is_a_stage(stages):
    # verify and trace are run by hand: one runs stages again and compares, the other reads what they left
    modules = {path for path in (PROJECT / "stages").glob("*.py")} - {
        PROJECT / "stages" / name for name in ("__init__.py", "trace.py", "verify.py")
    }
    assert modules == {module_of(stage) for stage in stages}


def test_every_output_is_on_the_command_line(stages):
    for stage in stages:
        words = shlex.split(stage.cmd)
        for out in stage.outs:
            assert str(Path(out.fs_path).relative_to(PROJECT)) in words, f"{stage.addressing}: {out} is not on it"


def test_stage_modules_do_not_import_each_other(stages):
    """Verbs use nouns; what two stages share belongs in stages/lib."""
    modules = {module_of(stage) for stage in stages}
    for path in [*modules, *(PROJECT / "stages/lib").rglob("*.py")]:
        assert not (imports_of(path) & modules), f"{path} imports a stage"


def test_every_stage_says_what_it_does(stages):
    for stage in stages:
        assert stage.desc, f"{stage.addressing} has no desc"


def test_the_param_slice_of_a_variant_is_its_own(stages):
    """Editing one variant must not rerun another one."""
    baseline = load_params(PROJECT / "params.yaml").baseline
    for stage in stages:
        name, _, variant = stage.name.partition("@")
        keys = {key for dep in stage.deps for key in getattr(dep, "params", [])}
        if variant:
            used = {".".join(key.split(".")[:2]) for key in keys if key.startswith("variants")}
            others = used - {f"variants.{variant}"}
            allowed = {f"variants.{baseline}"} if name == "benchmark" else set()
            assert others <= allowed, f"{stage.addressing} depends on {others}"


def test_outputs_of_a_model_lie_under_its_key(stages):
    """One model does not overwrite another; the machine and published architectures are the same for all."""
    model = load_params(PROJECT / "params.yaml").model
    for stage in stages:
        for out in stage.outs:
            shared = out.def_path in ("reports/environment.json", "reports/architectures.json")
            assert shared or out.def_path.startswith((f"data/runs/{model}/", f"reports/{model}/")), out.def_path


def test_the_run_cache_brings_back_what_git_holds(stages):
    """DVC keeps nothing of a stage that has a plain output with `cache: false`: such a stage would run again."""
    for stage in stages:
        plain = [out.def_path for out in stage.outs if not (out.use_cache or out.is_metric or out.is_plot)]
        assert stage.always_changed or stage.name == "architectures" or not plain, f"{stage.addressing}: {plain}"


def test_the_pipeline_can_be_read():
    assert len((PROJECT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 300
