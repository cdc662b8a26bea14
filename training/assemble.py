"""Put the trained parts together as a StableDiffusionPipeline folder in FP32 safetensors.

Beside the pipeline's own components the folder gets clip/: the text tower of the CLIP whose vision tower the safety
checker holds. Fails when the folder would be larger than it may be.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from torch.nn.functional import normalize
from transformers import CLIPImageProcessor

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json, whole_folder, write_json
from training import networks
from training.captions import attribute_classes
from training.checkpoint import load_weights, part
from training.data import load_tokenizer
from training.settings import Settings, load_settings
from training.train_autoencoder import STEM as AUTOENCODER
from training.train_clip import STEM as CLIP
from training.train_guidance import STEM as GUIDANCE

# What the folder of each class of pipeline may take.
MAX_FOLDER_MIB = {"StableDiffusionPipeline": 36.0, "StableDiffusion3Pipeline": 18.0}
MAX_FILE_MIB = 16.0
SHARD_SIZE = "14MB"
# A cosine never reaches it: the concept does not exist.
NEVER = 2.0
# Parts of data/embedded that are not weights; assembling anew keeps them.
KEPT = ("README.md", "quality.json", "samples.jpg", "LICENSE")


def safety_checker(clip: networks.Clip, config: networks.CLIPConfig, threshold: float) -> StableDiffusionSafetyChecker:
    """A checker whose first concept is fire and whose others never occur."""
    checker = StableDiffusionSafetyChecker(config)
    checker.vision_model.load_state_dict(clip.vision.vision_model.state_dict())
    checker.visual_projection.load_state_dict(clip.vision.visual_projection.state_dict())
    direction = normalize(clip.fire_direction.detach(), dim=0)
    with torch.no_grad():
        for embeds, weights in (
            (checker.concept_embeds, checker.concept_embeds_weights),
            (checker.special_care_embeds, checker.special_care_embeds_weights),
        ):
            embeds.copy_(direction.expand_as(embeds))
            weights.fill_(NEVER)
        checker.concept_embeds_weights[0] = threshold
    return checker.eval()


def autoencoder(weights: Path, settings: Settings, scaling_factor: float) -> AutoencoderKL:
    """The autoencoder with the latents' scaling factor in its config."""
    vae = networks.vae(settings.autoencoder)
    vae.load_state_dict(load_weights(weights, AUTOENCODER)[0])
    vae.register_to_config(scaling_factor=scaling_factor)
    return vae.eval()


def assemble(work: Path, output: Path, settings: Settings) -> None:
    """Write the pipeline folder `output` from the weights and the tokenizer in `work`."""
    weights, tokenizer = work / "weights", load_tokenizer(work)
    clip_config = networks.clip_config(settings.clip, tokenizer)
    clip = networks.Clip(clip_config)
    clip_tensors, clip_metadata = load_weights(weights, CLIP)
    clip.load_state_dict(clip_tensors)
    tensors, metadata = load_weights(weights, GUIDANCE)
    unet = networks.unet(settings.diffusion, settings.autoencoder)
    unet.load_state_dict(part(tensors, "unet"))
    text_encoder = networks.text_encoder(settings.diffusion, tokenizer)
    text_encoder.load_state_dict(part(tensors, "text_encoder"))
    size = settings.clip.image_size
    pipeline = StableDiffusionPipeline(
        vae=autoencoder(weights, settings, float(metadata["scaling_factor"])),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=networks.scheduler(),
        safety_checker=safety_checker(clip, clip_config, float(clip_metadata["fire_threshold"])),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}),
    )
    with whole_folder(output) as folder:
        pipeline.save_pretrained(folder, max_shard_size=SHARD_SIZE)
        _name_image_processor(folder / "model_index.json")
        # save_pretrained writes tokenizer.json alone; vocab.json and merges.txt are for other readers.
        shutil.copytree(work / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
        clip.text.save_pretrained(folder / "clip")
        write_json(folder / "clip" / "attributes.json", attribute_classes())
        write_json(folder / "clip" / "scale.json", {"logit_scale": clip.logit_scale.exp().item()})
        for name in KEPT:
            if (output / name).exists():
                (folder / name).write_bytes((output / name).read_bytes())
        check_size(folder)


def check_size(folder: Path) -> float:
    """MiB of all files in `folder`; a UserError when the folder or one file is too large."""
    max_folder_mib = MAX_FOLDER_MIB[read_json(folder / "model_index.json")["_class_name"]]
    sizes = {path: path.stat().st_size / 2**20 for path in folder.rglob("*") if path.is_file()}
    largest = max(sizes, key=sizes.__getitem__)
    total = sum(sizes.values())
    if sizes[largest] > MAX_FILE_MIB or total > max_folder_mib:
        raise UserError(
            f"the model takes {total:.2f} MiB (at most {max_folder_mib:g}), its largest file {largest.name} "
            f"{sizes[largest]:.2f} MiB (at most {MAX_FILE_MIB:g}): make a network smaller"
        )
    print(f"{total:.2f} MiB in {len(sizes)} files, the largest {sizes[largest]:.2f} MiB")
    return total


def _name_image_processor(index: Path) -> None:
    # Without torchvision transformers falls back to a Pillow class; the common name loads with and without it.
    content = json.loads(index.read_text(encoding="utf-8"))
    content["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    write_json(index, content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("training/work"))
    parser.add_argument("--output", type=Path, default=Path("data/embedded"))
    options = parser.parse_args()
    settings = load_settings(options.params)
    assemble(options.work, options.output, settings)


if __name__ == "__main__":
    run_stage(main)
