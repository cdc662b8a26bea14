"""Changes of a model's weights that were learned for one numeric format, fused into the FP32 weights before rounding.

A tuning is one safetensors file. A tensor's name is that of the parameter that it changes, component first, and what it
is: `unet.conv_in.weight.up` (out channels, rank) and `.down` (rank, inputs of an output channel) are two factors whose
product is added (Hu et al., "LoRA", ICLR 2022), `unet.conv_in.bias.change` is added as it is. Its metadata say what
learning it took (`training.tune` writes them).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.models.components import load_component, write_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.variant import Tuning

if TYPE_CHECKING:
    import torch

UP, DOWN, CHANGE = "up", "down", "change"
Tensors = Mapping[str, "torch.Tensor"]


class DoesNotFit(Exception):
    """A tuning of another model; `parameter` is one that this model does not have, or not in that shape."""

    def __init__(self, parameter: str) -> None:
        super().__init__(parameter)
        self.parameter = parameter


def read_tuning(tuning: Tuning, key: str) -> dict[str, Tensors]:
    """The tensors of a tuning by component; a UserError where the file is missing or is not the one that was meant.

    `key` is where params.yaml names it.
    """
    from safetensors.torch import load_file

    path = Path(tuning.path)
    if not path.is_file():
        raise UserError(
            f"params.yaml: '{key}.path' has the value '{path}', which is no file here: bring it "
            f"(`git checkout {path}`) or mend the path"
        )
    digest = sha256(path)
    if digest != tuning.sha256:
        raise UserError(
            f"params.yaml: '{key}.sha256' is not that of {path}, which has {digest}: bring the file that was meant, or "
            "write that digest there to make the variant with this one"
        )
    found: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in load_file(path).items():
        component, _, rest = name.partition(".")
        found[component][rest] = tensor
    return found


def fuse_tuning(base: Path, tensors: Mapping[str, Tensors], out: Path) -> None:
    """Write `base` with changed weights, in FP32, into the empty folder `out`; what is not changed is a link.

    A model that has not all the parameters that are to be changed is DoesNotFit.
    """
    out, base = out.resolve(), base.resolve()
    for component in tensors:
        if component not in kind_of(base).networks:
            raise DoesNotFit(component)
    for path in base.iterdir():
        if path.name not in tensors:
            (out / path.name).symlink_to(path)
    for component, changes in tensors.items():
        state = load_component(base, component, "float32").state_dict()
        for name in {key.rpartition(".")[0] for key in changes}:
            if name not in state:
                raise DoesNotFit(f"{component}.{name}")
            try:
                state[name] = changed(name, state[name], changes)
            except (KeyError, RuntimeError):
                raise DoesNotFit(f"{component}.{name}") from None
        (out / component).mkdir()
        (out / component / "config.json").symlink_to(base / component / "config.json")
        write_component(out, component, state)


def changed(name: str, weight: "torch.Tensor", tensors: Tensors) -> "torch.Tensor":
    """The parameter `name` of a network with what `tensors`, named without the component, add to it, in its dtype."""
    if (factor := tensors.get(f"{name}.{UP}")) is not None:
        product = factor.float() @ tensors[f"{name}.{DOWN}"].float()
        return weight + product.reshape(weight.shape).to(weight.dtype)
    if (change := tensors.get(f"{name}.{CHANGE}")) is not None:
        return weight + change.reshape(weight.shape).to(weight.dtype)
    return weight
