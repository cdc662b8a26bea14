"""Painting styles, applied to the finished 256 x 256 picture; all of them smooth."""

import functools

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

_PAPER = (250, 246, 236)
_PIXEL_GRID = 64
_PIXEL_PALETTE = 28


def apply_style(image: Image.Image, style: str) -> Image.Image:
    """The picture in one of content.STYLES; size and mode (RGB) stay."""
    return _STYLES[style](image)


def _plain(image: Image.Image) -> Image.Image:
    return image


def _digital_art(image: Image.Image) -> Image.Image:
    """Saturated colours, bloom around bright parts and a soft vignette."""
    image = ImageEnhance.Color(image).enhance(1.35)
    small = image.resize((64, 64), Image.Resampling.BOX)
    bloom = small.point([round(max(0, v - 120) * 0.75) for v in range(256)] * 3)
    bloom = bloom.filter(ImageFilter.GaussianBlur(3)).resize(image.size, Image.Resampling.BICUBIC)
    lit = 255 - (255 - np.asarray(image, np.float32)) * (1 - np.asarray(bloom, np.float32) / 255)
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    vignette = 1 - 0.32 * np.clip(x * x + y * y - 0.45, 0, None)
    return Image.fromarray((lit * vignette[..., None]).clip(0, 255).astype(np.uint8))


def _watercolor(image: Image.Image) -> Image.Image:
    """Pale washes with darker rims that run out into a white paper border."""
    wash = np.asarray(image.filter(ImageFilter.GaussianBlur(1.0)), np.float32)
    wide = np.asarray(image.filter(ImageFilter.BoxBlur(4)), np.float32)
    paper = np.array(_PAPER, np.float32)
    # Pigment gathers where a wash ends: what is darker than its neighbourhood gets a little darker.
    tone = paper - (paper - wash) * 0.8 + np.clip(wash - wide, -60, 20) * 0.35
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    wobble = 0.025 * np.sin(9 * x + 2) * np.cos(7 * y) + 0.02 * np.sin(5 * y + 4 * x)
    edge = np.maximum(np.abs(x), np.abs(y)) + wobble
    border = np.clip((edge - 0.84) / 0.13, 0, 1)[..., None]
    return Image.fromarray((tone * (1 - border) + paper * border).clip(0, 255).astype(np.uint8))


def _pixel_art(image: Image.Image) -> Image.Image:
    small = image.resize((_PIXEL_GRID, _PIXEL_GRID), Image.Resampling.BOX)
    small = ImageEnhance.Color(small).enhance(1.15)
    flat = small.quantize(_PIXEL_PALETTE, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).convert("RGB")
    return flat.resize(image.size, Image.Resampling.NEAREST)


def _pencil_sketch(image: Image.Image) -> Image.Image:
    """Gray shading on light paper with medium soft lines where the tone changes."""
    gray = image.convert("L")
    darkest, brightest = np.percentile(np.asarray(gray)[::4, ::4], (1, 99))
    # Night scenes are lifted: on paper, dark parts keep as much drawing as bright ones.
    tones = (np.clip((np.arange(256) - darkest) / (brightest - darkest + 1), 0, 1) ** 0.75 * 255).astype(int)
    lifted = gray.point(tones.tolist())
    fine, coarse, wide = (
        np.asarray(lifted.filter(ImageFilter.GaussianBlur(radius)), np.float32) for radius in (1.0, 3.0, 24.0)
    )
    lines = np.clip((coarse - fine - 1.5) * 2.6, 0, 95)
    # What differs from its wider surroundings is set off, or the shading would be too even to read.
    relief = np.clip((fine - wide) * 0.35, -50, 14)
    drawing = 172 + 66 * fine / 255 + relief - lines
    paper = np.array((1.0, 0.985, 0.955), np.float32)
    return Image.fromarray((drawing[..., None] * paper).clip(30, 252).astype(np.uint8))


def _oil_painting(image: Image.Image) -> Image.Image:
    """Rich colours in flat overlapping dabs of paint, wider than high."""
    rich = ImageEnhance.Color(image.filter(ImageFilter.GaussianBlur(0.7))).enhance(1.25)
    brightness = np.asarray(rich.convert("L"), np.float32)
    level = 17.0  # the step of brightness from one layer of paint to the next
    layered = np.round((brightness + _dabs() * 15) / level) * level
    painted = np.asarray(rich, np.float32) + (layered - brightness)[..., None] * 0.75
    canvas = Image.fromarray(painted.clip(0, 255).astype(np.uint8))
    return canvas.filter(ImageFilter.GaussianBlur(0.7))


@functools.cache
def _vignette() -> np.ndarray:
    """Factors (256, 256, 1) that darken the corners."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    return (1 - 0.32 * np.clip(x * x + y * y - 0.45, 0, None))[..., None]


@functools.cache
def _paper_border() -> np.ndarray:
    """Shares of bare paper (256, 256, 1): 0 inside, 1 at the wavy rim."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    wobble = 0.025 * np.sin(9 * x + 2) * np.cos(7 * y) + 0.02 * np.sin(5 * y + 4 * x)
    return np.clip((np.maximum(np.abs(x), np.abs(y)) + wobble - 0.87) / 0.12, 0, 1)[..., None]


@functools.cache
def _dabs() -> np.ndarray:
    """Smooth field (256, 256) of about -1..1 with blotches of about 17 x 7 pixels, the same for every picture."""
    coarse = np.random.default_rng(7).uniform(0, 255, (36, 15)).astype(np.uint8)
    blotches = Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC)
    turned = blotches.rotate(20, Image.Resampling.BICUBIC, expand=False).crop((44, 44, 212, 212))
    return np.asarray(turned.resize((256, 256), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1


_STYLES = {
    "plain": _plain,
    "digital art": _digital_art,
    "watercolor": _watercolor,
    "pixel art": _pixel_art,
    "pencil sketch": _pencil_sketch,
    "oil painting": _oil_painting,
}
