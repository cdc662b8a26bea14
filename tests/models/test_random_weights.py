"""Random weights are the same bytes every time, and no activation overflows."""

from pathlib import Path

import pytest
import torch

from stages.lib.models.components import empty_component
from stages.lib.models.random_weights import random_state
from tests.conftest import PROJECT
from tests.reference import COMPONENTS

# Of seed 0, kernel conv_in.weight of a U-Net with four input channels and 16 output channels.
KNOWN = [0.007589905522763729, 0.2187637835741043, -0.15832273662090302]


def states(folder: Path, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    return {name: random_state(empty_component(folder, name), name, seed) for name in COMPONENTS}


def test_the_seed_decides_every_weight(tiny_model):
    """Protects reproducibility: same seed, same bits; another seed or network, others."""
    first, again, other = states(tiny_model, 0), states(tiny_model, 0), states(tiny_model, 1)
    for component in COMPONENTS:
        matrices = [name for name, tensor in first[component].items() if tensor.ndim > 1]
        assert matrices
        for name, tensor in first[component].items():
            assert torch.equal(tensor, again[component][name])
        assert not any(torch.equal(first[component][name], other[component][name]) for name in matrices)


def test_a_number_from_the_seed_is_known(tiny_model):
    """Protects the bytes across machines and versions: the first numbers of one kernel, exactly."""
    weight = states(tiny_model, 0)["unet"]["conv_in.weight"]
    assert weight.flatten()[:3].tolist() == KNOWN
    bound = (3 / weight[0].numel()) ** 0.5
    assert weight.abs().max() <= bound and weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_activations_stay_far_from_overflow(dtype):
    """Protects FP16: text encoder and decoder at their true width and depth, on a small input, stay below 1000."""
    folder = PROJECT / "data/architectures/sd15"
    largest = []
    for component in ("text_encoder", "vae"):
        network = empty_component(folder, component)
        network.load_state_dict(random_state(network, component, 0), assign=True)
        network = network.to(dtype)
        for module in network.modules():
            module.register_forward_hook(lambda _, args, output: largest.append(extreme(output)))
        with torch.no_grad():
            if component == "vae":
                network.decode(torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype))
            else:
                network(torch.arange(8)[None])
    assert largest and max(largest) < 1000


def extreme(output) -> float:
    """The largest magnitude in what a layer gives; infinity where it is not a number."""
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return 0.0
    return output.float().nan_to_num(float("inf"), float("inf")).abs().max().item()
