"""A variant that this project made, in a program of your own: what the report's brief tells a reader to write."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.devices import resolve_device
from stages.lib.models.call_arguments import arguments_of
from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def load_pipeline(name: str) -> tuple["DiffusionPipeline", dict[str, Any]]:
    """The variant `name` of the model that params.yaml chooses, and what it is called with besides a prompt.

    To be called from the top of the project. A variant that has not been made is a UserError.
    """
    params = load_params()
    variant = params.variant(name)
    folder = Path("data/runs") / params.model / "models" / name
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: run `dvc repro quantize@{name}`")
    device = resolve_device(variant.device, params.device)
    pipeline = BACKENDS[variant.backend].load_module().load(folder, variant, device)
    return pipeline, arguments_of(params, type(pipeline))
