"""spare.yaml pasted into plain programs: libraries leave the layers that our variants leave, no more and no fewer."""

import json
import subprocess
import sys

import pytest
import torch
from diffusers import TorchAoConfig
from ruamel.yaml import YAML
from torch import nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.linears import free_linears
from stages.lib.formats.shared.sparing import layers_with_weights, with_recommended
from stages.lib.models.components import empty_component, load_component
from stages.lib.models.inventory import memory_bytes
from stages.lib.models.kinds import kind_of
from stages.lib.project.params import variant_of
from stages.lib.sensitivity.spare_file import paste
from tests.conftest import PROJECT

MODELS = ("embedded", "embedded-transformer")
BITSANDBYTES = """\
import json, sys, bitsandbytes, diffusers
from accelerate import init_empty_weights
from diffusers.quantizers.bitsandbytes.utils import replace_with_bnb_linear

for kind in ("int4", "int8_activations"):
    config = CONFIGS[kind]  # whose own loading needs a GPU
    of = getattr(diffusers, sys.argv[2])
    with init_empty_weights():
        network = of.from_config(of.load_config(sys.argv[1]))
    replace_with_bnb_linear(network, config.llm_int8_skip_modules, quantization_config=config)
    own = bitsandbytes.nn.Linear4bit
    print(json.dumps([name for name, layer in network.named_modules() if isinstance(layer, own)]))
"""


class Committed:
    """A model of this project with its spare.yaml."""

    def __init__(self, name: str) -> None:
        self.base, self.path = PROJECT / "data" / name, PROJECT / "reports" / name / "spare.yaml"
        content = YAML(typ="safe", pure=True).load(self.path)
        self.component, self.kinds = content["component"], content["kinds"]
        self.kind = kind_of(self.base).class_of(self.component)

    def pasted(self, kind: str, library: str, **known: object) -> dict:
        return eval(f"dict({self.kinds[kind]['paste'][library]})", {"torch": torch, **known})


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> Committed:
    if not (PROJECT / "reports" / request.param / "spare.yaml").is_file():
        pytest.skip("no results of this model here")
    return Committed(request.param)


def test_diffusers_and_torchao_hold_as_many_bytes_as_our_variant(model, tmp_path):
    keys = {"backend": "torchao", "weights": "int8", "compute": "float32", "components": ["denoiser"]}
    variant = with_recommended(variant_of(name="v", label="V", spare="auto", **keys), model.path)
    BACKENDS["torchao"].load_module().quantize(model.base, variant, tmp_path)
    ours = memory_bytes(getattr(BACKENDS["torchao"].load_module().load(tmp_path, variant, "cpu"), model.component))
    config = TorchAoConfig(Int8WeightOnlyConfig(), **model.pasted("int8", "diffusers"))
    folder = model.base / model.component
    theirs = model.kind.from_pretrained(folder, quantization_config=config, torch_dtype=torch.float32)
    filtered = load_component(model.base, model.component, "float32")
    quantize_(filtered, Int8WeightOnlyConfig(), **model.pasted("int8", "torchao"))
    assert memory_bytes(theirs) == memory_bytes(filtered) == ours


def test_bitsandbytes_replaces_the_layers_of_our_variant(model, tmp_path):
    kinds = ("int4", "int8_activations")
    pasted = {kind: model.kinds[kind]["paste"]["bitsandbytes"] for kind in kinds}
    configs = [f"'{kind}': diffusers.BitsAndBytesConfig({text}, load_in_4bit=True)" for kind, text in pasted.items()]
    script = BITSANDBYTES.replace("CONFIGS", f"{{{', '.join(configs)}}}")
    words = [sys.executable, "-c", script, str(model.base / model.component), model.kind.__name__]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    network = empty_component(model.base, model.component)
    for kind, line in zip(kinds, said.splitlines()[-2:], strict=True):
        assert json.loads(line) == free_linears(network, model.kinds[kind]["recommended"])


def rounded(network: nn.Module, example: dict, *options: dict) -> list[set[str]]:
    """For each options, the layers whose weights OpenVINO and NNCF make INT8, in a plain program."""
    import nncf
    import openvino

    graph, found = openvino.convert_model(network, example_input=example), []
    for own in options:
        made = nncf.compress_weights(graph.clone(), mode=nncf.CompressWeightsMode.INT8_SYM, **own)
        constants = [node for node in made.get_ops() if node.get_type_name() == "Constant"]
        integers = [
            item for item in constants if item.get_element_type().get_type_name() == "i8" and item.data.ndim > 1
        ]
        found.append({node.get_friendly_name().removeprefix("self.").removesuffix(".weight") for node in integers})
    return found


def test_nncf_ignores_the_layers_that_are_named(model):
    nncf = pytest.importorskip("nncf", reason="the back end's package is optional")
    pytest.importorskip("openvino", reason="the back end's package is optional")
    network, sizes = load_component(model.base, model.component, "float32"), (16, 16)
    if model.component == "unet":
        example = {"sample": torch.zeros(2, 4, *sizes), "timestep": torch.tensor(5)}
        example["encoder_hidden_states"] = torch.zeros(2, 9, network.config.cross_attention_dim)
    else:
        example = {"hidden_states": torch.zeros(2, network.config.in_channels, *sizes)}
        example["encoder_hidden_states"] = torch.zeros(2, 9, network.config.joint_attention_dim)
        example["pooled_projections"] = torch.zeros(2, network.config.pooled_projection_dim)
        example["timestep"] = torch.zeros(2)
    whole, sparing = rounded(network, example, {}, model.pasted("int8", "nncf", nncf=nncf))
    assert whole - sparing == set(model.kinds["int8"]["recommended"])


class Ends(nn.Module):
    """A layer, and another one inside a block whose name ends like the first one's, as in FLUX."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"proj_out": nn.Linear(64, 64)})
        self.proj_out = nn.Linear(64, 64)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.proj_out(self.block["proj_out"](values))


def test_a_name_that_others_end_with_spares_no_other(tiny_kind):
    """Protects FLUX, whose blocks have a `proj_out` each, beside its own."""
    layers = layers_with_weights(empty_component(tiny_kind("flux"), "transformer"))
    assert sum(name.endswith(".proj_out") for name in layers) > 0 and "proj_out" in layers
    kind, folder = kind_of(tiny_kind("flux")).class_of("transformer"), tiny_kind("flux") / "transformer"
    config = TorchAoConfig(Int8WeightOnlyConfig(), **eval(f"dict({paste(['proj_out'], layers)['diffusers']})"))
    network = kind.from_pretrained(folder, quantization_config=config, torch_dtype=torch.float32)
    plain = {name for name in layers if type(network.get_submodule(name).weight.data) is torch.Tensor}
    assert {name for name in plain if name.endswith("proj_out")} == {"proj_out"}
    nncf = pytest.importorskip("nncf", reason="the back end's package is optional")
    options = eval(f"dict({paste(['proj_out'], ['proj_out', 'block.proj_out'])['nncf']})", {"nncf": nncf})
    assert rounded(Ends(), {"values": torch.zeros(2, 64)}, options) == [{"block.proj_out"}]
