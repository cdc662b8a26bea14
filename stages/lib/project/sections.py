"""The sections of params.yaml but for `variants`: what each key may be. stages.lib.project.params reads them."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.lib.project.variant import Label, Section


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


Name = Annotated[str, AfterValidator(_key_name)]
ProjectPath = Annotated[str, AfterValidator(_relative_path)]
Positive = Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Adapter(Section):
    """A LoRA that is fused into the networks when the model is brought, `weight` times."""

    path: ProjectPath
    weight: Annotated[float, Field(strict=False, allow_inf_nan=False)] = 1.0


class _Model(Section):
    """What every model may say: `arguments` of the pipeline's call, over those of `generation`."""

    label: Label
    arguments: dict[str, Any] = {}
    adapters: Annotated[tuple[Adapter, ...], Field(strict=False)] = ()


class FolderModel(_Model):
    """A pipeline folder in the layout of diffusers, relative to the project; `variant` chooses files named so."""

    source: Literal["folder"]
    path: str
    variant: Literal["fp16"] | None = None


class HubModel(_Model):
    """A repository of the Hugging Face Hub at a full commit hash, so that the same weights come every time."""

    source: Literal["hub"]
    repository: Annotated[str, AfterValidator(_repository)]
    revision: Annotated[str, AfterValidator(_commit_hash)]
    variant: Literal["fp16"] | None = None


class FileModel(_Model):
    """All weights in one safetensors file; `config` is a pipeline folder of its kind, whose weights are not needed."""

    source: Literal["file"]
    path: str
    config: ProjectPath


class ArchitectureModel(_Model):
    """A folder of configurations without weights: the networks at their true size, weights drawn from `seed`."""

    source: Literal["architecture"]
    path: ProjectPath
    seed: Seed


Model = Annotated[FolderModel | HubModel | FileModel | ArchitectureModel, Field(discriminator="source")]


class Architecture(Section):
    """A folder of configurations whose exact sizes the report states."""

    label: Label
    path: ProjectPath


class Prompts(Section):
    """Which rows of which prompts file are generated."""

    file: ProjectPath
    sets: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Generation(Section):
    """How an image is generated, where a model's own `arguments` say nothing else."""

    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance_scale: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)]


class Calibration(Section):
    """Which inputs of the FP32 pipeline quantizers take the ranges of activations from."""

    file: ProjectPath
    images: Annotated[int, Field(ge=1)]
    denoiser_calls: Annotated[int, Field(ge=1)]
    seed: Seed


class Margins(Section):
    """How far two formats may differ, on average over images, and still count as equal."""

    psnr_db: Positive
    ssim: Positive
    clip_score: Positive


class Benchmark(Section):
    """How a timing is taken."""

    prompt: str
    warmup: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=2)]
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(strict=False)] = ()
    longest_image_s: Positive
    repeats_of_long: Annotated[int, Field(ge=2)]


class Quality(Section):
    """How images are compared, and when a difference counts as none."""

    trajectory_prompts: Annotated[int, Field(ge=0)]
    floor_prompts: Annotated[int, Field(ge=1)]
    floor_seeds: Annotated[int, Field(ge=3)]
    resamples: Annotated[int, Field(ge=100)]
    seed: Seed
    margins: Margins
    fid_images: Annotated[int, Field(ge=2)]
    perceptual_prompts: Annotated[int, Field(ge=0)]


class Scenario(Section):
    """One use that the report gives advice for: a device, what must hold there, and what is to be small.

    Without `memory_limit_mib` memory is no limit. `device: any` takes what this machine measured, wherever it ran.
    """

    label: Label
    device: Literal["any", "cpu", "cuda", "mobile"]
    memory_limit_mib: Positive | None = None
    ssim_threshold: Annotated[float, Field(ge=0, le=1, strict=False, allow_inf_nan=False)]
    minimise: Literal["time_s", "disk_mib", "peak_mib"]


class Cost(Section):
    """What a machine is assumed to cost, in `currency`, and which share of the paid hours it generates."""

    currency: Label
    price_per_hour: Positive
    utilisation: Annotated[float, Field(gt=0, le=1, strict=False, allow_inf_nan=False)]


class Report(Section):
    """What stands on the title page and in which languages."""

    title: str
    author: str
    languages: Annotated[tuple[Literal["en", "ru"], ...], Field(min_length=1, strict=False)]
