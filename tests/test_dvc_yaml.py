"""dvc.yaml is code: its stages, modules, outputs and imports must agree."""

import shlex
from pathlib import Path

from stages.lib.project.code_graph import imports_of, stage_digests
from stages.lib.project.params import load_params
from tests.conftest import PROJECT

ALWAYS = {"code", "environment", "source"}  # they run every time


def module_of(stage) -> Path:
    """The file that a stage's command runs with `python -m`."""
    words = shlex.split(stage.cmd)
    assert words[:2] == ["python", "-m"], f"{stage.addressing}: runs `{stage.cmd}`"
    return PROJECT / (words[2].replace(".", "/") + ".py")


def code_params(stage) -> list[str]:
    """The keys of reports/code.json that it depends on."""
    return [key for dep in stage.deps if dep.def_path == "reports/code.json" for key in dep.params]


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


def test_every_stage_depends_on_the_digest_of_its_own_code(stages):
    """A change in shared code reruns the stages that use it, and only them."""
    digests = stage_digests(load_params(PROJECT / "params.yaml"))
    assert set(digests) == {stage.name.partition("@")[0] for stage in stages}
    for stage in stages:
        name, _, variant = stage.name.partition("@")
        per_variant = isinstance(digests[name], dict)
        expected = [] if name in ALWAYS else [f"stages.{name}.{variant}" if per_variant else f"stages.{name}"]
        assert [key for key in code_params(stage) if key != "backends"] == expected, stage.addressing
        assert not per_variant or variant in digests[name]
        modules = [dep for dep in stage.deps if str(dep.fs_path).endswith(".py")]
        assert not modules, f"{stage.addressing}: its digest covers {modules}"


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
