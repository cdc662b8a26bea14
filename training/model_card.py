"""The README.md of an embedded model, written from what was measured."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open

from training.data import ATTRIBUTES

# Class of the pipeline to template and folders with weights.
CARDS = {
    "StableDiffusionPipeline": ("model_card.md.j2", ("unet", "text_encoder", "vae", "safety_checker", "clip")),
    "StableDiffusion3Pipeline": (
        "transformer_card.md.j2",
        ("transformer", "text_encoder", "text_encoder_2", "vae", "safety_checker", "clip"),
    ),
}
TITLES = {
    "reconstruction_psnr_db": "Autoencoder: PSNR of held-out drawings, averaged per picture",
    "drawing_subject": "CLIP: subject of held-out drawings recognised",
    "drawing_place": "CLIP: place of held-out drawings recognised",
    "drawing_time": "CLIP: time of day of held-out drawings recognised",
    "drawing_colour": "CLIP: colour of held-out drawings recognised",
    "drawing_style": "CLIP: style of held-out drawings recognised",
    "drawing_fire_flagged": "Safety checker: held-out drawings with fire flagged",
    "drawing_other_flagged": "Safety checker: other held-out drawings flagged",
    "generated_subject": "Generated: subject as the caption names it",
    "generated_place": "Generated: place as the caption names it",
    "generated_time": "Generated: time of day as the caption names it",
    "generated_colour": "Generated: colour as the caption names it",
    "generated_style": "Generated: style as the caption names it",
    "generated_fire_flagged": "Safety checker: generated pictures whose caption names fire flagged",
    "generated_other_flagged": "Safety checker: other generated pictures flagged",
    "seconds_per_picture": "Seconds per picture, one at a time",
}


def parameters(folder: Path) -> int:
    """Number of weights in the safetensors files of a component's folder."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                size = 1
                for extent in file.get_slice(name).get_shape():
                    size *= extent
                total += size
    return total


def measured(measure: dict) -> str:
    """A measured value in its unit: shares in percent, decibels and seconds as they are."""
    return _in_unit(measure["value"], measure["unit"])


def bound(measure: dict) -> str:
    """What was asked of the value, or a dash."""
    if measure["bound"] is None:
        return "-"
    return f"{measure['direction']} {_in_unit(measure['bound'], measure['unit'])}"


def interval(measure: dict) -> str:
    """The value's interval: of 95 % confidence, for seconds from the fastest to the slowest."""
    low, high = measure["interval_95"]
    return f"{_in_unit(low, measure['unit'])} to {_in_unit(high, measure['unit'])}"


def model_card(quality: dict, folder: Path) -> str:
    """Markdown from the content of quality.json and the weights in `folder`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, from our own numbers
    )
    environment.filters |= {"measured": measured, "bound": bound, "interval": interval}
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    template, components = CARDS[index["_class_name"]]
    return environment.get_template(template).render(
        quality=quality,
        titles=TITLES,
        missed=[name for name, measure in quality["measures"].items() if measure["passed"] is False],
        components={name: parameters(folder / name) for name in components},
        attributes=ATTRIBUTES,
        size=config["sample_size"],
    )


def _in_unit(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.2f} {unit}"
