"""Every code that keeps a variant from running here has words, in every language."""

import re

import pytest

from stages.lib.reporting.languages import language_of, spoken
from stages.lib.reporting.words.obstacle_words import WORDS, obstacle_words
from tests.conftest import PROJECT

OBSTACLES = {
    "not_in_set": ({}, "not in the default set of formats: make report SET=all"),
    "not_installed": (
        {"packages": ["openvino", "nncf"]},
        "openvino and nncf: not installed: pip install openvino nncf",
    ),
    "failed": (
        {"message": "stage quantize@fp16: too large"},
        "it was not measured: stage quantize@fp16: too large",
    ),
    "no_cuda": (
        {},
        "PyTorch finds no CUDA device: set `device` to auto or cpu, or install a PyTorch build and a "
        "driver for your GPU",
    ),
    "needs_capability": (
        {"capability": 8.9, "dtype": "float8"},
        "float8 needs a GPU of compute capability 8.9 or more: run it on such a machine",
    ),
    "not_exportable": (
        {"network": "FluxTransformer2DModel", "operation": "aten::rms_norm"},
        "cannot be made of this model: the runtime has no aten::rms_norm, which FluxTransformer2DModel needs: leave "
        "that network out of `components`",
    ),
    "graph_refused": (
        {"runtime": "ONNX Runtime 1.32", "network": "FluxTransformer2DModel", "message": "Node not found"},
        "cannot be made of this model: ONNX Runtime 1.32 refuses the graph of FluxTransformer2DModel (Node not found): "
        "leave that network out of `components`",
    ),
    "calls_differ": (
        {"network": "QwenImageTransformer2DModel"},
        "cannot be made of this model: calls of QwenImageTransformer2DModel differ in more than tensors, and a graph "
        "is fixed: leave that network out of `components`",
    ),
    "layers_called": (
        {"network": "Qwen3VLModel"},
        "cannot be made of this model: a graph is a whole network, and the pipeline calls layers of Qwen3VLModel: "
        "leave that network out of `components`",
    ),
    "never_called": (
        {"network": "text_encoder_2"},
        "cannot be made of this model: it is made from examples of calls, and no prompt made it call text_encoder_2: "
        "add such a prompt to those of `calibration`, or leave that network out of `components`",
    ),
    "tuned_for_another": (
        {"parameter": "unet.conv_in.bias"},
        "cannot be made of this model: its tuning changes unet.conv_in.bias, which this model has not, or not so: use "
        "it with the model that it was learned for",
    ),
    "nothing_recommended": (
        {},
        "which layers to spare is not measured: this model's images mean nothing: name layers in `spare`",
    ),
    "integers_overflow": (
        {"sets": ["avx512_vnni", "avx_vnni"]},
        "a processor without AVX512_VNNI or AVX_VNNI adds products of INT8 in 16 bits, which overflow: set "
        "`activations: none`",
    ),
    "needs_instruction_set": (
        {"key": "compute", "value": "bfloat16", "sets": ["avx512_bf16", "amx_bf16"]},
        "compute bfloat16 needs a processor with AVX512_BF16 or AMX_BF16: use float32 in `compute`",
    ),
}


@pytest.mark.parametrize("reason", OBSTACLES)
def test_a_code_and_its_values_become_reason_and_remedy(reason):
    """Protects somebody whose format was left out from a code, or from nothing to do about it."""
    values, words = OBSTACLES[reason]
    assert obstacle_words({"reason": reason, **values}, str) == words
    russian = language_of("ru")
    with spoken(russian):
        said = obstacle_words({"reason": reason, **values}, russian.translations.gettext)
    assert said != words and re.search("[а-я]", said)


def test_every_code_that_is_written_has_words():
    """Protects a report from a code that a new back end gives."""
    files = [*(PROJECT / "stages/lib/formats").rglob("*.py"), PROJECT / "tools/measure_machine.py"]
    sources = [path.read_text(encoding="utf-8") for path in files]
    codes = {code for text in sources for code in re.findall(r'"reason": "(\w+)"', text)}
    assert codes == set(WORDS) == set(OBSTACLES)
