"""Which layers a variant leaves in floating point, neither weights nor activations rounded: `spare` of params.yaml."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.models.components import empty_component
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant
from stages.lib.project.variant import AUTO

if TYPE_CHECKING:
    from torch import nn


def layers_with_weights(network: "nn.Module") -> list[str]:
    """The names of the layers that multiply with a weight or look one up, in the network's order."""
    return [name for name, module in network.named_modules() if getattr(getattr(module, "weight", None), "ndim", 0) > 1]


def with_recommended(variant: Variant, path: Path) -> Variant:
    """The variant with the layers that the file `path` of the stage sensitivity_layers recommends, if it asks for them.

    Where nothing was measured it is CannotMake; a file that is missing is a UserError.
    """
    if variant.spare != (AUTO,):
        return variant
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro sensitivity_layers` to make it")
    found = YAML(typ="safe", pure=True).load(path)
    if not found["measured"]:
        raise CannotMake({"reason": "nothing_recommended"})
    if variant.weights not in found["weights"]:
        raise UserError(f"{path} says nothing about weights '{variant.weights}': run `dvc repro sensitivity_layers`")
    rounds = "weights_only" if variant.activations == "none" else "activations_too"
    return variant.model_copy(update={"spare": tuple(found["weights"][variant.weights][rounds])})


def spared_layers(variant: Variant, base: Path) -> dict[str, list[str]]:
    """By each component of `variant` (one of stages.lib.formats.shared.choice.on_model), the layers that it spares.

    A pattern is the name of a layer, or of a module for all layers in it, with or without its component before it;
    `*` stands for any part. One that matches no layer is a UserError.
    """
    spared: dict[str, list[str]] = {component: [] for component in variant.components}
    if not variant.spare:
        return spared
    layers = {component: layers_with_weights(empty_component(base, component)) for component in variant.components}
    used = set()
    for component, names in layers.items():
        for name in names:
            fitting = [pattern for pattern in variant.spare if _fits(component, name, pattern)]
            used.update(fitting)
            if fitting:
                spared[component].append(name)
    strange = next((pattern for pattern in variant.spare if pattern not in used), None)
    if strange is not None:
        component, names = next((item for item in layers.items() if item[1]), ("", ["conv_in"]))
        raise UserError(
            f"{PARAMS_FILE}: 'variants.{variant.name}.spare' has '{strange}', which matches no layer of "
            f"{', '.join(layers)}: name a layer or a module around layers, such as '{component}.{names[0]}', with * "
            "for any part of a name"
        )
    return spared


def _fits(component: str, layer: str, pattern: str) -> bool:
    whole = f"{component}.{layer}"
    return any(fnmatchcase(name, end) for name in (layer, whole) for end in (pattern, f"{pattern}.*"))
