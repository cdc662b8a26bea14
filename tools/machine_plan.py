"""What to measure on a machine: params.yaml with the values of a plan in their place, for one model at a time."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.environment import available
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256, write_json
from stages.lib.project.params import PARAMS_FILE, Params, load_params
from stages.lib.project.prompts import timed_prompt
from stages.source import describe as describe_source

MODELS = "measured_models"  # the only key of a plan that params.yaml does not have


@dataclass(frozen=True)
class Plan:
    """One model and its variants. `document` is the params.yaml to measure with, `weights` a digest of the model."""

    document: dict[str, Any]
    params: Params
    weights: str

    @property
    def model(self) -> str:
        """The key of the model."""
        return self.params.model

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with."""
        return self.params.baseline

    @property
    def variants(self) -> list[str]:
        """The keys of the variants, the baseline first."""
        return [self.baseline, *(name for name in self.document["variants"] if name != self.baseline)]

    @property
    def calibrated(self) -> bool:
        """Whether a variant may take ranges of activations from calibration."""
        return any(item.needs_calibration for item in self.params.variants.values())

    def write(self, folder: Path, environment: dict[str, Any]) -> dict[str, dict[str, str] | None]:
        """Make `folder` a project to run stages in: params.yaml, this machine, and links to the inputs.

        Returned is what keeps each variant from running on this machine, or None.
        """
        found = available(self.params, environment["machine"], environment["software"])
        write_json(folder / PARAMS_FILE, self.document)
        write_json(folder / "reports/environment.json", {**environment, **found})
        inputs = [self.params.prompts.file, self.params.calibration.file]
        if self.params.chosen_model.source != "hub":
            inputs.append(self.params.chosen_model.path)
        for path in map(Path, inputs):
            if ".." in path.parts:
                raise UserError(f"{PARAMS_FILE}: 'models.{self.model}.path' leaves the project: give the whole path")
            if not path.is_absolute():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to(path.resolve())
        return found["obstacles"]

    def origin(self, name: str) -> dict[str, Any]:
        """Of which weights and settings the results of a variant come: equal ones need no second measurement."""
        variant, baseline = self.params.variant(name), self.params.variant(self.baseline)
        settings = {key: self.document[key] for key in ("prompts", "generation", "benchmark", "calibration", "device")}
        files = [sha256(Path(path)) for path in (self.params.prompts.file, self.params.calibration.file)]
        return {
            "model_label": self.params.chosen_model.label,
            "variant": variant.model_dump(mode="json", exclude_unset=True),
            "baseline": baseline.model_dump(mode="json", exclude_unset=True),
            "weights": self.weights,
            "settings": _digest([settings, files]),
        }


def read_plan(path: Path | None, models: list[str] | None, variants: list[str] | None) -> list[Plan]:
    """One plan per model. The keys of the YAML file `path` replace those of params.yaml.

    `models` and `variants` choose; else the file's `measured_models` and `variants`; without a file, `model` and all
    variants. The baseline is always measured.
    """
    document, changes = _read_yaml(PARAMS_FILE), _read_yaml(path) if path else {}
    planned = changes.pop(MODELS, [document.get("model")])
    declared = {**document.get("variants", {}), **changes.get("variants", {})}
    chosen = variants or list(changes.get("variants") or declared)
    baseline = changes.get("baseline", document.get("baseline"))
    if unknown := [name for name in [*chosen, baseline] if name not in declared]:
        raise UserError(f"there is no variant '{unknown[0]}': declared are {', '.join(declared)}")
    for key, value in changes.items():
        both = isinstance(document.get(key), dict) and isinstance(value, dict)
        document[key] = {**document[key], **value} if both else value
    wanted = planned if isinstance(planned, dict) else {}
    plans = []
    for model in models or planned:
        names = [name for name in chosen if variants or name in (wanted.get(model) or chosen)]
        kept = {name: declared[name] for name in dict.fromkeys([baseline, *names])}
        plans.append(_plan({**document, "model": model, "variants": kept}, path))
    return plans


def _plan(document: dict[str, Any], path: Path | None) -> Plan:
    """`document`, checked as params.yaml is."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / PARAMS_FILE
        write_json(written, document)
        try:
            params = load_params(written)
        except UserError as error:
            where = f"{PARAMS_FILE} with the values of {path}" if path else str(PARAMS_FILE)
            raise UserError(str(error).replace(str(written), where)) from None
    timed_prompt(params)
    source = describe_source(params.model, params.chosen_model)
    weights = {key: value for key, value in source.items() if key not in ("model", "path")}
    return Plan(document, params, _digest(weights))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the top of the project, and give a plan that is there") from None
    except (UnicodeDecodeError, YAMLError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}: mend it") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} must be a mapping such as params.yaml")
    return document


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
