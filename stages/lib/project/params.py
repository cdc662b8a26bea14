"""params.yaml, checked: unknown keys, wrong values and contradictions are one clear message each.

`variants` is a union that the key `backend` tells apart. Which back ends there are and what each can do is not known
here: every folder of stages/lib/formats that has an options.py is one, and the class `Options` in it is its model.
"""

import importlib
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.lib.project.documents import YAML_MOST_BYTES, parse_yaml, read_at_most
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.params_errors import explain
from stages.lib.project.sections import (
    MOST_STEPS,
    Architecture,
    Benchmark,
    Calibration,
    Cost,
    Generation,
    Model,
    Name,
    Prompts,
    Quality,
    Report,
    Scenario,
)
from stages.lib.project.variant import FLOATS, Device, Label, Section, Variant

__all__ = ["OPTIONS", "PARAMS_FILE", "RANDOM_WEIGHTS", "Params", "Variant", "load_params", "variant_of"]

PARAMS_FILE = Path("params.yaml")
FORMATS = Path(__file__).parents[1] / "formats"
RANDOM_WEIGHTS = "random_weights"  # images generated from them mean nothing
MOST_ENTRIES = 200  # tables and charts have a line for each
SIMULATING = "torch"  # the back end that the formats of `sensitivity` are simulated with


def _options(backend: str) -> type[Variant]:
    return importlib.import_module(f"stages.lib.formats.{backend}.options").Options


OPTIONS = {path.parent.name: _options(path.parent.name) for path in sorted(FORMATS.glob("*/options.py"))}
AnyVariant = Annotated[Union[tuple(OPTIONS.values())], Field(discriminator="backend")]  # noqa: UP007
_ANY_VARIANT = TypeAdapter(AnyVariant)


def variant_of(**keys: Any) -> Variant:
    """The options of the back end `keys["backend"]`, checked; a ValidationError tells what is wrong with them."""
    return _ANY_VARIANT.validate_python(keys)


def _named(variants: Any) -> Any:
    """Each of `variants` with its key in params.yaml as `name`."""
    if not isinstance(variants, dict):
        return variants
    for key, item in variants.items():
        if isinstance(item, dict) and "name" in item:
            raise ValueError(
                f"unknown key 'variants.{key}.name': the name of a variant is its key, '{key}', and `label` stands in "
                "tables"
            )
    return {key: {**item, "name": str(key)} if isinstance(item, dict) else item for key, item in variants.items()}


class Format(Section):
    """A numeric format as it is simulated; the keys are those of a variant."""

    label: Label
    weights: str
    activations: str = "none"
    granularity: str = "channel"

    @model_validator(mode="after")
    def _can_be_simulated(self) -> "Format":
        try:
            self.variant("format")
        except ValidationError as error:
            raise ValueError(next(explain(error, AnyVariant))) from None
        return self

    def variant(self, name: str) -> Variant:
        """This format in every component, under that name."""
        return variant_of(
            name=name,
            label=self.label,
            backend=SIMULATING,
            weights=self.weights,
            activations=self.activations,
            granularity=self.granularity,
            simulated=self.weights not in FLOATS,
        )


class Sensitivity(Section):
    """Where damage comes from: which formats are tried in single components and in windows of U-Net calls."""

    images: Annotated[int, Field(ge=1, le=1000, description="each is generated in every combination of components")]
    window: Annotated[int, Field(ge=1, le=2 * MOST_STEPS, description="no image has more calls")]
    formats: Annotated[dict[Name, Format], Field(min_length=1, max_length=MOST_ENTRIES)]


