"""What users have besides a whole folder: one file with all weights, LoRAs, names of tensors of older libraries."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.models.adapters import fuse_adapters
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.bringing import write_base
from stages.lib.models.components import empty_component, load_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.sections import Adapter, FileModel, FolderModel

UNET = "unet/diffusion_pytorch_model.safetensors"


def folder_model(path: Path, **keys) -> FolderModel:
    return FolderModel(label="Mine", source="folder", path=str(path), **keys)


def image(folder: Path) -> np.ndarray:
    pipeline = load_pipeline(folder)
    pipeline.safety_checker = None
    generator = torch.Generator().manual_seed(3)
    return pipeline("A cat", num_inference_steps=2, generator=generator, output_type="np").images[0]


def older(name: str, component: str) -> str:
    """What transformers 4 and early diffusers called a tensor."""
    if component == "vae":
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{new}.", f".{old}.")
    if component == "text_encoder":
        return f"text_model.{name}".replace("text_model.text_model.", "text_model.")
    return name


def test_names_of_tensors_that_older_libraries_wrote_become_todays(tiny_kind, tmp_path):
    """Protects every stage that reads headers: the published Stable Diffusion v1.5 has such names."""
    source = Path(shutil.copytree(tiny_kind("sd15"), tmp_path / "source"))
    for component in ("vae", "text_encoder"):
        for path in (source / component).glob("*.safetensors"):
            weights = {older(name, component): tensor for name, tensor in load_file(path).items()}
            weights["unused"] = torch.zeros(3)
            save_file(weights, path, metadata={"format": "pt"})
    write_base(folder_model(source), "mine", source, tmp_path / "base")
    for component in kind_of(source).networks:
        (path,) = (tmp_path / "base" / component).glob("*.safetensors")
        assert load_file(path).keys() == empty_component(source, component).state_dict().keys()
    assert np.array_equal(image(tmp_path / "base"), image(tiny_kind("sd15")))


def lora(folder: Path, layer: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 for one layer of the U-Net, as diffusers writes it."""
    rows, columns = load_component(folder, "unet", "float32").get_submodule(layer).weight.shape
    generator = torch.Generator().manual_seed(seed)
    return {
        f"unet.{layer}.lora_A.weight": torch.randn(2, columns, generator=generator),
        f"unet.{layer}.lora_B.weight": torch.randn(rows, 2, generator=generator),
    }


def test_adapters_are_added_as_often_as_they_weigh(tiny_kind, tmp_path, monkeypatch, capsys):
    """Protects LoRAs: each adds weight times the product of its matrices to its layer, and to nothing else."""
    pytest.importorskip("peft", reason="the package is optional")
    monkeypatch.chdir(tmp_path)
    source = tiny_kind("sd15")
    layers = [f"down_blocks.1.attentions.0.transformer_blocks.0.attn1.{name}" for name in ("to_q", "to_v")]
    adapters = []
    for number, layer in enumerate(layers):
        save_file(lora(source, layer, number), f"style{number}.safetensors")
        adapters.append(Adapter(path=f"style{number}.safetensors", weight=0.5 - number))
    write_base(folder_model(source, adapters=tuple(adapters)), "mine", source, Path("base"))
    before, after = (load_file(folder / UNET) for folder in (source, Path("base")))
    for name in before:
        expected = before[name]
        for number, layer in enumerate(layers):
            if name == f"{layer}.weight":
                down, up = lora(source, layer, number).values()
                expected = expected + (0.5 - number) * up @ down
        assert torch.allclose(after[name], expected, atol=1e-6), name
    assert not any("lora" in path.name for path in Path("base").rglob("*"))
    assert "style" not in capsys.readouterr().out


def test_an_adapter_of_another_model_is_refused(tiny_kind, tmp_path, monkeypatch):
    """Protects against a LoRA that changes nothing."""
    pytest.importorskip("peft", reason="the package is optional")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_kind("sd15"), "base")
    save_file({"transformer.x.lora_A.weight": torch.ones(2, 4)}, "other.safetensors")
    with pytest.raises(UserError, match="other.safetensors (is no LoRA for|changes no weight of) a StableDiffusionPip"):
        fuse_adapters(Path("base"), (Adapter(path="other.safetensors"),), "mine")


