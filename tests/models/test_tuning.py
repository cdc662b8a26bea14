"""Learned changes are fused into the weights of the model that they were learned for, and of no other."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.formats.shared.tuned import tuned_base
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.components import load_component
from stages.lib.models.tuning import fuse_tuning, read_tuning
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import variant_of
from stages.lib.project.variant import Tuning

CHANGES = {
    "unet.conv_in.weight.up": torch.arange(16.0).reshape(16, 1) / 64,
    "unet.conv_in.weight.down": torch.ones(1, 36),
    "unet.conv_in.bias.change": torch.full((16,), 0.25),
}


def tuning_of(folder: Path, tensors: dict[str, torch.Tensor]) -> Tuning:
    path = folder / "tuning.safetensors"
    save_file({name: value.half() for name, value in tensors.items()}, path)
    return Tuning(path=str(path), sha256=sha256(path))


def tuned(tuning: Tuning):
    return variant_of(name="v", label="v", backend="torch", weights="int4", simulated=True, tuning=tuning)


def test_products_and_changes_are_added_and_all_else_stays(tiny_model: Path, tmp_path: Path) -> None:
    """Protects what is measured from being another model than the tuned one."""
    out = tmp_path / "fused"
    out.mkdir()
    fuse_tuning(tiny_model, read_tuning(tuning_of(tmp_path, CHANGES), "variants.v.tuning"), out)
    before, after = (load_component(folder, "unet", "float32").state_dict() for folder in (tiny_model, out))
    added = (torch.arange(16.0) / 64).reshape(16, 1, 1, 1).expand(16, 4, 3, 3)
    torch.testing.assert_close(after.pop("conv_in.weight"), before.pop("conv_in.weight") + added, rtol=0, atol=0)
    torch.testing.assert_close(after.pop("conv_in.bias"), before.pop("conv_in.bias") + 0.25, rtol=0, atol=0)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert load_pipeline(out).vae.state_dict().keys() == load_pipeline(tiny_model).vae.state_dict().keys()


def test_without_a_tuning_the_base_itself_is_quantized(tiny_model: Path) -> None:
    """Protects other variants from a copy, and from its time."""
    with tuned_base(tiny_model, variant_of(name="v", label="v", backend="torch", weights="float16")) as source:
        assert source == tiny_model


@pytest.mark.parametrize(
    "tensors",
    [
        {"transformer.proj_out.bias.change": torch.ones(4)},
        {"unet.conv_middle.bias.change": torch.ones(4)},
        {"unet.conv_in.bias.change": torch.ones(7)},
        {"unet.conv_in.weight.up": torch.ones(16, 2), "unet.conv_in.weight.down": torch.ones(3, 36)},
        {"unet.conv_in.weight.up": torch.ones(16, 2)},
    ],
)
def test_a_tuning_of_another_model_is_an_obstacle(
    tiny_model: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Protects a run with another model from failing, and the user from a network half changed."""
    with pytest.raises(CannotMake) as failure, tuned_base(tiny_model, tuned(tuning_of(tmp_path, tensors))):
        pass
    assert failure.value.obstacle["reason"] == "tuned_for_another"
    assert failure.value.obstacle["parameter"] in (
        "transformer", "unet.conv_middle.bias", "unet.conv_in.bias", "unet.conv_in.weight"
    )  # fmt: skip


def test_a_missing_file_and_another_file_are_mistakes(tmp_path: Path) -> None:
    """Protects results from a file that was exchanged."""
    given = tuning_of(tmp_path, CHANGES)
    with pytest.raises(UserError, match=r"variants.v.tuning.sha256' is not that of .*, which has " + given.sha256):
        read_tuning(Tuning(path=given.path, sha256="0" * 64), "variants.v.tuning")
    with pytest.raises(UserError, match=r"variants.v.tuning.path' has the value 'nothing', which is no file"):
        read_tuning(Tuning(path="nothing", sha256="0" * 64), "variants.v.tuning")