class Params(Section):
    """All of params.yaml."""

    model: str
    device: Device
    baseline: str
    models: Annotated[dict[Name, Model], Field(max_length=MOST_ENTRIES)]
    architectures: Annotated[dict[Name, Architecture], Field(min_length=1, max_length=MOST_ENTRIES)]
    variants: Annotated[dict[Name, AnyVariant], BeforeValidator(_named), Field(max_length=MOST_ENTRIES)]
    prompts: Prompts
    generation: Generation
    calibration: Calibration
    benchmark: Benchmark
    quality: Quality
    sensitivity: Sensitivity
    scenarios: Annotated[dict[Name, Scenario], Field(min_length=1, max_length=MOST_ENTRIES)]
    main_scenario: str
    cost: Cost
    report: Report

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> "Params":
        if self.main_scenario not in self.scenarios:
            raise ValueError(
                f"main_scenario '{self.main_scenario}' is not one of `scenarios`: {', '.join(self.scenarios)}"
            )
        if self.model not in self.models:
            raise ValueError(f"model '{self.model}' is not one of `models`: {', '.join(self.models)}")
        if unknown := [name for name in self.report.compare if name not in self.models]:
            known = ", ".join(self.models)
            raise ValueError(f"report.compare names '{unknown[0]}', which is not one of `models`: {known}")
        if self.baseline not in self.variants:
            raise ValueError(f"baseline '{self.baseline}' is not one of `variants`: {', '.join(self.variants)}")
        if self.variants[self.baseline].simulated:
            raise ValueError(
                f"baseline '{self.baseline}' is simulated and has no speed to compare with: choose another"
            )
        return self

    @model_validator(mode="after")
    def _models_have_folders_of_their_own(self) -> "Params":
        """Results of a model lie in a folder of its key, beside those of other machines."""
        keys = [key.casefold() for key in self.models]
        if "machines" in keys:
            raise ValueError("model 'machines' would take the folder of other machines' results: choose another name")
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"two of `models` have the name '{twice}', but for upper and lower case: rename one")
        return self

    @model_validator(mode="after")
    def _variants_can_be_told_apart(self) -> "Params":
        if "base" in map(str.casefold, self.variants):
            raise ValueError("variant 'base' would take the folder of the base model: choose another name")
        # Names become folders, and some file systems ignore case; labels name the rows of tables.
        for what, texts in {
            "names": [name.casefold() for name in self.variants],
            "labels": [variant.label for variant in self.variants.values()],
        }.items():
            twice = next((text for text in texts if texts.count(text) > 1), None)
            if twice is not None:
                raise ValueError(f"two of `variants` have the {what[:-1]} '{twice}': give them different {what}")
        return self

    @property
    def chosen_model(self) -> Model:
        """The entry of `models` that is measured."""
        return self.models[self.model]

    @property
    def other_models(self) -> dict[str, Model]:
        """Those of `report.compare` but the one that is measured, by their keys."""
        return {name: self.models[name] for name in self.report.compare if name != self.model}

    @property
    def general_arguments(self) -> dict[str, Any]:
        """What `generation` says, by the names of diffusers' arguments."""
        return {"num_inference_steps": self.generation.steps, "guidance_scale": self.generation.guidance_scale}

    @property
    def steps(self) -> int:
        """Denoising steps of an image, as the pipeline is asked for them."""
        return self.chosen_model.arguments.get("num_inference_steps", self.generation.steps)

    @property
    def not_generated(self) -> str | None:
        """Why nothing is generated with the chosen model; None where images are."""
        return RANDOM_WEIGHTS if self.chosen_model.source == "architecture" else None

    def variant(self, name: str) -> Variant:
        """The variant of that name, or a UserError that lists the declared ones."""
        if name not in self.variants:
            raise UserError(f"{PARAMS_FILE}: there is no variant '{name}': declared are {', '.join(self.variants)}")
        return self.variants[name]


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check `path`. Every mistake in it is in the one UserError that is raised."""
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UserError("\n       ".join(f"{path}: {text}" for text in explain(error, Params))) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The sections of `path` as they are written. What is no such file is a UserError."""
    try:
        document = parse_yaml(read_at_most(path, YAML_MOST_BYTES))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the top of the project") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise UserError(
            f"{path}, line {line} is not valid YAML: {error.problem}: mend that line or the one before"
        ) from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}: mend it") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} must be a mapping of sections, such as `model: embedded`")
    return document


if __name__ == "__main__":
    run_stage(load_params)
