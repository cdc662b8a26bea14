"""Train the CLIP whose vision tower is also the safety checker's.

Contrastive loss (https://arxiv.org/abs/2103.00020), with every caption of the batch that is true of a drawing counted
as its partner, and with the prompts of each attribute as further classes. One more direction is learned, by logistic
regression on the cosine: fire. The drawings are degraded at random, because generated pictures are a little soft.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, conv2d, cross_entropy, interpolate
from torch.nn.functional import normalize as unit
from transformers import CLIPTokenizer
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from stages.lib.project.errors import run_stage
from stages.lib.quality.clip_preprocessing import normalise, resize
from training import loop, networks
from training.captions import parse
from training.data import (
    ATTRIBUTES,
    UNNAMED,
    Drawings,
    caption_ids,
    captions_of,
    label_index,
    load_drawings,
    load_tokenizer,
    token_ids,
)
from training.settings import Clip, Settings, load_settings

STEM = "clip"
# Cosines lie in -1..1; times this they make a usable logit for fire.
FIRE_SCALE = 30.0
MAX_LOGIT_SCALE = 4.6052
BLUR_KERNEL = (1.0, 4.0, 6.0, 4.0, 1.0)


def degrade(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures (b, 3, H, W) in 0..1, each blurred, halved and noised by a random amount, often by none."""
    count, device = len(pictures), pictures.device

    def amount(probability: float) -> torch.Tensor:
        draws = torch.rand((2, count, 1, 1, 1), generator=generator, device=device)
        return draws[0] * (draws[1] < probability)

    kernel = torch.tensor(BLUR_KERNEL, device=device)
    kernel = (kernel[:, None] * kernel / kernel.sum() ** 2).expand(3, 1, 5, 5)
    blurred = conv2d(pictures, kernel, padding=2, groups=3)
    pictures = pictures + amount(0.4) * (blurred - pictures)
    halved = interpolate(avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear", align_corners=False)
    pictures = pictures + amount(0.3) * (halved - pictures)
    noise = torch.randn(pictures.shape, generator=generator, device=device)
    brightness = 0.06 * (torch.rand((count, 3, 1, 1), generator=generator, device=device) - 0.5)
    return (pictures + 0.04 * amount(0.4) * noise + brightness).clamp(0, 1)


def model_input(pictures: torch.Tensor, image_size: int) -> torch.Tensor:
    """What the feature extractor makes of pictures (b, 3, H, W) in 0..1, without its rounding to 8 bits."""
    resized = resize(pictures * 255, (image_size, image_size)) / 255
    return normalise(resized, list(OPENAI_CLIP_MEAN), list(OPENAI_CLIP_STD))


def truth(scene_labels: torch.Tensor, caption_labels: torch.Tensor) -> torch.Tensor:
    """(n, m) booleans: caption j names nothing that scene i is not. Labels are (n, a) and (m, a) indices."""
    unnamed = caption_labels[None] == UNNAMED
    return (unnamed | (caption_labels[None] == scene_labels[:, None])).all(-1)


def contrastive_loss(logits: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over rows and columns of logits (b, b) against equal shares for all true partners."""
    target = partners.float()
    by_picture = cross_entropy(logits, target / target.sum(1, keepdim=True))
    by_text = cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return (by_picture + by_text) / 2


def caption_labels_of(captions: list[list[str]]) -> torch.Tensor:
    """Label indices (scenes, captions per scene, attributes + fire) of what each caption names."""
    known: dict[str, list[int]] = {}
    for text in {text for texts in captions for text in texts}:
        named = parse(text) or {}
        fire = 1 if named.get("campfire") else UNNAMED
        known[text] = [label_index(name, named.get(name)) for name in ATTRIBUTES] + [fire]
    return torch.tensor([[known[text] for text in texts] for texts in captions])


def loss_function(
    clip: networks.Clip, drawings: Drawings, tokenizer: CLIPTokenizer, settings: Settings, device: torch.device
) -> loop.Loss:
    """The loss of a step on a random batch; captions are drawn and tokenised here, once."""
    values, fit = settings.clip, settings.clip.fit
    captions = captions_of(drawings.scenes, settings.render.captions_per_scene, settings.seed)
    ids = caption_ids(tokenizer, captions).to(device)
    labels_named = caption_labels_of(captions).to(device)
    scene_labels = torch.tensor(
        [
            [label_index(name, getattr(scene, name)) for name in ATTRIBUTES] + [int(scene.campfire)]
            for scene in drawings.scenes
        ],
        device=device,
    )
    prompts = [text for texts in ATTRIBUTES.values() for text in texts.values()]
    prompt_ids = token_ids(tokenizer, prompts).to(device)
    sizes = [len(texts) for texts in ATTRIBUTES.values()]
    vision: Callable = torch.compile(clip.vision) if fit.compile else clip.vision

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        chosen = torch.randint(len(drawings.scenes), (fit.batch_size,), generator=generator, device=device)
        wording = torch.randint(ids.shape[1], (fit.batch_size,), generator=generator, device=device)
        flipped = torch.rand(fit.batch_size, generator=generator, device=device) < 0.5
        pictures = model_input(degrade(drawings.batch(chosen, flipped), generator), values.image_size)
        with loop.half_precision(device, fit.bfloat16):
            picture_features = vision(pixel_values=pictures).image_embeds
            text_features = clip.text(torch.cat([ids[chosen, wording], prompt_ids])).text_embeds
        picture_features = unit(picture_features.float(), dim=-1)
        text_features = unit(text_features.float(), dim=-1)
        scale = clip.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
        logits = scale * picture_features @ text_features.T
        actual = scene_labels[chosen]
        named = labels_named[chosen, wording]
        loss = contrastive_loss(logits[:, : fit.batch_size], truth(actual, named))
        scalars = {"contrastive": loss, "logit_scale": scale}
        by_attribute = logits[:, fit.batch_size :].split(sizes, dim=1)
        for column, (name, part) in enumerate(zip(ATTRIBUTES, by_attribute, strict=True)):
            target = actual[:, column]
            # A batch may hold no drawing with this attribute; then the mean over none would be NaN.
            known = (target != UNNAMED).sum().clamp(min=1)
            loss = loss + 0.5 * cross_entropy(part, target, ignore_index=UNNAMED, reduction="sum") / known
            scalars[name] = ((part.argmax(1) == target) & (target != UNNAMED)).sum() / known
        cosine = picture_features @ unit(clip.fire_direction, dim=0)
        fire = FIRE_SCALE * (cosine - clip.fire_threshold)
        scalars["fire"] = ((fire > 0) == (actual[:, -1] == 1)).float().mean()
        return loss + binary_cross_entropy_with_logits(fire, actual[:, -1].float()), scalars

    return loss_at


@torch.no_grad()
def fire_threshold(
    clip: networks.Clip, drawings: Drawings, values: Clip, seed: int, device: torch.device
) -> tuple[float, dict[str, str]]:
    """The cosine between the drawings with fire and the others, clean and degraded, and the quantiles it lies between.

    Midway between the 0.5 % quantile of those with fire and the 99.9 % quantile of the others.
    """
    generator = torch.Generator(device).manual_seed(seed)
    cosines = []
    for indices in torch.arange(min(len(drawings.scenes), 16_000), device=device).split(250):
        clean = drawings.batch(indices, torch.zeros_like(indices, dtype=torch.bool))
        both = torch.cat([clean, degrade(clean, generator)])
        features = clip.vision(pixel_values=model_input(both, values.image_size)).image_embeds
        cosines.append((unit(features, dim=-1) @ unit(clip.fire_direction, dim=0)).view(2, -1))
    cosine = torch.cat(cosines, dim=1).cpu()
    burning = torch.tensor([scene.campfire for scene in drawings.scenes[: cosine.shape[1]]])
    low = torch.quantile(cosine[:, burning].flatten(), 0.005).item()
    high = torch.quantile(cosine[:, ~burning].flatten(), 0.999).item()
    return (low + high) / 2, {"fire_low_quantile": f"{low:.4f}", "other_high_quantile": f"{high:.4f}"}


def main() -> None:
    options = loop.arguments(__doc__).parse_args()
    settings = load_settings(options.params)
    run = loop.run_of(STEM, options, settings.seed + 2)
    torch.manual_seed(run.seed)
    drawings = load_drawings(run.work, "train", run.device)
    tokenizer = load_tokenizer(run.work)
    clip = networks.Clip(networks.clip_config(settings.clip, tokenizer)).to(run.device)
    loss_at = loss_function(clip, drawings, tokenizer, settings, run.device)
    average, step = loop.fit(clip, loss_at, settings.clip.fit, run)
    threshold, quantiles = fire_threshold(average, drawings, settings.clip, run.seed, run.device)
    print(f"fire threshold {threshold:.4f}, between {quantiles}")
    loop.finish(run, average, step, settings.clip.fit.steps, {"fire_threshold": f"{threshold:.6f}", **quantiles})


if __name__ == "__main__":
    run_stage(main)
