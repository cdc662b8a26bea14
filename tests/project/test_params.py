"""params.yaml: the shipped one is right, and each mistake gives a message with file, key, value and remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.project.sections import HubModel
from tests.conftest import PROJECT

SHIPPED = PROJECT / "params.yaml"
VALID = """\
model: embedded
device: auto
baseline: fp32
models:
  embedded: {label: Embedded, source: folder, path: data/embedded}
  sd15: {label: SD, source: hub, repository: owner/name, revision: 451f4fe16113bff5a5d2269ed5ad43b0592e9a14}
architectures:
  xl: {label: XL, path: data/architectures/xl}
variants:
  fp32: {label: FP32, backend: torch, weights: float32}
  int8-cpu: {label: INT8 CPU, backend: torch_dynamic, weights: int8, activations: int8, granularity: tensor,
             device: cpu, compute: float32}
  int8-simulated: {label: INT8 Simulated, backend: torch, weights: int8, simulated: true}
prompts: {file: data/prompts.csv, sets: [study]}
generation: {steps: 20, guidance_scale: 7.5}
calibration: {file: data/calibration.csv, images: 8, denoiser_calls: 7, seed: 0}
benchmark: {prompt: landscape, restarts: 3, warmup: 1, pairs: 2, precision: 0.03, limit_s: 17, longest_image_s: 60}
quality: {trajectory_prompts: 3, floor_prompts: 8, floor_seeds: 16, resamples: 2000, seed: 0,
  margins: {psnr_db: 1, ssim: 0.01, clip_score: 1}, fid_images: 10000, perceptual_prompts: 2}
sensitivity: {images: 4, window: 3, formats: {half: {label: Half, weights: float16}, w4: {label: W4, weights: int4}}}
scenarios: {laptop: {label: A laptop, device: cpu, memory_limit_mib: 4096, ssim_threshold: 0.95, minimise: time_s}}
main_scenario: laptop
cost: {currency: USD, price_per_hour: 1, utilisation: 0.5}
report: {title: Title, author: "", languages: [en]}
"""


def message(tmp_path: Path, old: str, new: str) -> str:
    """The error that VALID gives once `old` is `new`; it always begins with the file."""
    assert VALID.count(old) >= 1
    path = tmp_path / "params.yaml"
    path.write_text(VALID.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).replace(str(path), "params.yaml")


def test_the_shipped_file_is_valid_and_chooses_the_embedded_model():
    """Protects the first command that a new user runs."""
    params = load_params(SHIPPED)
    assert params.model == "embedded" and params.chosen_model.path == "data/embedded"
    assert list(params.variants) == [
        "fp32", "fp16", "bf16", "int8-cpu", "int8-simulated", "w8a8-simulated", "w8a8-tuned-simulated",
        "int4-simulated", "int4-spare-simulated", "int4-tuned-simulated", "mixed-simulated", "fp32-openvino",
        "bf16-openvino", "int8-openvino-weights", "int8-openvino", "int8-openvino-tuned", "int8-openvino-steps",
        "int8-openvino-spare", "fp32-onnxruntime", "int8-onnxruntime", "int8-torchao", "int8-bitsandbytes",
        "nf4-bitsandbytes", "q8-gguf", "q4k-gguf", "fp8-layerwise",
    ]  # fmt: skip


def test_one_line_chooses_another_model(tmp_path):
    """Protects `model: sd15` as the whole change."""
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text(encoding="utf-8").replace("model: embedded", "model: sd15"), encoding="utf-8")
    chosen = load_params(path).chosen_model
    assert isinstance(chosen, HubModel)
    assert chosen.repository == "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_defaults_of_a_variant_are_those_that_the_file_explains(tmp_path):
    """Protects variants that state only what is special about them."""
    path = tmp_path / "params.yaml"
    path.write_text(VALID, encoding="utf-8")
    variant = load_params(path).variant("fp32")
    assert (variant.components, variant.device, variant.compute) == (None, "auto", "auto")
    assert variant.stored_dtype == "float32"
    assert load_params(path).variant("int8-simulated").stored_dtype == "float16"


def test_an_entry_of_a_schedule_may_stand_for_several(tmp_path):
    """Protects which calls are computed in what: the short form means the long one."""
    variants = []
    for schedule in ("[2 x float32, none, 1 x int8]", "[float32, float32, none, int8]"):
        keys = "backend: openvino, weights: int8, activations: int8, device: cpu, compute: float32"
        path = tmp_path / "params.yaml"
        path.write_text(VALID.replace("backend: torch, weights: float32", f"{keys}, schedule: {schedule}"), "utf-8")
        variants.append(load_params(path).variant("fp32"))
    assert variants[0] == variants[1] and len(variants[0].schedule) == 4


def test_the_bits_of_a_weight_count_the_scales_of_groups(tmp_path):
    """Protects a theoretical compression of INT4 from being eightfold although each group also stores a scale."""
    path = tmp_path / "params.yaml"
    groups = VALID.replace("weights: int8, simulated", "weights: int4, granularity: group, simulated")
    path.write_text(groups, encoding="utf-8")
    bits = {name: variant.bits_per_weight for name, variant in load_params(path).variants.items()}
    assert (bits["fp32"], bits["int8-cpu"], bits["int8-simulated"]) == (32, 8, 4 + 16 / 64)
    path.write_text(VALID.replace("weights: int8, simulated", "weights: int6, simulated"), encoding="utf-8")
    variant = load_params(path).variant("int8-simulated")
    assert (variant.bits_per_weight, variant.scale_group_size, variant.stored_dtype) == (6, None, "float16")


def test_a_format_of_sensitivity_is_a_variant_of_every_component(tmp_path):
    """Protects a format from being simulated where it is a cast, or cast where it is simulated."""
    path = tmp_path / "params.yaml"
    path.write_text(VALID, encoding="utf-8")
    formats = load_params(path).sensitivity.formats
    half, four = (formats[name].variant(name) for name in ("half", "w4"))
    assert (half.simulated, half.stored_dtype, four.simulated, four.weights) == (False, "float16", True, "int4")
    assert half.components is four.components is None


def test_mixed_layers_have_the_bits_that_they_are_allowed(tmp_path):
    """Protects the theoretical size of a variant whose layers have different bits."""
    path = tmp_path / "params.yaml"
    mixed = "weights: int4, components: [unet], mean_bits: 5.5, simulated"
    path.write_text(VALID.replace("weights: int8, simulated", mixed), encoding="utf-8")
    assert load_params(path).variant("int8-simulated").bits_per_weight == 5.5


def test_reading_it_imports_no_library_that_computes():
    """Protects stages that start in a moment: each back end's options are read, and nothing of what runs them."""
    code = "import sys, stages.lib.project.params as p; p.load_params(); print({'torch', 'openvino'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout == "set()\n"


