"""What kind of pipeline a folder holds: its components, what each is for, and their classes, from model_index.json.

Everything is found by what the index names; nothing here knows one model. A network has one of four ROLES:

- denoiser: called in every step (a U-Net, a transformer)
- decoder: makes an image of latents
- text_encoders: read the prompt
- safety_checker: judges the finished image; many models have none

`Kind` needs no import of diffusers; `Kind.class_of` imports the classes, which must be diffusers' or transformers' own.
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stages.lib.models.families import (
    CHECKERS,
    DECODERS,
    IDLE,
    IMAGES,
    READERS,
    RENAMED,
    SPARABLE,
    TEXT_ENCODER,
    WITHOUT_WEIGHTS,
)
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError, first_line

MODEL_INDEX = "model_index.json"
ROLES = ("denoiser", "decoder", "text_encoders", "safety_checker")
LIBRARIES = ("diffusers", "transformers")
AGAIN = "bring the model again"
REMEDY = "give a text-to-image model in the layout of diffusers"


@dataclass(frozen=True)
class Kind:
    """A pipeline class, and its components by name.

    `parts`: library and class of each that is there; `missing`: of those that the index names and that are not there;
    `null`: those that it says there are none of. `settings`: what else it says. `where`: the folder or repository, for
    messages.
    """

    pipeline: str
    parts: Mapping[str, tuple[str, str]]
    null: tuple[str, ...]
    missing: Mapping[str, tuple[str, str]]
    settings: Mapping[str, Any]
    where: str = field(compare=False)

    @property
    def networks(self) -> tuple[str, ...]:
        """The components with weights: by role in the order of ROLES, then by name."""
        return tuple(name for role in ROLES for name in self.of_role(role))

    @property
    def companions(self) -> tuple[str, ...]:
        """The components without weights: tokenizers, scheduler, feature extractor."""
        return tuple(name for name, (_, kind) in sorted(self.parts.items()) if WITHOUT_WEIGHTS.search(kind))

    def of_role(self, role: str) -> tuple[str, ...]:
        """The networks of one of ROLES, by name; empty where there is none."""
        return tuple(name for name in sorted(self.parts) if self.role(name) == role)

    def players(self) -> dict[str, tuple[str, ...]]:
        """The networks of each role, in the order of ROLES, by the name of the only one, or else by the role's."""
        groups = ((role, self.of_role(role)) for role in ROLES)
        return {names[0] if len(names) == 1 else role: names for role, names in groups if names}

    def role(self, name: str) -> str | None:
        """What a component is for; None for one without weights."""
        return role_of(name, *self.parts[name])

    def chosen(self, names: Sequence[str] | None, key: str = "components") -> tuple[str, ...]:
        """The networks that `names` mean, each a role or a component's own name; None means all.

        A role that this model has nothing for is left out. An unknown name, or nothing at all, is a UserError that
        names the `key` of params.yaml.
        """
        if names is None:
            return self.networks
        for name in names:
            if name not in (*ROLES, *self.networks):
                raise UserError(
                    f"params.yaml: '{key}' names '{name}', which is no network of {self.where}: use one of "
                    f"{', '.join(dict.fromkeys((*ROLES, *self.networks)))}"
                )
        found = tuple(name for name in self.networks if name in names or self.role(name) in names)
        if not found:
            raise UserError(
                f"params.yaml: '{key}' names {', '.join(names)}, of which {self.where} has none: use one of "
                f"{', '.join(self.networks)}"
            )
        return found

    def class_of(self, name: str) -> type:
        """The class of a component. One that is neither diffusers' nor transformers' own is a UserError."""
        import diffusers
        import transformers

        library, kind = self.parts[name]
        homes = {"diffusers": diffusers, "transformers": transformers}
        home = homes.get(library) or _member(diffusers.pipelines, library)
        found = _member(home, RENAMED.get(kind, kind))
        if not (inspect.isclass(found) and found.__module__.partition(".")[0] in LIBRARIES):
            raise UserError(
                f"{self.where}/{MODEL_INDEX}: component '{name}' is {json.dumps([library, kind])}, a class of neither "
                f"diffusers {diffusers.__version__} nor transformers {transformers.__version__}: choose a model "
                "without code of its own, or install the versions that have it"
            )
        return found

    def pipeline_class(self) -> type:
        """The class of the pipeline. One that diffusers does not have, or that takes no prompt or noise, is refused."""
        import diffusers

        found = _member(diffusers, self.pipeline)
        try:
            getattr(found, "components", None)
        except ImportError as error:  # a package is missing, as says what diffusers has instead of the class
            raise UserError(f"{self.where}/{MODEL_INDEX}: '_class_name': {first_line(error)}") from None
        if not (inspect.isclass(found) and issubclass(found, diffusers.DiffusionPipeline)):
            raise UserError(
                f"{self.where}/{MODEL_INDEX}: '_class_name' is '{self.pipeline}', which diffusers "
                f"{diffusers.__version__} does not have: install a version that has it, or choose another model"
            )
        for name in ("prompt", "latents"):  # without the latter, formats could not be compared on the same noise
            if name not in inspect.signature(found.__call__).parameters:
                raise UserError(
                    f"{self.where}/{MODEL_INDEX}: '_class_name' is '{self.pipeline}', which takes no {name}: {REMEDY}"
                    f"{plain_class(self.pipeline)}"
                )
        made = _answers(found)
        if made and not made & set(IMAGES):
            raise UserError(
                f"{self.where}/{MODEL_INDEX}: '_class_name' is '{self.pipeline}', which makes "
                f"{', '.join(sorted(made))}, no images: {REMEDY}"
            )
        return found


