"""params.yaml, checked: unknown keys, wrong values and contradictions are one clear message each.

One loader for the whole project: ruamel.yaml reads YAML 1.2 as DVC does (`1e-4` is a number, `no` a string).
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.lib.formats import BACKENDS
from stages.lib.project.errors import UserError, run_stage

PARAMS_FILE = Path("params.yaml")
COMPONENTS = ("unet", "vae", "text_encoder", "safety_checker")
DTYPE_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "float8": 8, "int8": 8, "int6": 6, "int4": 4}
FLOATS = ("float32", "float16", "bfloat16")
GROUP_SCALE_BITS = 16
RANDOM_WEIGHTS = "images generated from random weights mean nothing"


def safe_name(name: str) -> str:
    """`name` itself if it is fit to be the name of a file or folder on every system; else a ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*", name):
        raise ValueError(
            "a name becomes a folder name: use letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    return name


def _key_name(name: str) -> str:
    """A safe name without a dot: DVC takes the dot of `variants.a.b` for a step into the mapping `a`."""
    if "." in safe_name(name):
        raise ValueError("write '-' or '_' instead of '.', which DVC cannot tell from the dot between two keys")
    return name


def _relative_path(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("use a path inside the project: no leading '/', no '..'")
    return path


def _repository(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise ValueError("write the owner and the name of a Hugging Face repository, such as owner/name")
    return name


def _commit_hash(revision: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError("give the full commit hash, 40 hexadecimal digits: a branch name may change its content")
    return revision


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("give it a text")
    return text


def _repeated(entries: object) -> object:
    """A list with each '4 x int8' in it written out as four entries."""
    if not isinstance(entries, list):
        return entries
    found = []
    for entry in entries:
        times, name = re.fullmatch(r"(?:([1-9]\d{0,3}) x )?(.*)", str(entry), re.DOTALL).groups()
        found += [name if times else entry] * int(times or 1)
    return found


Label = Annotated[str, AfterValidator(_not_blank)]
Name = Annotated[str, AfterValidator(_key_name)]
ProjectPath = Annotated[str, AfterValidator(_relative_path)]
Device = Literal["auto", "cpu", "cuda"]
Component = Literal["unet", "vae", "text_encoder", "safety_checker"]
ScheduleEntry = Literal["int8", "none", "bfloat16", "mixed", "float32"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FolderModel(_Section):
    """A StableDiffusionPipeline folder, relative to the project."""

    label: Label
    source: Literal["folder"]
    path: str


class HubModel(_Section):
    """A repository of the Hugging Face Hub at a full commit hash, so that the same weights come every time."""

    label: Label
    source: Literal["hub"]
    repository: Annotated[str, AfterValidator(_repository)]
    revision: Annotated[str, AfterValidator(_commit_hash)]


class ArchitectureModel(_Section):
    """A folder of configurations without weights: the networks at their true size, weights drawn from `seed`."""

    label: Label
    source: Literal["architecture"]
    path: ProjectPath
    seed: Annotated[int, Field(ge=0, lt=2**63)]


Model = FolderModel | HubModel | ArchitectureModel


class Architecture(_Section):
    """A folder of configurations whose exact sizes the report states."""

    label: Label
    path: ProjectPath


class Variant(_Section):
    """One numeric format and the way it runs. `name` is its key in params.yaml."""

    name: str
    label: Label
    backend: str
    weights: str
    activations: str = "none"
    granularity: str = "channel"
    group_size: Annotated[int, Field(ge=2)] = 64
    components: Annotated[tuple[Component, ...], Field(min_length=1, strict=False)] = COMPONENTS
    device: Device = "auto"
    compute: str = "auto"
    activation_components: Annotated[tuple[Component, ...], Field(min_length=1, strict=False)] | None = None
    schedule: Annotated[tuple[ScheduleEntry, ...], BeforeValidator(_repeated), Field(strict=False)] = ()
    simulated: bool = False
    memory_format: str = "contiguous"
    mean_bits: Annotated[float, Field(gt=4, le=8, strict=False, allow_inf_nan=False)] | None = None
    compile: bool | str = False
    convolutions: str = "compute"

    @model_validator(mode="after")
    def _back_end_can_do_it(self) -> "Variant":
        if self.backend not in BACKENDS:
            raise ValueError(f"backend '{self.backend}' is unknown: use one of {', '.join(BACKENDS)}")
        backend = BACKENDS[self.backend]
        for key in (
            "weights",
            "activations",
            "granularity",
            "device",
            "compute",
            "memory_format",
            "compile",
            "convolutions",
        ):
            value, legal = getattr(self, key), getattr(backend, key)
            if value not in legal:
                words = [str(item).lower() if isinstance(item, bool) else item for item in (value, *legal)]
                raise ValueError(
                    f"{key} '{words[0]}' is not something back end '{self.backend}' can do: use one of "
                    f"{', '.join(words[1:])}"
                )
        if self.compute == "tensorfloat32" and (self.weights, self.device) != ("float32", "cuda"):
            raise ValueError(
                "compute 'tensorfloat32' is how an NVIDIA GPU may multiply float32: set `weights: float32` and "
                "`device: cuda`"
            )
        if self.compute == "tensorfloat32" and set(self.components) != set(COMPONENTS):
            raise ValueError("compute 'tensorfloat32' holds for a whole process: leave out `components`")
        integers = [name for name in backend.weights if name.startswith("int")]
        if self.activations.startswith("int") and self.weights not in integers:
            remedy = " or ".join(f"`weights: {name}`" for name in integers)
            raise ValueError(f"activations '{self.activations}' need integer weights: set {remedy}")
        if self.granularity == "group" and not self.scaled:
            raise ValueError(f"granularity 'group' shares scales, and weights '{self.weights}' have none: remove it")
        if "group_size" in self.model_fields_set and self.granularity != "group":
            raise ValueError(
                f"`group_size` says how many weights share a scale with `granularity: group`, but granularity is "
                f"'{self.granularity}': set `granularity: group` or remove `group_size`"
            )
        if self.activations == "float8" and self.weights != "float8":
            raise ValueError("activations 'float8' need weights of that format: set `weights: float8`")
        if self.activations == "float8" and self.compute not in ("auto", "bfloat16"):
            raise ValueError(f"compute '{self.compute}': products of float8 come out as bfloat16: use auto or bfloat16")
        if self.weights == "float8" and self.device == "cpu":
            raise ValueError("weights 'float8' need a GPU of compute capability 8.9 or more: set `device: cuda`")
        if self.convolutions == "int8" and self.weights != "int8":
            raise ValueError(f"convolutions 'int8' go with integer weights, not '{self.weights}': set `weights: int8`")
        if isinstance(self.compile, str) and self.device == "cpu":
            raise ValueError(f"compile '{self.compile}' records what a GPU is asked to do: use true, or `device: cuda`")
        if self.activation_components is not None:
            if not (self.backend == "openvino" and self.activations == "int8"):
                raise ValueError(
                    "`activation_components` chooses where activations are INT8: only for back end 'openvino' with "
                    "`activations: int8`"
                )
            strangers = [name for name in self.activation_components if name not in self.components]
            if strangers:
                raise ValueError(
                    f"activation_components '{strangers[0]}' is not one of `components`: {', '.join(self.components)}"
                )
        if self.schedule and not (self.backend == "openvino" and "unet" in self.components):
            raise ValueError(
                "`schedule` gives U-Net calls a precision of their own: only for back end 'openvino' with 'unet' in "
                "`components`"
            )
        integers_or_not = next((entry for entry in self.schedule if entry in ("int8", "none")), None)
        if integers_or_not and "unet" not in self.rounded_components:
            raise ValueError(
                f"schedule '{integers_or_not}' says whether activations of the U-Net are INT8, but it has none: "
                "use float32, mixed or bfloat16"
            )
        if self.mean_bits is not None and (self.backend, self.weights, self.components) != ("torch", "int4", ("unet",)):
            raise ValueError(
                "`mean_bits` keeps the layers of a U-Net that suffer most from INT4 in INT8 or FP16: only for back end "
                "'torch' with `weights: int4` and `components: [unet]`"
            )
        if self.backend == "onnxruntime" and (self.weights == "int8") != (self.activations == "int8"):
            raise ValueError(
                "back end 'onnxruntime' rounds weights and activations together: set both to int8, or neither"
            )
        if self.backend == "torch" and self.scaled != self.simulated:
            raise ValueError(
                f"back end 'torch' only simulates integers: set `simulated: true` with {', '.join(integers)} weights "
                "and only with them"
            )
        if self.backend != "torch" and self.simulated:
            raise ValueError(f"back end '{self.backend}' runs what it stores: remove `simulated: true`")
        return self

    @property
    def rounded_components(self) -> tuple[Component, ...]:
        """The components whose activations are rounded: those of `activation_components`, else all converted ones."""
        if self.activations == "none":
            return ()
        return self.components if self.activation_components is None else self.activation_components

    @property
    def stored_dtype(self) -> str:
        """The dtype that weights have on disk: simulated integers are stored as FP16."""
        return "float16" if self.simulated else self.weights

    @property
    def scaled(self) -> bool:
        """Whether weights are rounded to steps of a scale, which `granularity` says how many of them share."""
        return self.weights not in FLOATS

    @property
    def scale_group_size(self) -> int | None:
        """How many consecutive input elements of an output channel share a scale; None where no groups do."""
        return self.group_size if self.granularity == "group" else None

    @property
    def bits_per_weight(self) -> float:
        """The declared bits of a weight, for a group with its share of an FP16 scale: 4.25 for int4 by 64.

        The scale of a whole tensor or channel is shared by so many weights that it is left out. Of mixed layers, the
        mean that they are allowed.
        """
        if self.mean_bits is not None:
            return self.mean_bits
        share = GROUP_SCALE_BITS / self.group_size if self.granularity == "group" else 0
        return DTYPE_BITS[self.weights] + share


class Prompts(_Section):
    """Which rows of which prompts file are generated."""

    file: ProjectPath
    sets: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Generation(_Section):
    """How an image is generated."""

    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance_scale: Annotated[float, Field(ge=1, strict=False, allow_inf_nan=False)]


class Calibration(_Section):
    """Which inputs of the FP32 pipeline quantizers take the ranges of activations from."""

    file: ProjectPath
    images: Annotated[int, Field(ge=1)]
    unet_calls: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class Margins(_Section):
    """How far two formats may differ, on average over images, and still count as equal."""

    psnr_db: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
    ssim: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
    clip_score: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]


class Benchmark(_Section):
    """How a timing is taken."""

    prompt: str
    warmup: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=2)]
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(strict=False)] = ()
    longest_image_s: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
    repeats_of_long: Annotated[int, Field(ge=2)]


class Quality(_Section):
    """How images are compared, and when a difference counts as none."""

    trajectory_prompts: Annotated[int, Field(ge=0)]
    floor_prompts: Annotated[int, Field(ge=1)]
    floor_seeds: Annotated[int, Field(ge=3)]
    resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    margins: Margins
    fid_images: Annotated[int, Field(ge=2)]


class Format(_Section):
    """A numeric format as the back end `torch` simulates it; the keys are those of a variant."""

    label: Label
    weights: str
    activations: str = "none"
    granularity: str = "channel"

    @model_validator(mode="after")
    def _can_be_simulated(self) -> "Format":
        try:
            self.variant("format")
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    def variant(self, name: str) -> Variant:
        """This format in every component, under that name."""
        return Variant(
            name=name,
            label=self.label,
            backend="torch",
            weights=self.weights,
            activations=self.activations,
            granularity=self.granularity,
            simulated=self.weights not in FLOATS,
        )


class Sensitivity(_Section):
    """Where damage comes from: which formats are tried in single components and in windows of U-Net calls."""

    images: Annotated[int, Field(ge=1)]
    window: Annotated[int, Field(ge=1)]
    formats: Annotated[dict[Name, Format], Field(min_length=1)]


class Scenario(_Section):
    """One use that the report gives advice for: a device, what must hold there, and what is to be small.

    Without `memory_limit_mib` memory is no limit. `device: any` takes what this machine measured, wherever it ran.
    """

    label: Label
    device: Literal["any", "cpu", "cuda", "mobile"]
    memory_limit_mib: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)] | None = None
    ssim_threshold: Annotated[float, Field(ge=0, le=1, strict=False, allow_inf_nan=False)]
    minimise: Literal["time_s", "disk_mib", "peak_mib"]


