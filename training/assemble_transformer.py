"""Put the second model together as a StableDiffusion3Pipeline folder in FP16 safetensors, as such models are published.

The files in clip/, safety_checker/ and feature_extractor/ are links to the first model's, so that images of both models
are judged alike. They are no components of the pipeline.
"""

import argparse
import os
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline

from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder
from training import first_model, transformer_network
from training.assemble import KEPT, check_size
from training.checkpoint import load_weights
from training.settings import Settings, load_settings
from training.train_transformer_guidance import STEM as GUIDANCE

STORED = torch.float16
SHARED = ("clip", "safety_checker", "feature_extractor")


def autoencoder(first: Path, scaling_factor: float, shift_factor: float) -> AutoencoderKL:
    """The first model's autoencoder with the scale and shift that the transformer's latents have."""
    vae = first_model.vae(first)
    vae.register_to_config(scaling_factor=scaling_factor, shift_factor=shift_factor)
    return vae


def assemble(work: Path, first: Path, output: Path, settings: Settings) -> None:
    """Write the pipeline folder `output` from the weights in `work` and the first model's folder."""
    tensors, metadata = load_weights(work / "weights", GUIDANCE)
    model = transformer_network.Transformer(settings, first)
    model.load_state_dict(tensors)
    tokenizer = first_model.tokenizer(first)
    pipeline = StableDiffusion3Pipeline(
        transformer=model.transformer.eval(),
        scheduler=transformer_network.flow_scheduler(settings.transformer),
        vae=autoencoder(first, float(metadata["scaling_factor"]), float(metadata["shift_factor"])),
        text_encoder=model.text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=model.text_encoder_2,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    with whole_folder(output) as folder:
        pipeline.to(STORED).save_pretrained(folder)
        for name in ("tokenizer", "tokenizer_2"):
            # save_pretrained writes tokenizer.json alone; vocab.json and merges.txt are for other readers.
            shutil.copytree(first / "tokenizer", folder / name, dirs_exist_ok=True)
        for name in SHARED:
            (folder / name).mkdir()
            for path in (first / name).iterdir():
                (folder / name / path.name).symlink_to(os.path.relpath(path, output / name))
        for name in KEPT:
            if (output / name).exists():
                (folder / name).write_bytes((output / name).read_bytes())
        check_size(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("training/work"))
    parser.add_argument("--first-model", type=Path, default=Path("data/embedded"), help="the first model's folder")
    parser.add_argument("--output", type=Path, default=Path("data/embedded-transformer"))
    options = parser.parse_args()
    first_model.check(options.first_model)
    assemble(options.work, options.first_model, options.output, load_settings(options.params))


if __name__ == "__main__":
    run_stage(main)
