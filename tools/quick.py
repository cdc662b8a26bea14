"""A first look in minutes, `make report QUICK=1`: formats and prompts of the study, and only what is measured fast.

It is a run of the same pipeline in the folder .quick, a project of its own: its params.yaml names fewer formats,
prompts and repetitions, its dvc.yaml has no stage that takes long, and its report says on the first page what it is.
Nothing of a full run is changed.
"""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.lib.project.errors import UserError
from stages.lib.project.files import write_bytes, write_text
from stages.lib.project.params import PARAMS_FILE, Params
from stages.lib.project.prompts import COLUMNS, Prompt, load_prompts

FOLDER = Path(".quick")
FORMATS = ("fp16", "int8-cpu", "int8-simulated")  # of the study, by their keys in params.yaml
FEW = 3  # formats and prompts, where those of the study are not there
LESS = {
    "benchmark": {"restarts": 1, "limit_s": 1},
    "calibration": {"images": 1},
    "quality": {"trajectory_prompts": 1, "resamples": 500},
}
LEFT_OUT = {"compare", "floor", "controls", "sensitivity_components", "sensitivity_steps", "sensitivity_layers"}
COUNTED = Path("reports/architectures.json")  # published models: the same whatever is measured
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"


def prepare(params: Params) -> Path:
    """Make the folder, or bring it up to date with the project; what was measured there before stays."""
    names, prompts, left_out = formats_of(params), prompts_of(params), set(LEFT_OUT)
    if not any(params.variant(name).needs_calibration for name in names):
        left_out.add("calibrate")
    if COUNTED.is_file():
        left_out.add("architectures")
        write_bytes(FOLDER / COUNTED, COUNTED.read_bytes())
    document, pipeline = (YAML(typ="safe", pure=True).load(Path(name)) for name in (PARAMS_FILE, "dvc.yaml"))
    document["variants"] = {name: document["variants"][name] for name in names}
    document["prompts"]["sets"] = list(dict.fromkeys(prompt.set for prompt in prompts))
    document["report"]["languages"] = document["report"]["languages"][:1]
    for key, values in LESS.items():
        document[key].update(values)
    if params.benchmark.prompt not in [prompt.id for prompt in prompts]:
        document["benchmark"]["prompt"] = prompts[0].id
    for name, content in ((PARAMS_FILE, document), ("dvc.yaml", shortened(pipeline, left_out))):
        write_text(FOLDER / name, json.dumps(content, indent=1) + "\n")  # JSON is YAML; formats keep their order
    write_prompts(FOLDER / params.prompts.file, prompts)
    inputs = ["stages", "data/study", "reports/machines/README.md", params.calibration.file]
    inputs += [architecture.path for architecture in params.architectures.values()]
    model = params.chosen_model
    inputs += [] if model.source == "hub" else [model.path]
    inputs += [adapter.path for adapter in model.adapters]
    inputs += [model.config] if model.source == "file" else []
    for path in inputs:
        link(Path(path))
    write_text(FOLDER / ".dvc/config", CONFIG)
    return FOLDER


def formats_of(params: Params) -> list[str]:
    """The baseline and the formats of the study, or the first few of the default set where params.yaml has none."""
    others = [name for name, variant in params.variants.items() if variant.default and name != params.baseline]
    return [params.baseline, *([name for name in others if name in FORMATS] or others[:FEW])]


def prompts_of(params: Params) -> list[Prompt]:
    """The prompts of the study, or the first few of those that params.yaml chooses where there are none."""
    everything = load_prompts(Path(params.prompts.file), None)
    chosen = [prompt for prompt in everything if prompt.set in params.prompts.sets]
    return [prompt for prompt in everything if prompt.set == "study"] or chosen[:FEW]


def shortened(pipeline: dict[str, Any], left_out: set[str]) -> dict[str, Any]:
    """The content of a dvc.yaml without those stages, and with a quick look's report in the first language alone."""
    stages = {name: entry for name, entry in pipeline["stages"].items() if name not in left_out}
    outputs = [path for name in left_out for path in output_paths(pipeline["stages"][name])]
    gone = [path for path in outputs if path != str(COUNTED)]
    for entry in stages.values():
        stage = entry.get("do", entry)
        stage["deps"] = [dep for dep in stage.get("deps", ()) if not any(path.startswith(dep) for path in gone)]
        stage["params"] = [
            item for item in stage.get("params", ()) if isinstance(item, str) or item.keys().isdisjoint(gone)
        ]
    report, words, dropped, values = stages["report"], [], [], 0
    for word in report["cmd"].split():
        values = 0 if word.startswith("-") else values + 1
        (words if values < 2 else dropped).append(word)
    report["cmd"] = " ".join([*words, "--quick"])
    for key in ("outs", "plots"):
        report[key] = [item for item in report[key] if not set(output_paths({key: [item]})) & set(dropped)]
    return {**pipeline, "stages": stages}


def output_paths(stage: dict[str, Any]) -> list[str]:
    """What a stage of dvc.yaml writes."""
    items = [item for key in ("outs", "plots", "metrics") for item in stage.get(key, ())]
    return [item if isinstance(item, str) else next(iter(item)) for item in items]


def write_prompts(path: Path, prompts: list[Prompt]) -> None:
    """A prompts file of these alone."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, prompts))
    write_text(path, text.getvalue())


def link(path: Path) -> None:
    """Have `path` in the folder, too, unless it is the same from everywhere."""
    if ".." in path.parts:
        raise UserError(f"{PARAMS_FILE}: '{path}' leaves the project: give the whole path")
    inside = FOLDER / path
    if not path.is_absolute() and not inside.is_symlink():
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to(path.absolute())