class Cost(_Section):
    """What a machine is assumed to cost, in `currency`, and which share of the paid hours it generates."""

    currency: Label
    price_per_hour: Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
    utilisation: Annotated[float, Field(gt=0, le=1, strict=False, allow_inf_nan=False)]


class Report(_Section):
    """What stands on the title page and in which languages."""

    title: str
    author: str
    languages: Annotated[tuple[Literal["en", "ru"], ...], Field(min_length=1, strict=False)]


class Params(_Section):
    """All of params.yaml."""

    model: str
    device: Device
    baseline: str
    models: dict[Name, Annotated[Model, Field(discriminator="source")]]
    architectures: Annotated[dict[Name, Architecture], Field(min_length=1)]
    variants: dict[Name, Variant]
    prompts: Prompts
    generation: Generation
    calibration: Calibration
    benchmark: Benchmark
    quality: Quality
    sensitivity: Sensitivity
    scenarios: Annotated[dict[Name, Scenario], Field(min_length=1)]
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
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
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
    if not isinstance(document, dict):
        raise UserError(f"{path} must be a mapping of sections, such as `model: embedded`")
    variants = document.get("variants")
    if isinstance(variants, dict):
        for key, item in variants.items():
            if isinstance(item, dict) and "name" in item:
                raise UserError(
                    f"{path}: unknown key 'variants.{key}.name': the name of a variant is its key, '{key}', and "
                    f"`label` stands in tables; legal here: {', '.join(_legal_keys(['variants']))}"
                )
        document["variants"] = {
            key: {**item, "name": str(key)} if isinstance(item, dict) else item for key, item in variants.items()
        }
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise UserError("\n       ".join(_explain(path, item) for item in _innermost(error.errors()))) from None


