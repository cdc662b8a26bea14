"""The sections of params.yaml but for `variants`: what each key may be. stages.lib.project.params reads them.

A limit that is not plain has its reason as `description`, which the message of a mistake ends with.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.lib.project.variant import EachOnce, Label, Section

LONGEST_NAME = 100
MOST_PIXELS = 16384
# Windows opens a device under these names, whatever their case and extension.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """`name` itself if it is fit to be the name of a file or folder on every system; else a ValueError."""
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name becomes a folder name: use at most {LONGEST_NAME} characters")
    if RESERVED.fullmatch(name):
        raise ValueError("a name becomes a folder name, and Windows keeps this one for a device: choose another")
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


def _path(path: str) -> str:
    if max((len(os.fsencode(part)) for part in Path(path).parts), default=0) > 255:
        raise ValueError("no file system has names of more than 255 bytes: shorten it")
    return path


def _relative_path(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("use a path inside the project: no leading '/', no '..'")
    return path


def _argument(value: Any) -> Any:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _argument(item)
    elif isinstance(value, int | float) and abs(value) > MOST_PIXELS:
        raise ValueError(f"write {MOST_PIXELS} or less: no side of an image is longer, no argument larger")
    elif not isinstance(value, int | float | str | None):  # a date of YAML
        raise ValueError("write a number, a text, true, false, null, or a list or mapping of them")
    return value


def _arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    for name in ("height", "width"):
        value = arguments.get(name, 1)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}: write a whole number of pixels from 1, or leave it out")
    return arguments


def _repository(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII):
        raise ValueError("write the owner and the name of a Hugging Face repository, such as owner/name")
    return name


def _commit_hash(revision: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError("give the full commit hash, 40 hexadecimal digits: a branch name may change its content")
    return revision


Name = Annotated[str, AfterValidator(_key_name)]
AnyPath = Annotated[str, Field(min_length=1, max_length=1000, description="systems end there"), AfterValidator(_path)]
ProjectPath = Annotated[AnyPath, AfterValidator(_relative_path)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63, description="PyTorch's generators take no other seed")]
Word = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Argument = Annotated[Any, AfterValidator(_argument)]
TitleText = Annotated[str, Field(max_length=300, description="the title page has no room for more")]
MOST_STEPS = 1000
MORE_IMAGES = "each is another image to generate"


class Adapter(Section):
    """A LoRA that is fused into the networks when the model is brought, `weight` times."""

    path: ProjectPath
    weight: Annotated[
        float, Field(ge=-100, le=100, allow_inf_nan=False, description="images are noise long before")
    ] = 1.0


class _Model(Section):
    """What every model may say: `arguments` of the pipeline's call, over those of `generation`."""

    label: Label
    arguments: Annotated[dict[Word, Argument], Field(max_length=100), AfterValidator(_arguments)] = {}
    adapters: Annotated[tuple[Adapter, ...], Field(max_length=20, strict=False)] = ()


class FolderModel(_Model):
    """A pipeline folder in the layout of diffusers, relative to the project; `variant` chooses files named so."""

    source: Literal["folder"]
    path: AnyPath
    variant: Literal["fp16"] | None = None


class HubModel(_Model):
    """A repository of the Hugging Face Hub at a full commit hash, so that the same weights come every time."""

    source: Literal["hub"]
    repository: Annotated[str, Field(max_length=200), AfterValidator(_repository)]
    revision: Annotated[str, AfterValidator(_commit_hash)]
    variant: Literal["fp16"] | None = None


class FileModel(_Model):
    """All weights in one safetensors file; `config` is a pipeline folder of its kind, whose weights are not needed."""

    source: Literal["file"]
    path: AnyPath
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
    sets: Annotated[tuple[Word, ...], Field(min_length=1, max_length=100, strict=False), EachOnce]


class Generation(Section):
    """How an image is generated, where a model's own `arguments` say nothing else."""

    steps: Annotated[int, Field(ge=1, le=MOST_STEPS, description="models are trained for so many noise levels")]
    guidance_scale: Annotated[
        float, Field(ge=0, le=100, allow_inf_nan=False, description="images are saturated long before")
    ]


class Calibration(Section):
    """Which inputs of the FP32 pipeline quantizers take the ranges of activations from."""

    file: ProjectPath
    images: Annotated[int, Field(ge=1, le=1000, description="what is kept of each stays in memory")]
    denoiser_calls: Annotated[int, Field(ge=1, le=2 * MOST_STEPS, description="no image has more")]
    seed: Seed


class Margins(Section):
    """How far two formats may differ, on average over images, and still count as equal."""

    psnr_db: Annotated[Positive, Field(le=100, description="images of 8 bits that differ have less")]
    ssim: Annotated[Positive, Field(le=2, description="SSIM lies between -1 and 1")]
    clip_score: Annotated[Positive, Field(le=200, description="the score lies between -100 and 100")]


class Benchmark(Section):
    """How a timing is taken."""

    prompt: Word
    restarts: Annotated[int, Field(ge=1, le=1000, description=MORE_IMAGES)]
    warmup: Annotated[int, Field(ge=0, le=1000, description=MORE_IMAGES)]
    pairs: Annotated[int, Field(ge=2, le=1000, multiple_of=2, description=MORE_IMAGES)]
    precision: Annotated[Positive, Field(lt=1, description="a share of the ratio")]
    limit_s: Annotated[Positive, Field(le=86400, description="a day for one format")]
    batch_sizes: Annotated[
        tuple[Annotated[int, Field(ge=2, le=1024)], ...],
        Field(max_length=20, strict=False, description="a batch is in memory at once"),
        EachOnce,
    ] = ()
    longest_image_s: Annotated[Positive, Field(le=86400, description="a day for one image")]


class Quality(Section):
    """How images are compared, and when a difference counts as none."""

    trajectory_prompts: Annotated[int, Field(ge=0, le=1000, description="latents of every step of each are stored")]
    floor_prompts: Annotated[int, Field(ge=1, le=10_000, description=MORE_IMAGES)]
    floor_seeds: Annotated[int, Field(ge=3, le=10_000, description=MORE_IMAGES)]
    resamples: Annotated[
        int, Field(ge=100, le=100_000, description="all are in memory at once, and intervals no longer change")
    ]
    seed: Seed
    margins: Margins
    fid_images: Annotated[int, Field(ge=2, le=1_000_000, description="sets of images in use have fewer")]
    perceptual_prompts: Annotated[int, Field(ge=0, le=100_000, description="a prompts file has no more rows")]


class Scenario(Section):
    """One use that the report gives advice for: a device, what must hold there, and what is to be small.

    Without `memory_limit_mib` memory is no limit. `device: any` takes what this machine measured, wherever it ran.
    """

    label: Label
    device: Literal["any", "cpu", "cuda", "mobile"]
    memory_limit_mib: Annotated[Positive | None, Field(le=2**30, description="leave it out where there is none")] = None
    ssim_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    minimise: Literal["time_s", "disk_mib", "peak_mib"]


class Cost(Section):
    """What a machine is assumed to cost, in `currency`, and which share of the paid hours it generates."""

    currency: Label
    price_per_hour: Annotated[Positive, Field(le=1e9, description="tables have no room for more")]
    utilisation: Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)]


class Report(Section):
    """What stands on the title page, in which languages, and which other models' records are compared."""

    title: TitleText
    author: TitleText
    languages: Annotated[tuple[Literal["en", "ru"], ...], Field(min_length=1, strict=False), EachOnce]
    compare: Annotated[
        tuple[Name, ...], Field(max_length=5, strict=False, description="a page is no wider"), EachOnce
    ] = ()