def test_a_missing_adapter_and_a_missing_package_are_one_message(tiny_kind, tmp_path, monkeypatch):
    """Protects a user from a model that is not the one that was asked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'models.mine.adapters.0.path' has the value 'no.safetensors', which is no"):
        fuse_adapters(tiny_kind("sd15"), (Adapter(path="no.safetensors"),), "mine")
    save_file({"x": torch.ones(1)}, "there.safetensors")
    monkeypatch.setattr("stages.lib.models.adapters.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package peft: run `. .venv/bin/activate` and `pip install peft`"):
        fuse_adapters(tiny_kind("sd15"), (Adapter(path="there.safetensors"),), "mine")


def test_an_adapter_that_lies_beside_is_named(tiny_kind, tmp_path, capsys):
    """Protects a user who believes that it is used."""
    source = Path(shutil.copytree(tiny_kind("sd15-unchecked"), tmp_path / "source"))
    save_file({"x": torch.ones(1)}, source / "pytorch_lora_weights.safetensors")
    write_base(folder_model(source), "mine", source, tmp_path / "base")
    assert "pytorch_lora_weights.safetensors looks like a LoRA and is not used" in capsys.readouterr().out
    assert not list((tmp_path / "base").glob("*.safetensors"))


def single_file(folder: Path, path: Path) -> Path:
    """The weights of a Stable Diffusion 1.5 in one file, under the names that CompVis gave them."""
    renamed = {f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": tensor
               for name, tensor in load_component(folder, "text_encoder", "float32").state_dict().items()}  # fmt: skip
    for name, tensor in load_component(folder, "unet", "float32").state_dict().items():
        renamed[f"model.diffusion_model.{compvis_unet(name)}"] = tensor
    for name, tensor in load_component(folder, "vae", "float32").state_dict().items():
        old = compvis_vae(name)
        is_product = "mid.attn_1" in old and old.endswith("weight") and "norm" not in old
        renamed[f"first_stage_model.{old}"] = tensor[..., None, None] if is_product else tensor
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, path)
    return path


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1"} | {
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def compvis_unet(name: str) -> str:
    """Of a U-Net with two levels of one layer each: input blocks 1, 2 (down), 3; output blocks 0, 1, 2, 3."""
    blocks = [
        (r"conv_in", "input_blocks.0.0"), (r"conv_norm_out", "out.0"), (r"conv_out", "out.2"),
        (r"time_embedding\.linear_1", "time_embed.0"), (r"time_embedding\.linear_2", "time_embed.2"),
        (r"down_blocks\.0\.resnets\.0", "input_blocks.1.0"), (r"down_blocks\.0\.downsamplers\.0\.conv",
        "input_blocks.2.0.op"), (r"down_blocks\.1\.resnets\.0", "input_blocks.3.0"),
        (r"down_blocks\.1\.attentions\.0", "input_blocks.3.1"), (r"mid_block\.resnets\.0", "middle_block.0"),
        (r"mid_block\.attentions\.0", "middle_block.1"), (r"mid_block\.resnets\.1", "middle_block.2"),
        (r"up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0"), (r"up_blocks\.0\.attentions\.(\d)",
        r"output_blocks.\1.1"), (r"up_blocks\.0\.upsamplers\.0\.conv", "output_blocks.1.2.conv"),
        (r"up_blocks\.1\.resnets\.0", "output_blocks.2.0"), (r"up_blocks\.1\.resnets\.1", "output_blocks.3.0"),
    ]  # fmt: skip
    for pattern, new in blocks:
        if re.match(pattern + r"\.", name):
            name = re.sub("^" + pattern, new, name)
            break
    for new, old in RESNET.items():
        if re.search(r"(put_blocks\.\d|middle_block)\.\d\." + new, name) and "attn" not in name:
            name = name.replace(new, old)
    return name


def compvis_vae(name: str) -> str:
    """Of a VAE with two levels."""
    name = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.", r"encoder.down.\1.block.", name)
    name = re.sub(r"decoder\.up_blocks\.(\d)\.resnets\.", lambda m: f"decoder.up.{1 - int(m[1])}.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{1 - int(m[1])}.upsample.", name)
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
    for new, old in (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        name = name.replace(f"attn_1.{new}.", f"attn_1.{old}.")
    return name.replace("conv_shortcut", "nin_shortcut")


def file_model(path: Path, config: str) -> FileModel:
    return FileModel(label="Mine", source="file", path=str(path), config=config)


def test_a_single_file_is_brought_with_the_configurations_that_are_named(tiny_kind, tmp_path, monkeypatch, capsys):
    """Protects fine-tunes, most of which are one file: the same images as of the folder, and no safety checker."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_kind("sd15"), "config", ignore=shutil.ignore_patterns("*.safetensors"))
    path = single_file(tiny_kind("sd15"), tmp_path / "dreamy.safetensors")
    write_base(file_model(path, "config"), "mine", path, Path("base"))
    assert kind_of(Path("base")).networks == ("unet", "vae", "text_encoder")
    assert "the file holds no safety checker" in capsys.readouterr().out
    assert np.array_equal(image(Path("base")), image(tiny_kind("sd15")))


