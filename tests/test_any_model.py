"""Every kind of pipeline through the stages that make and use its networks, and every back end of PyTorch on it."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from stages.calibrate import collect
from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.availability import CannotMake
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.graphs.tracing import Traced
from stages.lib.formats.shared.loaded_size import LoadingProcess
from stages.lib.generation.noise import initial_latents
from stages.lib.generation.sampling import generate_image
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.call_arguments import call_arguments, noise_shape
from stages.lib.models.calls import OWN_ENTRIES, bind, run, split
from stages.lib.models.components import use_current_names
from stages.lib.models.kinds import kind_of
from stages.lib.models.watch import networks_of
from stages.lib.project.params import Variant, variant_of
from stages.lib.project.prompts import Prompt
from stages.lib.timing.work_counter import WorkCounter
from stages.quantize import base_parameters, explanations
from tests.reference import skip_without_packages
from tests.tiny_models import ARGUMENTS, KINDS

PROMPT = Prompt("house", "A red house", "place", "low", 5, "study")
FORMATS = {
    "fp32": {"backend": "torch", "weights": "float32"},
    "fp16": {"backend": "torch", "weights": "float16"},
    "bf16": {"backend": "torch", "weights": "bfloat16"},
    "w8a8": {"backend": "torch", "weights": "int8", "activations": "int8", "simulated": True},
    "mixed": {"backend": "torch", "weights": "int4", "mean_bits": 5.5, "components": ["denoiser"], "simulated": True},
    "dynamic": {"backend": "torch_dynamic", "weights": "int8", "activations": "int8", "granularity": "tensor"}
    | {"device": "cpu", "compute": "float32"},
    "torchao": {"backend": "torchao", "weights": "int8", "activations": "int8", "device": "cpu", "compute": "float32"},
    "torchao-weights": {"backend": "torchao", "weights": "int8", "device": "cpu", "compute": "bfloat16"},
    "nf4": {"backend": "bitsandbytes", "weights": "nf4"},
    "llm-int8": {"backend": "bitsandbytes", "weights": "int8"},
    "q8": {"backend": "gguf", "weights": "q8_0", "compute": "float32"},
    "q5k": {"backend": "gguf", "weights": "q5_k"},
    "fp8": {"backend": "layerwise", "weights": "float8"},
    "sdnq": {"backend": "sdnq", "weights": "int8", "activations": "int8", "least_weights": 0},
    "sdnq-uint4": {"backend": "sdnq", "weights": "uint4", "least_weights": 0},
}
# The largest relative error of a network's answer to a call that FP32 answered, over all kinds, and the least that the
# denoiser must have: an error of zero would be a format that does nothing.
ERRORS = {"fp32": (0, 0), "fp16": (1e-5, 2e-3), "bf16": (1e-3, 0.03), "w8a8": (1e-3, 0.08), "mixed": (5e-4, 0.1)} | {
    "dynamic": (1e-5, 0.1), "torchao": (0, 0.06), "torchao-weights": (1e-4, 0.06),
    "nf4": (1e-3, 0.5), "llm-int8": (1e-4, 0.1), "q8": (1e-5, 0.1), "q5k": (1e-4, 0.2), "fp8": (1e-3, 0.3),
    "sdnq": (0, 0.1), "sdnq-uint4": (1e-4, 0.5),  # the layers of some tiny kinds are too narrow for SDNQ
}  # fmt: skip


OTHERS = [name for name in FORMATS if name != "w8a8" and "sdnq" not in name]
# Every kind in W8A8 and in one of the other formats by turns; with EVERY_PAIR=1 in all of them, in minutes more.
PAIRS = [
    (kind, name)
    for turn, kind in enumerate(KINDS)
    for name in (FORMATS if "EVERY_PAIR" in os.environ else ("w8a8", *islice(cycle(OTHERS), turn, turn + 1)))
]


def variant(name: str) -> Variant:
    return variant_of(name=name, label=name, **FORMATS[name])


class Model:
    """A kind, its FP32 pipeline, its calls and its image."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder, self.kind = folder, kind_of(folder)
        for component in self.kind.networks:
            use_current_names(folder, component)
        general = {"num_inference_steps": 3, "guidance_scale": 7.5}
        self.arguments = call_arguments(self.kind.pipeline_class(), general, ARGUMENTS.get(name, {}), name)
        self.pipeline = load_pipeline(folder)
        self.calls = collect(self.pipeline, [PROMPT], self.arguments, 2, 0)
        self.noise = initial_latents(noise_shape(self.pipeline, self.arguments)[1:], PROMPT.seed)
        self.rgb = self.image(self.pipeline)

    def image(self, pipeline: diffusers.DiffusionPipeline) -> np.ndarray:
        words = "v", PROMPT.prompt, self.noise, PROMPT.seed, self.arguments
        return np.asarray(generate_image(pipeline, *words)).astype(int)

    def errors(self, pipeline: diffusers.DiffusionPipeline) -> dict[str, float]:
        """How far each network's answers to its calls are from FP32's, relative to those."""
        found = {}
        with torch.no_grad():
            for name, calls in self.calls.items():
                call = calls[-1]  # ranges are those of the largest numbers, which random weights give last
                if call.entry not in OWN_ENTRIES:
                    continue  # a layer takes what the layer before gives, in any dtype
                pairs = zip(
                    *(answers(networks_of(item)[name], call) for item in (self.pipeline, pipeline)), strict=True
                )
                found[name] = max(float((b - a).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs)
        return found


def answers(network: torch.nn.Module, call) -> list[torch.Tensor]:
    found = split(run(network, call))[0]
    looked_at = call.used or found.keys()
    return [item.double() for name, item in found.items() if name in looked_at and item.is_floating_point()]


@pytest.fixture(scope="module", params=KINDS)
def model(request, tiny_kind) -> Model:
    return Model(request.param, tiny_kind(request.param))


def test_an_image_is_diffusers_own_bit_for_bit(model):
    """Protects the one thing that everything is compared with: same prompt, seed and arguments, nothing of ours."""
    absent = dict.fromkeys((*model.kind.null, *model.kind.missing))
    own = diffusers.DiffusionPipeline.from_pretrained(model.folder, **absent)
    if "safety_checker" in own.config:
        own.safety_checker = None
    # It draws the same noise itself, but for models that draw it in another shape and pack it.
    packed = {"latents": model.noise} if model.noise.ndim != 4 else {}
    generator = torch.Generator().manual_seed(PROMPT.seed)
    expected = own(prompt=PROMPT.prompt, generator=generator, **packed, **model.arguments)[0][0]
    assert np.array_equal(np.asarray(expected).astype(int), model.rgb)


@pytest.mark.parametrize(("model", "name"), PAIRS, indirect=["model"])
def test_every_format_of_pytorch_is_made_accounted_for_and_generates(model, name, tmp_path):
    """Protects formats on models of any kind: every byte explained, every network near FP32 and not it, an image."""
    skip_without_packages(variant(name))
    chosen, backend = on_model(variant(name), model.folder), BACKENDS[FORMATS[name]["backend"]]
    module = backend.load_module()
    calibration = {"calibration": model.calls} if chosen.needs_calls else {}
    module.quantize(model.folder, variant(name), tmp_path, **calibration)
    tensors = module.inventory(tmp_path, chosen)
    explanations(tmp_path, chosen, tensors, backend.operators, backend.spares_ends)
    parameters = base_parameters(model.folder)
    assert sum(tensor.parameters for tensor in tensors) == sum(parameters.values())
    pipeline = module.load(tmp_path, variant(name), "cpu")
    rgb, errors = model.image(pipeline), model.errors(pipeline)
    least, most = ERRORS[name]
    assert max(errors.values()) <= most, errors
    assert max(errors[denoiser] for denoiser in model.kind.of_role("denoiser")) >= least, errors
    assert np.array_equal(rgb, model.rgb) == (most == 0) or name in ("torchao", "sdnq")


def test_work_is_the_same_in_every_format_of_pytorch(model, tmp_path):
    """Protects the count of multiplications: a format changes the dtype of work, not how much there is."""
    module = BACKENDS["torch_dynamic"].load_module()
    module.quantize(model.folder, variant("dynamic"), tmp_path)
    counted = {}
    pipelines = {"fp32": model.pipeline, "dynamic": module.load(tmp_path, variant("dynamic"), "cpu")}
    for name, pipeline in pipelines.items():
        counter = WorkCounter()
        with counter.watching(pipeline):
            model.image(pipeline)
        rows = counter.rows()
        assert {row.component for row in rows} == set(model.kind.networks) - {"safety_checker"}
        counted[name] = {
            (component, operator): sum(
                row.multiply_accumulates for row in rows if (row.component, row.operator) == (component, operator)
            )
            for component, operator in {(row.component, row.operator) for row in rows}
        }
    assert counted["fp32"] == counted["dynamic"]


GRAPHS = {
    name: {"backend": name.partition(" ")[0], "device": "cpu", "compute": "float32", **weights}
    for name, weights in {
        "openvino": {"weights": "float32"},
        "openvino INT8": {"weights": "int8", "activations": "int8"},
        "onnxruntime": {"weights": "float32"},
        "onnxruntime INT8": {"weights": "int8", "activations": "int8"},
    }.items()
}


EXPORTED = ("sdxl", "flux", "pixart-sigma", "cogview4", "chroma", "flux2-klein", "ernie-image", "sana-sprint")
# ONNX Runtime 1.32 makes U8 of S8 weights, and fails where it replaces the same tensor twice.
REFUSED = [("cogview4", "onnxruntime INT8")]
# What a graph does not do: last layers that nothing of an answer comes from, as a share of a network's layers, and as
# products, such as those of the layer of a text encoder that makes words.
SHARES = {"ernie-image": {"text_encoder": 2 / 3}, "cogview4": {"text_encoder": 1 / 2}}
ABSENT = {
    "cogview4": {("transformer", "Linear"): 2**15},
    "flux2-klein": {("text_encoder", "Linear"): 64 * 16 * 300},
}
# By turns one runtime in FP32 and the other one in INT8; with EVERY_PAIR=1 all four.
GRAPH_PAIRS = [
    (kind, name)
    for turn, kind in enumerate(EXPORTED)
    for number, name in enumerate(GRAPHS)
    if ("EVERY_PAIR" in os.environ and (kind, name) not in REFUSED) or number in ((0, 3), (1, 2))[turn % 2]
]


@pytest.fixture(scope="module")
def exported(request, tiny_kind) -> Model:
    model = Model(request.param, tiny_kind(request.param))
    model.shares, model.absent = (item.get(request.param, {}) for item in (SHARES, ABSENT))
    return model


@pytest.mark.parametrize(("exported", "name"), GRAPH_PAIRS, indirect=["exported"])
def test_a_graph_of_any_network_is_that_network(exported, name, tmp_path):
    """Protects graphs of models that nobody has written a line for: near FP32, accounted for, and as much work."""
    chosen = variant_of(name="v", label="V", **GRAPHS[name])
    backend = BACKENDS[chosen.backend]
    for package in type(chosen).packages:
        pytest.importorskip(package, reason="the back end's package is optional")
    module = backend.load_module()
    module.quantize(exported.folder, chosen, tmp_path, calibration=exported.calls)
    tensors = module.inventory(tmp_path, on_model(chosen, exported.folder))
    explanations(tmp_path, on_model(chosen, exported.folder), tensors, backend.operators, backend.spares_ends)
    pipeline = module.load(tmp_path, chosen, "cpu")
    assert np.abs(exported.image(pipeline) - exported.rgb).max() <= (255 if "INT8" in name else 2)
    counter = WorkCounter()
    with counter.watching(exported.pipeline):
        exported.image(exported.pipeline)
    counts: dict[str, Counter] = {"torch": Counter(), "graph": Counter()}
    for row in counter.rows():
        share = exported.shares.get(row.component, 1)
        counts["torch"][row.component, row.operator] += row.multiply_accumulates * share
    counts["torch"].subtract(exported.absent)
    for row in module.executed_work(pipeline, exported.kind.networks):
        counts["graph"][row["component"], row["operator"]] += row["multiply_accumulates"]
    assert counts["torch"] == pytest.approx(counts["graph"], rel=0.01)
    errors = exported.errors(pipeline)
    assert max(errors.values()) < (0.1 if "INT8" in name else 1e-5), errors


def test_what_a_runtime_cannot_do_is_a_reason_and_nothing_is_written(tiny_kind, tmp_path):
    """Protects somebody whose model has an operation that a runtime lacks from a traceback, and from half a model."""
    pytest.importorskip("onnxruntime", reason="the back end's package is optional")
    model = Model("z-image", tiny_kind("z-image"))
    chosen = variant_of(name="v", label="V", **GRAPHS["onnxruntime"])
    with pytest.raises(CannotMake, match="leave that network out of `components`") as told:
        BACKENDS["onnxruntime"].load_module().quantize(model.folder, chosen, tmp_path, calibration=model.calls)
    assert told.value.obstacle["reason"] == "not_exportable"
    assert told.value.obstacle["network"] == "ZImageTransformer2DModel"


def test_a_network_that_draws_numbers_is_no_graph():
    """Protects figures from a graph in which the numbers that a network drew while it was traced are constants."""

    class Drawing(torch.nn.Module):
        config = SimpleNamespace()

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return sample + torch.randn_like(sample)

    network = Drawing()
    with pytest.raises(CannotMake, match="calls_differ, network Drawing"):
        Traced(network, [bind(network, "forward", (torch.ones(2),), {})])


def test_a_runtime_that_crashes_while_it_loads_a_graph_is_a_reason(tiny_kind):
    """Protects a whole run from a model on which a runtime's compiler dies, as OpenVINO's does on Kandinsky 3's."""
    dying = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with LoadingProcess("int8-openvino") as process, pytest.raises(CannotMake) as told:
        process._process.kill()
        process._process.communicate()
        process._process = subprocess.Popen([sys.executable, "-c", dying], stdin=subprocess.PIPE, text=True)
        process.loaded_size(tiny_kind("sd15-unchecked"), "cpu")
    assert told.value.obstacle["reason"] == "graph_refused"
    assert told.value.obstacle["message"] == "its process ended with SIGSEGV"


def test_a_graph_that_its_runtime_does_not_load_is_a_reason(tiny_kind, tmp_path):
    """Protects a whole run from a model whose graph can be made and not be loaded: the process that loads it tells."""
    pytest.importorskip("onnxruntime", reason="the back end's package is optional")
    kind, name = REFUSED[0]
    model, out = Model(kind, tiny_kind(kind)), tmp_path / "out"
    out.mkdir()
    entry = {"label": "V", **GRAPHS[name]}
    BACKENDS[entry["backend"]].load_module().quantize(
        model.folder, variant_of(name="v", **entry), out, calibration=model.calls
    )
    project = Path(shutil.copy("params.yaml", tmp_path / "params.yaml"))
    document = YAML(typ="safe", pure=True).load(project)
    YAML().dump(document | {"variants": document["variants"] | {"v": entry}}, project)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(os, "environ", environment)
        with LoadingProcess("v") as process, pytest.raises(CannotMake) as told:
            process.loaded_size(out, "cpu")
    obstacle = told.value.obstacle
    assert obstacle["reason"] == "graph_refused" and obstacle["network"] == "CogView4Transformer2DModel"
    assert obstacle["runtime"].startswith("ONNX Runtime 1.") and "\n" not in obstacle["message"]


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_network_whose_layers_are_called_one_by_one_is_no_graph(name, tiny_kind, tmp_path):
    """Protects against a graph that nothing would ever call, and against being told that the network is never used."""
    pytest.importorskip(name, reason="the back end's package is optional")
    model = Model("ideogram", tiny_kind("ideogram"))
    chosen = variant_of(name="v", label="V", **GRAPHS[name] | {"components": ["text_encoders"]})
    with pytest.raises(CannotMake, match="layers_called, network Qwen3VLModel"):
        BACKENDS[name].load_module().quantize(model.folder, chosen, tmp_path, calibration=model.calls)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_pipeline_that_changes_its_denoiser_is_no_graph(name, tiny_kind, tmp_path):
    """Protects against a graph that leaves out the attention that a pipeline puts in while it generates, unsaid."""
    pytest.importorskip(name, reason="the back end's package is optional")
    folder = shutil.copytree(tiny_kind("sd15-unchecked"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index["_class_name"] = "StableDiffusionPAGPipeline"
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    model = Model("sd15-unchecked", folder)
    chosen, out = variant_of(name="v", label="V", **GRAPHS[name]), tmp_path / "out"
    out.mkdir()
    with pytest.raises(CannotMake, match="calls_differ, network UNet2DConditionModel") as told:
        BACKENDS[name].load_module().quantize(folder, chosen, out, calibration=model.calls)
    assert told.value.obstacle["reason"] == "calls_differ" and not any(out.iterdir())
