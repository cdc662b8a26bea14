"""Parameters with which all trainings together take seconds on a CPU, and the calls of their command lines."""

import sys
from pathlib import Path
from types import ModuleType

from ruamel.yaml import YAML

PARAMS = Path("training/params.yaml")


def tiny_params() -> dict:
    values = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    values["render"].update(train_count=32, heldout_count=16)
    values["tokenizer"]["vocab_size"] = 640
    for section in values.values():
        for name in ("fit", "decoder_fit"):
            if isinstance(section, dict) and name in section:
                section[name].update(steps=3, batch_size=2, compile=False, bfloat16=False)
    values["clip"].update(hidden_size=16, intermediate_size=16, vision_layers=1, text_layers=1, heads=2)
    values["clip"].update(image_size=32, projection_dim=16)
    values["autoencoder"].update(picture_size=64, block_out_channels=[8, 8, 8, 8], norm_num_groups=4)
    values["diffusion"].update(block_out_channels=[8, 8, 16], norm_num_groups=4, attention_heads=2)
    values["diffusion"].update(text_hidden_size=16, text_intermediate_size=16, text_layers=2, text_heads=2)
    values["transformer"].update(layers=2, heads=1)
    for section in (values["tune"]["int4"], values["tune"]["w8a8"]):
        section.update(rank=2)
        section["fit"].update(steps=60, batch_size=8, learning_rate=3e-3, compile=False, bfloat16=False)
    # Few bits: what eight take from so small a network is hardly to be won back in so few steps.
    values["tune"]["w8a8"].update(weight_bits=4, activation_bits=4)
    values["tune"]["prompts"] = 16
    values["evaluate"].update(reconstruction_count=2, caption_count=6, inference_steps=2, batch_size=8)
    return values


def run(module: ModuleType, *arguments: object) -> None:
    """Call a training module's main() with a command line."""
    before = sys.argv
    sys.argv = [module.__name__, *map(str, arguments)]
    try:
        module.main()
    finally:
        sys.argv = before