def _answers(pipeline: type) -> set[str]:
    """What the answers of a pipeline have, by the classes of answers that its module names; empty if there are none."""
    kinds = inspect.getmembers(inspect.getmodule(pipeline), inspect.isclass)
    return {field.name for name, kind in kinds if name.endswith("PipelineOutput") for field in fields(kind)}


def plain_class(name: str) -> str:
    """What else to do about a pipeline class that changes an image: take the one that needs none."""
    plain = re.sub("Img2Img|Inpaint", "", name)
    return f", or write '{plain}', which needs no image, as its '_class_name'" if plain != name else ""


def role_of(name: str, library: str, kind: str) -> str | None:
    """What a component called `name`, of a library and a class, is for; None for one without weights."""
    if WITHOUT_WEIGHTS.search(kind):
        return None
    if CHECKERS.search(kind):
        return "safety_checker"
    if DECODERS.search(kind):
        return "decoder"
    reads = library == "transformers" or TEXT_ENCODER in name or READERS.search(kind)
    return "text_encoders" if reads else "denoiser"


def _member(library: object, name: str) -> object:
    """What a library calls `name`; None where there is no such thing, or it needs a package that is not here."""
    try:
        return getattr(library, name, None)
    except (ImportError, RuntimeError):
        return None


def kind_of_index(index: object, folders: Iterable[str], where: str) -> Kind:
    """The kind that the content of a model_index.json describes, where `folders` of components are there."""
    name = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(name, str):
        raise UserError(
            f"{where}/{MODEL_INDEX}: '_class_name' is {json.dumps(name)}, which names no class of diffusers: {REMEDY}"
        )
    # A list of numbers is a setting, such as which layers of a text encoder are read.
    lists = {part: entry for part, entry in index.items() if isinstance(entry, list)}
    entries = {part: entry for part, entry in lists.items() if not entry or {*map(type, entry)} - {int, float}}
    for part, entry in entries.items():
        if len(entry) != 2 or not (entry == [None, None] or all(isinstance(item, str) for item in entry)):
            raise UserError(
                f"{where}/{MODEL_INDEX}: component '{part}' is {json.dumps(entry)}, not a library and a class: {REMEDY}"
            )
    here = set(folders)
    named = {part: tuple(entry) for part, entry in entries.items() if entry[0]}
    parts = {part: entry for part, entry in named.items() if part in here and part not in IDLE}
    settings = {key: value for key, value in index.items() if key not in entries and not key.startswith("_")}
    null = tuple(sorted(part for part, entry in entries.items() if entry[0] is None))
    missing = {part: entry for part, entry in sorted(named.items()) if part not in parts}
    return Kind(name, parts, null, missing, settings, where)


def kind_of(folder: Path) -> Kind:
    """The kind of pipeline in `folder`. A missing or broken index is a UserError."""
    path = folder / MODEL_INDEX
    if not path.is_file():
        single = next((item.name for item in sorted(folder.glob("*.safetensors"))), None)
        remedy = (
            f"; if all weights are in {single}, write `source: file` with its path and a `config`" if single else ""
        )
        below = [*folder.glob(f"*/{MODEL_INDEX}"), *folder.glob(f"snapshots/*/{MODEL_INDEX}")]  # as the Hub's cache has
        remedy = f"; {min(below).parent} has one: name that folder" if below else remedy
        raise UserError(f"{folder} has no {MODEL_INDEX}: {REMEDY}{remedy}")
    return kind_of_index(
        read_mapping(path, AGAIN), (item.name for item in folder.iterdir() if item.is_dir()), str(folder)
    )


def check_kind(kind: Kind) -> None:
    """Raise a UserError unless every class is known and every component is there that generation cannot do without."""
    pipeline = kind.pipeline_class()
    needed, others = pipeline._get_signature_keys(pipeline)
    absent = {name for name in needed if name not in (*kind.parts, *kind.null, *pipeline._optional_components, *others)}
    absent |= {name for name, entry in kind.missing.items() if name not in IDLE and not SPARABLE.search(entry[1])}
    for name in sorted(absent):
        null = (
            f", or write [null, null] for it into {MODEL_INDEX} if it generates without" if name in kind.missing else ""
        )
        raise UserError(f"{kind.where} has no component '{name}' of a {kind.pipeline}: bring the complete model{null}")
    for name in kind.parts:
        if name not in (*needed, *others):
            raise UserError(
                f"{kind.where}/{MODEL_INDEX}: '_class_name' is '{kind.pipeline}', which has no component '{name}': "
                "write the class of the model there, or remove the component"
            )
    if not any(name for name in kind.companions if kind.parts[name][1].endswith("Scheduler")):
        raise UserError(f"{kind.where} has no scheduler: bring the complete model")
    if not kind.of_role("denoiser"):
        raise UserError(f"{kind.where} has no network that denoises: {REMEDY}")
    if not kind.of_role("text_encoders") and any(TEXT_ENCODER in name for name in needed):  # else a denoiser reads
        raise UserError(f"{kind.where} has no text encoder: {REMEDY}")
    if kind.of_role("safety_checker") and "feature_extractor" not in kind.parts:
        raise UserError(
            f"{kind.where} has a safety checker and no feature_extractor to prepare images for it: bring both, "
            "or leave both out"
        )
    for name in kind.parts:
        kind.class_of(name)