@pytest.mark.parametrize(("kind", "said"), [("sdxl", "is not the weights of a StableDiffusionXLPipeline as config")])
def test_a_single_file_of_another_family_is_refused(tiny_kind, tmp_path, monkeypatch, kind, said):
    """Protects against networks that are filled with random numbers."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_kind(kind), "config", ignore=shutil.ignore_patterns("*.safetensors"))
    path = single_file(tiny_kind("sd15"), tmp_path / "dreamy.safetensors")
    with pytest.raises(UserError, match=said):
        write_base(file_model(path, "config"), "mine", path, Path("base"))
    assert not Path("base").exists()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "which diffusers takes for flux-schnell"),
        (
            ["unet.down_blocks.0.attn.to_q.lora_A.weight"],
            "it looks like a LoRA, which `adapters` of another model names",
        ),
        (["first_stage_model.decoder.conv_in.weight"], "and a file with all its networks in `path`"),
    ],
)
def test_a_file_that_is_something_else_says_what(tiny_kind, tmp_path, monkeypatch, tensors, said):
    """Protects a user from looking for what is wrong with configurations."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_kind("sd15"), "config", ignore=shutil.ignore_patterns("*.safetensors"))
    path = tmp_path / "mine.safetensors"
    save_file({name: torch.zeros(4, 4) for name in tensors}, path)
    with pytest.raises(UserError, match=said):
        write_base(file_model(path, "config"), "mine", path, Path("base"))


def test_a_tensor_that_is_missing_is_found_when_the_model_is_brought(tiny_kind, tmp_path):
    """Protects against a network that is filled with random numbers, and names the user's folder."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_kind("sd15"), folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    del state["conv_in.bias"]
    save_file(state, path, metadata={"format": "pt"})
    model = FolderModel(label="Mine", source="folder", path="model")
    with pytest.raises(UserError, match=f"{folder}/unet: tensor 'conv_in.bias' is missing: bring the model again"):
        write_base(model, "mine", folder, tmp_path / "base")


def test_a_single_file_needs_configurations_and_safetensors(tiny_kind, tmp_path, monkeypatch):
    """Protects the machine from pickle, and a user from a wrong path."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dreamy.ckpt"
    path.write_bytes(b"pickle")
    with pytest.raises(UserError, match="'models.mine.config' has the value 'config', which holds no model_index.json"):
        write_base(file_model(path, "config"), "mine", path, Path("base"))
    shutil.copytree(Path(__file__).parents[2] / "data/architectures/flux1-dev", "networks")
    said = "'models.mine.config' has the value 'networks', which describes no whole pipeline "
    with pytest.raises(UserError, match=said + r"\(networks has no component 'scheduler'"):
        write_base(file_model(path, "networks"), "mine", path, Path("base"))
    Path("networks/model_index.json").write_text('{"_class_name": "Nothing"}')
    with pytest.raises(UserError, match=said + r"\(networks/model_index.json: '_class_name' is ['\"]Nothing"):
        write_base(file_model(path, "networks"), "mine", path, Path("base"))
    shutil.copytree(tiny_kind("sd15"), "config", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(UserError, match="dreamy.ckpt is no safetensors, and a pickle can run any code"):
        write_base(file_model(path, "config"), "mine", path, Path("base"))
