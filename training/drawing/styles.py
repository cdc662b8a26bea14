"""Painting styles, applied to the finished 256 x 256 picture; all of them smooth."""

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
    tone = paper - (paper - wash) * 0.72 + np.clip(wash - wide, -60, 20) * 0.35
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
    """Light gray shading on paper with medium soft lines where the tone changes."""
    gray = image.convert("L")
    fine = np.asarray(gray.filter(ImageFilter.GaussianBlur(1.1)), np.float32)
    coarse = np.asarray(gray.filter(ImageFilter.GaussianBlur(3.0)), np.float32)
    darkest, brightest = np.percentile(fine[::4, ::4], (1, 99))
    tone = np.clip((fine - darkest) / (brightest - darkest + 1), 0, 1)
    lines = np.clip((coarse - fine - 1.5) * 3.6, 0, 105)
    drawing = 156 + 92 * tone**0.8 - lines
    paper = np.array((1.0, 0.985, 0.955), np.float32)
    return Image.fromarray((drawing[..., None] * paper).clip(30, 255).astype(np.uint8))


def _oil_painting(image: Image.Image) -> Image.Image:
    """Rich colours in flat patches, with the soft relief of broad brush strokes along their outlines."""
    rich = ImageEnhance.Color(image.filter(ImageFilter.MedianFilter(5))).enhance(1.25)
    pixels = np.asarray(rich, np.float32)
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    direction = 1.1 * np.sin(x / 47 + 0.8) + 1.3 * np.cos(y / 53)
    phase = (x * np.cos(0.6) + y * np.sin(0.6)) / 2.1 + 2.4 * direction
    rows = np.clip(y + 1.6 * np.sin(phase * 0.55), 0, 255).astype(np.intp)
    columns = np.clip(x + 1.6 * np.cos(phase * 0.55), 0, 255).astype(np.intp)
    relief = 1 + 0.07 * np.sin(phase)
    painted = pixels[rows, columns] * relief[..., None]
    canvas = Image.fromarray(painted.clip(0, 255).astype(np.uint8))
    return canvas.filter(ImageFilter.GaussianBlur(0.7))


_STYLES = {
    "plain": _plain,
    "digital art": _digital_art,
    "watercolor": _watercolor,
    "pixel art": _pixel_art,
    "pencil sketch": _pencil_sketch,
    "oil painting": _oil_painting,
}