def test_an_unknown_variant_lists_the_declared_ones(tmp_path):
    """Protects a stage that is run by hand with a wrong name."""
    path = tmp_path / "params.yaml"
    path.write_text(VALID, encoding="utf-8")
    with pytest.raises(UserError, match="no variant 'int4': declared are fp32, int8-cpu, int8-simulated"):
        load_params(path).variant("int4")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("baseline: fp32", "basline: fp32", "unknown key 'basline': did you mean 'baseline'?"),
        ("baseline: fp32\n", "", "key 'baseline' is missing: add it"),
        ("steps: 20, ", "", "key 'generation.steps' is missing: add it"),
        ("weights: float32}", "wieghts: float32}", "unknown key 'variants.fp32.wieghts': did you mean 'weights'?"),
        ("baseline: fp32", "baseline: fp64", "baseline 'fp64' is not one of `variants`: fp32, int8-cpu"),
        ("baseline: fp32", "baseline: int8-simulated", "is simulated and has no speed to compare with"),
        (
            "languages: [en]",
            "languages: [en], compare: [sdxl]",
            "report.compare names 'sdxl', which is not one of `models`",
        ),
        ("model: embedded", "model: sdxl", "model 'sdxl' is not one of `models`: embedded, sd15"),
        (
            "backend: torch,",
            "backend: tensorrt,",
            "'variants.fp32.backend' has the value 'tensorrt': use bitsandbytes, gguf, layerwise, onnxruntime",
        ),
        ("weights: float32", "weights: float8", "weights 'float8' is not something back end 'torch' can do: use one"),
        ("device: cpu", "device: cuda", "device 'cuda' is not something back end 'torch_dynamic' can do"),
        (", simulated: true", "", "set `simulated: true` with int8, int6, int4 weights"),
        (
            "compute: float32}",
            "compute: float32, simulated: true}",
            "simulated 'true' is not something back end 'torch_dynamic' can do: use false",
        ),
        (", window: 3", "", "key 'sensitivity.window' is missing: add it"),
        ("images: 4", "images: 0", "'sensitivity.images' has the value 0: write 1 or more"),
        (
            "weights: float16",
            "wights: float16",
            "unknown key 'sensitivity.formats.half.wights': did you mean 'weights'?",
        ),
        ("weights: float16", "weights: int5", "weights 'int5' is not something back end 'torch' can do: use one of"),
        ("int8, simulated", "int8, mean_bits: 5, simulated", "`mean_bits` keeps the layers of the denoiser that"),
        ("  fp32:", "  ../x:", "'variants.../x' has the value '../x': a name becomes a folder name"),
        ("  fp32:", "  a/b:", "'variants.a/b' has the value 'a/b': a name becomes a folder name"),
        ("  fp32:", "  .hidden:", "a name becomes a folder name"),
        ("  int8-cpu:", "  int8.v2:", "'variants.int8.v2' has the value 'int8.v2': write '-' or '_' instead of '.'"),
        ("  sd15:", "  sd1.5:", "'models.sd1.5' has the value 'sd1.5': write '-' or '_' instead of '.'"),
        ("weights: float32}", "weights: float32, name: x}", "unknown key 'variants.fp32.name': the name of a variant"),
        ("  int8-cpu:", "  base:", "variant 'base' would take the folder of the base model"),
        ("  int8-cpu:", "  FP32:", "two of `variants` have the name 'fp32'"),
        ("label: INT8 CPU", "label: FP32", "two of `variants` have the label 'FP32'"),
        ("label: FP32", 'label: " "', "'variants.fp32.label' has the value ' ': give it a text"),
        ("device: auto", "device: tpu", "'device' has the value 'tpu': use 'auto', 'cpu' or 'cuda'"),
        ("simulated: true", "simulated: yes", "has the value 'yes': write true or false"),
        (
            "source: hub",
            "source: hbu",
            "'models.sd15.source' has the value 'hbu': use folder, hub, file or architecture",
        ),
        ("source: hub, ", "", "key 'models.sd15.source' is missing"),
        ("source: folder, ", "source: architecture, ", "key 'models.embedded.seed' is missing: add it"),
        (
            "path: data/architectures/xl",
            "path: /etc",
            "'architectures.xl.path' has the value '/etc': use a path inside",
        ),
        ("longest_image_s: 60", "longest_image_s: 0", "'benchmark.longest_image_s' has the value 0: write more"),
        ("451f4fe16113bff5a5d2269ed5ad43b0592e9a14", "main", "has the value 'main': give the full commit hash"),
        ("owner/name", "name", "'models.sd15.repository' has the value 'name'"),
        ("steps: 20", "steps: many", "'generation.steps' has the value 'many': write a whole number"),
        ("steps: 20", "steps: 0", "'generation.steps' has the value 0: write 1 or more"),
        ("guidance_scale: 7.5", "guidance_scale: .inf", "write a finite number"),
        ("guidance_scale: 7.5", "guidance_scale: .nan", "write"),
        ("pairs: 2", "pairs: 0", "'benchmark.pairs' has the value 0: write 2 or more"),
        ("sets: [study]", "sets: []", "'prompts.sets' has the value []: name at least one"),
        ("sets: [study]", "sets: study", "'prompts.sets' has the value 'study': write a list"),
        ("file: data/prompts.csv", "file: ../prompts.csv", "use a path inside the project"),
        ("languages: [en]", "languages: [de]", "'report.languages.0' has the value 'de': use 'en'"),
        (
            "weights: float32}",
            "weights: float32, schedule: [float32]}",
            "unknown key 'variants.fp32.schedule': it goes with `backend: openvino`; legal here: label, backend,",
        ),
        (
            "weights: float32}",
            "weights: float32, activation_components: [unet]}",
            "unknown key 'variants.fp32.activation_components': it goes with `backend: openvino`; legal here: label",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: openvino, weights: int8, compute: float32, activation_components: [unet]}",
            "`activation_components` chooses where activations are INT8: only with `activations: int8`",
        ),
        (
            "backend: torch, weights: float32}",
            "weights: float32}",
            "'variants.fp32.backend' is missing: add `backend: ",
        ),
        ("source: folder, path", "source: folder, revision: x, path", "it goes with `source: hub`; legal here: label"),
        (
            "backend: torch, weights: float32}",
            "backend: openvino, weights: int8, device: cpu, compute: float32, schedule: [none]}",
            "schedule 'none' says whether activations of the denoiser are INT8, but it has none: use float32, mixed",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: openvino, weights: float32, device: cpu, compute: float32, schedule: [int4]}",
            "'variants.fp32.schedule.0' has the value 'int4': use 'int8', 'none', 'bfloat16', 'mixed' or 'float32'",
        ),
        (
            "weights: float32}",
            "weights: float32, compute: mixed}",
            "compute 'mixed' is not something back end 'torch' can do",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: openvino, weights: float32, activations: int8, device: cpu, compute: float32}",
            "activations 'int8' need integer weights: set `weights: int8`",
        ),
        ("weights: float32}", "weights: float32, compute: tensorfloat32}", "set `weights: float32` and `device: cuda`"),
        (
            "weights: float32}",
            "weights: float32, device: cuda, compute: tensorfloat32, components: [unet]}",
            "compute 'tensorfloat32' holds for a whole process",
        ),
        (
            "device: cpu",
            "device: cpu, compile: true",
            "'variants.int8-cpu.compile': it goes with `backend: torch` or `backend: torchao`; legal here: label,",
        ),
        (
            "weights: float32}",
            "weights: float32, device: cpu, compile: reduce-overhead}",
            "compile 'reduce-overhead' records what a GPU is asked to do",
        ),
        ("weights: float32}", "weights: float32, compile: faster}", "use one of false, true, blocks, reduce-overhead"),
        ("weights: float32}", "weights: float32, convolutions: int8}", "it goes with `backend: torchao`; legal here"),
        (
            "backend: torch, weights: float32}",
            "backend: gguf, weights: int8}",
            "weights 'int8' is not something back end 'gguf' can do: use one of q8_0, q5_k, q4_k, q4_0",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: layerwise, weights: float8, activations: float8}",
            "activations 'float8' is not something back end 'layerwise' can do: use none",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: bitsandbytes, weights: int4}",
            "weights 'int4' is not something back end 'bitsandbytes' can do: use one of nf4, fp4, int8",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: bitsandbytes, weights: nf4, activations: int8}",
            "activations 'int8' need integer weights: set `weights: int8`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: bitsandbytes, weights: int8, activations: none}",
            "activations 'none': LLM.int8 rounds activations as well: leave the key out",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: bitsandbytes, weights: nf4, granularity: channel}",
            "granularity 'channel': weights 'nf4' have one scale per group in bitsandbytes",
        ),
        (
            "weights: float32}",
            "weights: float32, tuning: {way: a, path: b, sha256: " + "0" * 64 + "}}",
            "unknown key 'variants.fp32.tuning.way': legal here: path, sha256",
        ),
        ("weights: float32}", "weights: float32, device: " + "x" * 300 + "}", f"device '{'x' * 200}...' is not"),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int4, group_size: 1" + "0" * 30 + "}",
            "000: write a smaller number",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: sdnq, weights: int4}",
            "weights 'int4' is not something back end 'sdnq' can do: use one of int8, uint4",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: sdnq, weights: uint4, activations: int8}",
            "activations 'int8': weights 'uint4' would be rounded to INT8 at each call: set `weights: int8`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: sdnq, weights: int8, granularity: group}",
            "granularity 'group': weights 'int8' have one scale per channel here: leave the key out",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: sdnq, weights: int8, least_weights: -1}",
            "'variants.fp32.least_weights' has the value -1: write 0 or more",
        ),
        ("weights: float32}", "weights: float32, memory_format: nhwc}", "use one of contiguous, channels_last"),
        ("pairs: 2", "pairs: 2, batch_sizes: [1]", "'benchmark.batch_sizes.0' has the value 1: write 2 or more"),
        (
            "backend: torch, weights: float32}",
            "backend: onnxruntime, weights: int8, device: cpu, compute: float32}",
            "rounds weights and activations together: set both to int8, or neither",
        ),
        (
            "weights: int8, activations: int8, granularity: tensor",
            "weights: int4, activations: int8, granularity: tensor",
            "weights 'int4' is not something back end 'torch_dynamic' can do: use int8",
        ),
        (
            "activations: int8, granularity: tensor",
            "activations: int6, granularity: tensor",
            "activations 'int6' is not something back end 'torch_dynamic' can do: use int8",
        ),
        ("weights: int8, simulated: true", "weights: int4", "set `simulated: true` with int8, int6, int4 weights"),
        (
            "weights: float32}",
            "weights: float32, activations: int8}",
            "activations 'int8' need integer weights: set `weights: int8`",
        ),
        (
            "weights: float32}",
            "weights: float32, granularity: group}",
            "granularity 'group' shares scales, and weights 'float32' have none",
        ),
        (
            "weights: int8, simulated: true",
            "weights: int8, simulated: true, group_size: 32",
            "granularity is 'channel': set `granularity: group` or remove `group_size`",
        ),
        (
            "weights: int8, simulated: true",
            "weights: int8, simulated: true, granularity: group, group_size: 1",
            "'variants.int8-simulated.group_size' has the value 1: write 2 or more",
        ),
        (
            "activations: int8, granularity: tensor",
            "activations: int8, granularity: group",
            "granularity 'group' is not something back end 'torch_dynamic' can do: use one of tensor, channel",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: float8, device: cpu}",
            "weights 'float8' need a GPU of compute capability 8.9 or more: set `device: cuda`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int4, device: cpu}",
            "weights 'int4' need a GPU of compute capability 8.0 or more: set `device: cuda`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int4, activations: float8}",
            "activations 'float8' need weights of that format: set `weights: float8`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int4, compute: float16}",
            "weights 'int4' are multiplied with bfloat16: use activations none, compute auto or bfloat16",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: float8, granularity: group}",
            "granularity 'group': 'group' goes with weights 'int4', and they with it alone",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int8, granularity: tensor}",
            "granularity 'tensor' goes with activations 'float8': set those, or use 'channel'",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: int8, activations: float8}",
            "activations 'float8' need weights of that format: set `weights: float8`",
        ),
        (
            "backend: torch, weights: float32}",
            "backend: torchao, weights: float8, activations: float8, compute: float32}",
            "compute 'float32': products of float8 come out as bfloat16: use auto or bfloat16",
        ),
        ("main_scenario: laptop", "main_scenario: pc", "main_scenario 'pc' is not one of `scenarios`: laptop"),
        (
            "ssim_threshold: 0.95",
            "ssim_threshold: 95",
            "'scenarios.laptop.ssim_threshold' has the value 95: write 1.0 or",
        ),
        (
            "minimise: time_s",
            "minimise: cost",
            "'scenarios.laptop.minimise' has the value 'cost': use 'time_s', 'disk_",
        ),
        ("device: cpu, memory", "device: phone, memory", "'scenarios.laptop.device' has the value 'phone': use 'any'"),
        ("memory_limit_mib: 4096", "memory_limit_mib: 0", "'scenarios.laptop.memory_limit_mib' has the value 0: write"),
        ("memory_limit_mib: 4096", "memory_limit: 4096", "unknown key 'scenarios.laptop.memory_limit': did"),
        ("utilisation: 0.5", "utilisation: 0", "'cost.utilisation' has the value 0: write 1e-06 or more"),
        ("utilisation: 0.5", "utilisation: 50", "'cost.utilisation' has the value 50: write 1.0 or less"),
        ("price_per_hour: 1", "price_per_hour: cheap", "'cost.price_per_hour' has the value 'cheap': write a number"),
        ("currency: USD", 'currency: ""', "'cost.currency' has the value '': give it a text"),
        ("denoiser_calls: 7", "denoiser_calls: 0", "'calibration.denoiser_calls' has the value 0: write 1 or more"),
        ("weights: float32}", "weights: float32, components: []}", "'variants.fp32.components' has the value"),
        ("resamples: 2000", "resamples: 1000000000", "write 100000 or less (all are in memory at once, and intervals"),
        (
            "path: data/embedded",
            "path: data/embedded, arguments: {num_inference_steps: 1000000000}",
            "write 16384 or less",
        ),
        ("steps: 20", "steps: 1001", "'generation.steps' has the value 1001: write 1000 or less (models are trained"),
        (
            "pairs: 2",
            "pairs: 2, batch_sizes: [9999]",
            "'benchmark.batch_sizes.0' has the value 9999: write 1024 or",
        ),
        ("pairs: 2", "pairs: 2, batch_sizes: [2, 2]", "'2' stands there twice: write it once"),
        ("memory_limit_mib: 4096", "memory_limit_mib: 1e30", "write 1073741824.0 or less (leave it out where there is"),
        ("seed: 0", f"seed: {2**63}", "write less than 9223372036854775808 (PyTorch's generators take no other seed)"),
        (
            "simulated: true",
            "simulated: true, granularity: group, group_size: 9999999",
            "write 1048576 or less (no out",
        ),
        ("title: Title", f"title: {'x' * 301}", "write at most 300 characters (the title page has no room for more)"),
        ("label: FP32", f"label: {'x' * 101}", "write at most 100 characters (it is a cell of tables)"),
        ("  fp32:", "  Com1:", "'variants.Com1' has the value 'Com1': a name becomes a folder name, and Windows keeps"),
        ("  fp32:", f"  {'x' * 101}:", "a name becomes a folder name: use at most 100 characters"),
        ("path: data/embedded", f"path: {'é' * 128}", "no file system has names of more than 255 bytes"),
        (
            "weights: float32}",
            "weights: float32, components: [unet, unet]}",
            "'unet' stands there twice: write it once",
        ),
        ("owner/name", "../..", "'models.sd15.repository' has the value '../..': write the owner and the name"),
        (
            "guidance_scale: 7.5",
            "guidance_scale: true",
            "'generation.guidance_scale' has the value True: write a number",
        ),
        ("guidance_scale: 7.5", "guidance_scale: '7'", "'generation.guidance_scale' has the value '7': write a number"),
        ("utilisation: 0.5", "utilisation: 1e-300", "'cost.utilisation' has the value 1e-300: write 1e-06 or more"),
        ("path: data/embedded", "path: data, arguments: {a: {b: [[70000]]}}", "write 16384 or less: no side of an"),
        ("path: data/embedded", "path: data, arguments: {height: tall}", "height is 'tall': write a whole number"),
        ("path: data/embedded", "path: data, arguments: {width: 0}", "width is 0: write a whole number of pixels"),
        ("path: data/embedded", "path: data, arguments: {a: 2001-01-01}", "write a number, a text, true, false, null"),
        ("sets: [study]", f"sets: [{'1, ' * 100}]", " mistakes, of which these are the first"),
        ("model: embedded\n", "model: embedded\nmodel: sd15\n", "line 2 is not valid YAML: found duplicate key"),
        ("model: embedded", "model: [embedded", "is not valid YAML"),
        (VALID, "", "must be a mapping of sections"),
    ],
)
def test_a_mistake_names_key_value_and_remedy(tmp_path, old, new, said):
    """Protects a user from tracebacks and from settings that are silently not used."""
    assert said in message(tmp_path, old, new)


def test_every_mistake_is_told_at_once(tmp_path):
    """Protects a user from mending one mistake a run."""
    said = message(tmp_path, "steps: 20, guidance_scale: 7.5", "steps: 0, guidance_scale: low")
    assert "'generation.steps'" in said and "'generation.guidance_scale'" in said


def test_what_only_follows_from_a_deeper_mistake_is_not_told(tmp_path):
    """Protects a message from noise: a list is short only because its item is wrong."""
    assert "\n" not in message(tmp_path, "languages: [en]", "languages: [de]")


def test_a_file_that_is_not_utf8_is_one_message(tmp_path):
    """Protects a user whose editor saves in another encoding."""
    (tmp_path / "params.yaml").write_bytes(VALID.replace("Title", "Tütel").encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path):
    """Protects a user in the wrong folder."""
    with pytest.raises(UserError, match="run from the top of the project"):
        load_params(tmp_path / "params.yaml")
