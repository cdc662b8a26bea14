"""Real inputs of every network, collected once from the FP32 pipeline: what quantizers take activation ranges from.

The file is safetensors; a tensor's name is component/number/input. Inputs: unet sample (2, c, h, w), timestep () and
text (2, tokens, width), all with guidance; vae latents (1, c, h, w); text_encoder tokens (1, tokens); safety_checker
pixels (1, 3, h, w).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch

    from stages.lib.project.params import Variant

# Inputs of each component, in order.
Inputs = Mapping[str, "list[dict[str, torch.Tensor]]"]


def write_inputs(path: Path, inputs: "dict[str, list[dict[str, torch.Tensor]]]") -> None:
    """Store the inputs of each component, in order. Same tensors, same bytes."""
    from safetensors.torch import save

    from stages.lib.project.files import write_bytes

    tensors = {
        f"{component}/{number:04}/{name}": tensor.contiguous()
        for component, items in inputs.items()
        for number, item in enumerate(items)
        for name, tensor in item.items()
    }
    write_bytes(path, save(tensors))


def read_inputs(path: Path) -> "dict[str, list[dict[str, torch.Tensor]]]":
    """The inputs of each component, in order. A missing, broken or empty file is a UserError."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, dict[str, dict[str, torch.Tensor]]] = defaultdict(lambda: defaultdict(dict))
    try:
        with safe_open(path, framework="pt") as file:
            for key in sorted(file.keys()):
                component, number, name = key.split("/")
                found[component][number][name] = file.get_tensor(key)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro calibrate` to make it") from None
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is broken ({error}): delete it and run `dvc repro calibrate`") from None
    if not found:
        raise UserError(f"{path} holds no inputs: delete it and run `dvc repro calibrate`")
    return {component: [items[number] for number in sorted(items)] for component, items in found.items()}


def require_inputs(variant: "Variant", inputs: Inputs | None) -> None:
    """UserError unless there are inputs of every component whose activations `variant` rounds."""
    for component in variant.rounded_components:
        if not (inputs or {}).get(component):
            raise UserError(
                f"variant '{variant.name}' rounds activations to {variant.activations.upper()}, but there are no "
                f"calibration inputs of '{component}': add prompts to the file of params.yaml's 'calibration.file', "
                "run `dvc repro calibrate`"
            )
