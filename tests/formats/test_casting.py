"""Networks that compute in another dtype than their weights are stored in."""

import pytest
import torch
from torch import nn

from stages.lib.formats.shared.casting import compute_in


class Asking(nn.Module):
    """Casts to the dtype of its first parameter, as AuraFlow's transformer does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(values.to(next(self.parameters()).dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_that_asks_its_parameters_is_told_what_it_computes_in(dtype):
    """Protects kinds that do not ask their inputs; outside of a call the parameters are what is stored."""
    network = Asking().half()
    values = torch.randn(2, 4)
    expected = nn.functional.linear(values, network.layer.weight.float(), network.layer.bias.float())
    compute_in(network, dtype)
    assert torch.allclose(network(values), expected, atol=1e-6 if dtype == "float32" else 0.05)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float16}