def _innermost(errors: list[Any]) -> list[Any]:
    """Without those that only follow from another one, deeper down: a list is short because its item is wrong."""
    places = [item["loc"] for item in errors]
    return [
        item
        for item in errors
        if not any(len(place) > len(item["loc"]) and place[: len(item["loc"])] == item["loc"] for place in places)
        or not item["loc"]
    ]


def _explain(path: Path, item: Any) -> str:
    """One line for one pydantic error: file, key, value, remedy."""
    location = [str(part) for part in item["loc"] if part not in ("folder", "hub", "architecture", "[key]")]
    key = ".".join(location) or "top level"
    if item["type"] == "extra_forbidden":
        legal = _legal_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], legal, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{path}: unknown key '{key}': {hint}legal here: {', '.join(legal)}"
    if item["type"] == "missing":
        return f"{path}: key '{key}' is missing: add it"
    if item["type"] == "union_tag_not_found":
        return f"{path}: key '{key}.source' is missing: add `source: folder`, `source: hub` or `source: architecture`"
    if item["type"] == "union_tag_invalid":
        return f"{path}: '{key}.source' has the value '{item['ctx']['tag']}': use folder, hub or architecture"
    if not location:
        return f"{path}: {_remedy(item)}"
    value = item["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" has the value {value!r}"
    return f"{path}: '{key}'{shown}: {_remedy(item)}"


def _remedy(item: Any) -> str:
    """What to write instead, in the words of somebody who edits YAML."""
    limits = item.get("ctx", {})
    remedies = {
        "bool_type": "write true or false",
        "int_type": "write a whole number",
        "float_type": "write a number",
        "float_parsing": "write a number",
        "finite_number": "write a finite number",
        "string_type": "write a text, in quotes if it looks like a number",
        "tuple_type": "write a list, such as [one, two]",
        "too_short": "name at least one",
        "greater_than": f"write more than {limits.get('gt')}",
        "greater_than_equal": f"write {limits.get('ge')} or more",
        "less_than_equal": f"write {limits.get('le')} or less",
        "less_than": f"write less than {limits.get('lt')}",
        "invalid_key": "write a text as key",
        "literal_error": f"use {limits.get('expected')}",
        "dict_type": "write `key: value` lines below it",
        "model_type": "write `key: value` lines below it",
        "model_attributes_type": "write `key: value` lines below it",
    }
    return remedies.get(item["type"], item["msg"].removeprefix("Value error, "))


def _legal_keys(location: list[str]) -> list[str]:
    """The keys that params.yaml may have at `location`."""
    sections: dict[str, list[type[BaseModel]]] = {
        "": [Params],
        "models": [FolderModel, HubModel, ArchitectureModel],
        "architectures": [Architecture],
        "variants": [Variant],
        "prompts": [Prompts],
        "generation": [Generation],
        "calibration": [Calibration],
        "benchmark": [Benchmark],
        "quality": [Margins] if location[1:] == ["margins"] else [Quality],
        "sensitivity": [Sensitivity],
        "sensitivity.formats": [Format],
        "scenarios": [Scenario],
        "cost": [Cost],
        "report": [Report],
    }
    section = ".".join(location[:2]) if location[:2] == ["sensitivity", "formats"] else "".join(location[:1])
    models = sections[section]
    return list(dict.fromkeys(key for model in models for key in model.model_fields if key != "name"))


if __name__ == "__main__":
    run_stage(load_params)
