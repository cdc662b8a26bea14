"""Is an assembled model good enough to be measured with? Writes quality.json, samples.jpg and README.md into it.

Drawings and captions are held out: no training saw them. Pictures are judged by the model's own CLIP, which is itself
judged on drawings whose content is known.
"""

import argparse
import math
import platform
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_json, write_text
from stages.lib.quality.clip_preprocessing import preprocess
from training import sheet
from training.assemble import check_size
from training.captions import caption, full_caption, parse
from training.clip import EmbeddedClip, load_clip
from training.data import ATTRIBUTES, Drawings, captions_of, load_drawings, load_scenes
from training.loop import chosen_device
from training.model_card import model_card
from training.scenes import Scene
from training.settings import Settings, Thresholds, load_settings
from training.train_autoencoder import heldout_psnr_db

Z_95 = 1.959964
FIRST_NOISE_SEED = 1000


@dataclass(frozen=True)
class Measure:
    """One measured value with its 95 % interval over n items; `bound` is what it is checked against, if anything."""

    value: float
    low: float
    high: float
    n: int
    unit: str
    bound: float | None = None
    at_most: bool = False

    def as_json(self) -> dict:
        """The fields plus `passed`: null where nothing is asked."""
        passed = None
        if self.bound is not None:
            passed = self.value <= self.bound if self.at_most else self.value >= self.bound
        return {
            "value": self.value,
            "interval_95": [self.low, self.high],
            "n": self.n,
            "unit": self.unit,
            "bound": self.bound,
            "direction": "at most" if self.at_most else "at least",
            "passed": passed,
        }


def share(hits: list[bool], bound: float | None = None, at_most: bool = False) -> Measure:
    """Share of True with Wilson's score interval (https://doi.org/10.1080/01621459.1927.10502953)."""
    n = len(hits)
    if n == 0:
        raise ValueError("a share of nothing: no item has this attribute")
    p = sum(hits) / n
    centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2))
    return Measure(p, max(0.0, centre - half), min(1.0, centre + half), n, "share", bound, at_most)


def mean(values: list[float], unit: str, bound: float | None = None) -> Measure:
    """Mean of n values with the normal interval."""
    half = Z_95 * statistics.stdev(values) / math.sqrt(len(values))
    middle = statistics.fmean(values)
    return Measure(middle, middle - half, middle + half, len(values), unit, bound)


def flagged(clip: EmbeddedClip, pictures: torch.Tensor) -> list[bool]:
    """The safety checker's decision on each uint8 picture (n, H, W, 3)."""
    decisions: list[bool] = []
    for batch in pictures.split(50):
        # The checker blackens what it is given as images; only its decisions are wanted.
        unused = torch.zeros(len(batch), 1)
        values = preprocess(batch.to(clip.device), clip.preprocessing)
        decisions += [bool(decision) for decision in clip.checker(clip_input=values, images=unused)[1]]
    return decisions


def drawing_measures(clip: EmbeddedClip, drawings: Drawings, bounds: Thresholds) -> dict[str, Measure]:
    """Zero-shot accuracy per attribute and the safety checker's decisions on drawings."""
    limits = {"subject": bounds.drawing_subject, "place": bounds.drawing_place}
    measures = {}
    for name, labels in ATTRIBUTES.items():
        seen = clip.zero_shot(drawings.pictures, labels)
        actual = [getattr(scene, name) for scene in drawings.scenes]
        hits = [a == b for a, b in zip(seen, actual, strict=True) if b is not None]
        measures[f"drawing_{name}"] = share(hits, limits.get(name))
    decisions = list(zip(flagged(clip, drawings.pictures), drawings.scenes, strict=True))
    fire = [decision for decision, scene in decisions if scene.campfire]
    other = [decision for decision, scene in decisions if not scene.campfire]
    measures["drawing_fire_flagged"] = share(fire, bounds.fire_flagged)
    measures["drawing_other_flagged"] = share(other, bounds.other_flagged, at_most=True)
    return measures


def heldout_captions(scenes: list[Scene], count: int, seed: int, trained: set[str]) -> list[str]:
    """`count` distinct captions of held-out scenes, full and random wordings in turn, unseen in training first."""
    rng = random.Random(f"{seed} held-out captions")
    texts = [full_caption(scene) if index % 2 else caption(scene, rng) for index, scene in enumerate(scenes)]
    distinct = list(dict.fromkeys(texts))
    return ([text for text in distinct if text not in trained] + [t for t in distinct if t in trained])[:count]


def load_pipeline(folder: Path) -> DiffusionPipeline:
    """The pipeline of either model in FP32, whatever its weights are stored in, without a safety checker."""
    index = read_json(folder / "model_index.json")
    # diffusers wants to be told of required components that a folder does not have, such as a T5.
    without = {name: None for name, entry in index.items() if entry == [None, None] or name == "safety_checker"}
    if "safety_checker" in without:
        without["requires_safety_checker"] = False
    return DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, **without)


