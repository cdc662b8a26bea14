"""A pipeline from its folder: networks and what has no weights put together as diffusers does, whatever the kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.models.components import empty_component, load_component
from stages.lib.models.kinds import kind_of
from stages.lib.models.soundness import sensible

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

UNLIMITED = 10**9  # transformers' word for a length that nobody has limited is 1e30


def assemble(folder: Path, networks: "dict[str, torch.nn.Module]") -> "DiffusionPipeline":
    """The pipeline of `folder` with the loaded `networks`; a network that is not given is left out."""
    import inspect

    kind = kind_of(folder)
    pipeline_class = kind.pipeline_class()
    taken = inspect.signature(pipeline_class.__init__).parameters
    parts = load_companions(folder)
    without = dict.fromkeys(taken.keys() & {*kind.null, *kind.missing, *kind.networks})
    settings = {key: value for key, value in kind.settings.items() if key in taken}
    if not kind.of_role("safety_checker"):
        settings |= dict.fromkeys(taken.keys() & {"requires_safety_checker"}, False)
    with sensible(folder, pipeline_class):
        pipeline = pipeline_class(**without | settings | parts | networks)
    for network in networks.values():
        _like_diffusers(network)
    for name, tokenizer in parts.items():
        _limit_length(tokenizer, networks.get(name.replace("tokenizer", "text_encoder")))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_pipeline(folder: Path, device: str = "cpu", empty: Sequence[str] = ()) -> "DiffusionPipeline":
    """The pipeline of `folder` in FP32 on `device`; the networks `empty` without weights, to be looked at alone."""
    networks = {}
    for name in kind_of(folder).networks:
        if name in empty:
            networks[name] = _shown(empty_component(folder, name))
        else:
            networks[name] = load_component(folder, name, "float32").to(device)
    return assemble(folder, networks)


def _shown(network: "torch.nn.Module") -> "torch.nn.Module":
    """A network without weights that says it is on the CPU: a pipeline may ask it where its others are."""
    import torch

    kind = type(network)
    network.__class__ = type(kind.__name__, (kind,), {"device": torch.device("cpu"), "dtype": torch.float32})
    return network


def load_companions(folder: Path) -> dict[str, Any]:
    """The components without weights, by name. One whose files make no sense is a UserError."""
    kind, loaded = kind_of(folder), {}
    for name in kind.companions:
        with sensible(folder / name, kind.class_of(name)):
            loaded[name] = kind.class_of(name).from_pretrained(folder / name, local_files_only=True)
    return loaded


def _like_diffusers(network: "torch.nn.Module") -> None:
    """Let plain floating-point weights require gradients, as diffusers loads them: nothing computes any.

    PyTorch folds a product with a weight that does into one of two dimensions, which gives other last bits.
    """
    for parameter in network.parameters():
        if parameter.is_floating_point() and not hasattr(parameter, "__tensor_flatten__"):
            parameter.requires_grad_(True)


def _limit_length(tokenizer: Any, text_encoder: "torch.nn.Module | None") -> None:
    """A tokenizer whose files do not say how long a text may be takes what its text encoder has positions for."""
    most = getattr(getattr(text_encoder, "config", None), "max_position_embeddings", None)
    if most and getattr(tokenizer, "model_max_length", 0) > UNLIMITED:
        tokenizer.model_max_length = most