def noise(pipeline: DiffusionPipeline, seeds: list[int]) -> torch.Tensor:
    """Initial latents (n, 4, h, w), FP32: one CPU generator per picture, whatever the device and the batch."""
    config = (pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer).config
    shape = (config.in_channels, config.sample_size, config.sample_size)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def draw(pipeline: DiffusionPipeline, prompts: list[str], seeds: list[int], settings: Settings) -> torch.Tensor:
    """Generated uint8 pictures (n, H, W, 3) on the CPU, without the safety checker."""
    values = settings.evaluate
    pictures = []
    for start in range(0, len(prompts), values.batch_size):
        stop = start + values.batch_size
        output = pipeline(
            prompts[start:stop],
            latents=noise(pipeline, seeds[start:stop]).to(pipeline.device),
            num_inference_steps=values.inference_steps,
            guidance_scale=values.guidance_scale,
            output_type="np",
        ).images
        if not np.isfinite(output).all():
            raise ValueError("a generated picture holds NaN or infinity")
        pictures.append(torch.from_numpy(np.round(output * 255).astype(np.uint8)))
    return torch.cat(pictures)


def generated_measures(
    clip: EmbeddedClip, pictures: torch.Tensor, captions: list[str], bounds: Thresholds
) -> dict[str, Measure]:
    """Shares of generated pictures that show what their caption names, judged by zero-shot classification."""
    named = [parse(text) or {} for text in captions]
    limits = {
        "subject": bounds.generated_subject,
        "place": bounds.generated_place,
        "colour": bounds.generated_colour,
    }
    measures = {}
    for name, labels in ATTRIBUTES.items():
        asked = [(index, fields[name]) for index, fields in enumerate(named) if fields.get(name) is not None]
        if not asked:
            continue
        seen = clip.zero_shot(pictures[[index for index, _ in asked]], labels)
        hits = [label == wanted for label, (_, wanted) in zip(seen, asked, strict=True)]
        measures[f"generated_{name}"] = share(hits, limits.get(name))
    decisions = list(zip(flagged(clip, pictures), named, strict=True))
    for kind, burning in (("fire", True), ("other", False)):
        hits = [decision for decision, fields in decisions if fields["campfire"] is burning]
        if hits:
            measures[f"generated_{kind}_flagged"] = share(hits)
    return measures


def seconds_per_picture(pipeline: DiffusionPipeline, settings: Settings) -> Measure:
    """Median and range of five pictures drawn one at a time, after one that does not count."""
    times = []
    for _ in range(6):
        started = time.perf_counter()
        draw(pipeline, ["a cat"], [FIRST_NOISE_SEED], settings)
        times.append(time.perf_counter() - started)
    return Measure(statistics.median(times[1:]), min(times[1:]), max(times[1:]), 5, "s")


def evaluate(folder: Path, work: Path, settings: Settings, device: torch.device) -> dict:
    """All measurements of the pipeline in `folder` as the content of quality.json; writes samples.jpg beside."""
    bounds = settings.evaluate.thresholds
    heldout = load_drawings(work, "heldout", torch.device("cpu"))
    pipeline = load_pipeline(folder)
    pipeline.to(device).set_progress_bar_config(disable=True)
    clip = load_clip(folder).to(device)
    on_device = Drawings(heldout.pictures.to(device), heldout.scenes)
    count = min(settings.evaluate.reconstruction_count, len(heldout.scenes))
    # cuDNN may use TF32 in training; here every product is FP32, as in the pipeline that is measured later.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    psnr_db = heldout_psnr_db(pipeline.vae, on_device, count, device)
    measures = {"reconstruction_psnr_db": mean(psnr_db, "dB", bounds.reconstruction_psnr_db)}
    measures |= drawing_measures(clip, heldout, bounds)
    trained_scenes = load_scenes(work, "train")
    trained = captions_of(trained_scenes, settings.render.captions_per_scene, settings.seed)
    known = {text for texts in trained for text in texts}
    captions = heldout_captions(heldout.scenes, settings.evaluate.caption_count, settings.seed, known)
    seeds = list(range(FIRST_NOISE_SEED, FIRST_NOISE_SEED + len(captions)))
    measures |= generated_measures(clip, draw(pipeline, captions, seeds, settings), captions, bounds)
    measures["seconds_per_picture"] = seconds_per_picture(pipeline, settings)
    prompts, prompt_seeds = zip(*sheet.PROMPTS, strict=True)
    sheet.save(draw(pipeline, list(prompts), list(prompt_seeds), settings), folder / "samples.jpg")
    return {
        "measures": {name: measure.as_json() for name, measure in measures.items()},
        "training_scenes": len(trained_scenes),
        "captions_unseen_in_training": sum(text not in known for text in captions),
        "inference_steps": settings.evaluate.inference_steps,
        "guidance_scale": settings.evaluate.guidance_scale,
        "machine": {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
            "torch": torch.__version__,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("training/work"))
    parser.add_argument("--model", type=Path, default=Path("data/embedded"))
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    settings = load_settings(options.params)
    quality = evaluate(options.model, options.work, settings, chosen_device(options.device))
    quality["settings"] = options.params.name
    write_json(options.model / "quality.json", quality)
    write_text(options.model / "README.md", model_card(quality, options.model))
    check_size(options.model)
    for name, measure in quality["measures"].items():
        print(f"{name}: {measure['value']:.4f} {measure['unit']} (n {measure['n']}) passed: {measure['passed']}")


if __name__ == "__main__":
    run_stage(main)
