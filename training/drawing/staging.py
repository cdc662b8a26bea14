"""Puts a scene's subject, and the fire beside it, on the ground with shadow, halo and modelling light."""

import random

from PIL import Image, ImageChops, ImageFilter, ImageStat

from training.drawing import animals, travellers
from training.drawing.canvas import PIXELS, Canvas, SoftMask, jitter, mix
from training.drawing.content import FUR, PAINT, Colour, Scene
from training.drawing.figure import Figure
from training.drawing.ground import Ground

_DRAWERS = {
    "cat": animals.draw_cat,
    "dog": animals.draw_dog,
    "horse": animals.draw_horse,
    "fox": animals.draw_fox,
    "owl": animals.draw_owl,
    "astronaut": travellers.draw_astronaut,
    "rider": travellers.draw_rider,
    "robot": travellers.draw_robot,
    "rocket": travellers.draw_rocket,
    "campfire": travellers.draw_campfire,
}
# Lowest and highest height in shares of the picture: tall or wide figures would else leave it.
_HEIGHTS = {
    "cat": (0.46, 0.56),
    "dog": (0.46, 0.56),
    "horse": (0.46, 0.53),
    "fox": (0.42, 0.48),
    "owl": (0.44, 0.53),
    "astronaut": (0.48, 0.58),
    "rider": (0.62, 0.7),
    "robot": (0.47, 0.57),
    "rocket": (0.54, 0.64),
    "campfire": (0.4, 0.5),
}
_COLOURS = FUR | PAINT
_WHITE = (255, 255, 255)
_COARSE = 4  # soft light and mist are computed on pixels of this size
_HALO_ROOM = 48  # canvas pixels


def place_subject(canvas: Canvas, scene: Scene, ground: Ground, rng: random.Random) -> None:
    """Draw the subject (nothing for 'none') and, where the scene has one, the fire beside it."""
    if scene.subject == "none":
        return
    facing = rng.choice((-1, 1))
    beside_fire = scene.campfire and scene.subject != "campfire"
    x = rng.uniform(0.4, 0.6) if not beside_fire else 0.5 - facing * 0.1 + rng.uniform(-0.03, 0.03)
    height = rng.uniform(*_HEIGHTS[scene.subject]) * (0.92 if beside_fire else 1)
    feet_y = ground.y + rng.uniform(-0.012, 0.018)
    # Pencil sketches carry no colour: any will do for their shading.
    colour = _COLOURS[scene.colour or ("blue" if scene.subject in ("robot", "rocket") else "brown")]
    if beside_fire:
        _place(canvas, "campfire", 0.5 + facing * 0.33, feet_y + 0.02, 0.27, 1, None, ground)
    _place(canvas, scene.subject, x, feet_y, height, facing, jitter(rng, colour, 5), ground)


def _place(
    canvas: Canvas,
    subject: str,
    x: float,
    feet_y: float,
    height: float,
    facing: int,
    colour: Colour | None,
    ground: Ground,
) -> None:
    layer = Canvas(Image.new("RGBA", (PIXELS, PIXELS)))
    _DRAWERS[subject](Figure(layer, x, feet_y, height, facing), colour)
    burning = subject == "campfire"
    if burning:
        canvas.glow(x, feet_y - height * 0.35, height * 1.5, (255, 170, 60), 0.8)
    shadow = SoftMask(0.014)
    half_width = {"horse": 0.42, "rider": 0.34, "fox": 0.4}.get(subject, 0.3) * height
    shadow.ellipse(x, feet_y - 0.004, half_width, 0.028)
    canvas.haze(shadow, (20, 18, 34), 0.5)
    box = _roomy_box(layer.image)
    figure = layer.image.crop(box)
    alpha = figure.getchannel("A")
    if burning:
        canvas.image.paste(figure.convert("RGB"), box, alpha)
        return
    canvas.image.paste(_mist_colour(figure, alpha, ground), box, _halo(alpha))
    canvas.image.paste(_modelled(figure.convert("RGB"), alpha, ground), box, alpha)


def _roomy_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Box of what is drawn, with room for its halo, its sides multiples of the coarse pixels' size."""
    left, top, right, bottom = image.getbbox()
    width, height = (-(-(length + 2 * _HALO_ROOM) // _COARSE) * _COARSE for length in (right - left, bottom - top))
    left, top = left - _HALO_ROOM, top - _HALO_ROOM
    return left, top, left + width, top + height


def _mist_colour(figure: Image.Image, alpha: Image.Image, ground: Ground) -> Colour:
    """Darker than a bright figure, brighter than any other, so that none merges with its background."""
    brightness = ImageStat.Stat(figure.convert("L"), alpha).mean[0]
    if brightness > 165 and not ground.light.dark_sky:
        return mix(ground.light.middle, (44, 56, 104), 0.55)
    return mix(ground.light.horizon, _WHITE, 0.25)


def _halo(alpha: Image.Image) -> Image.Image:
    """Mask of a faint mist around the figure."""
    soft = alpha.reduce(_COARSE).filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(5))
    return soft.point([round(v * 0.38) for v in range(256)]).resize(alpha.size, Image.Resampling.BILINEAR)


def _modelled(flat: Image.Image, alpha: Image.Image, ground: Ground) -> Image.Image:
    """The flat figure with light from the upper left and shade at the lower right.

    The blurred outline stands for a rounded body: its slope along the light's direction is the shading.
    """
    body = alpha.reduce(_COARSE).filter(ImageFilter.GaussianBlur(3.2))
    towards, away = ImageChops.offset(body, -3, -4), ImageChops.offset(body, 3, 4)
    shadow, lit = ImageChops.subtract(away, towards), ImageChops.subtract(towards, away)
    ambient = [0.78 + 0.22 * factor for factor in ground.light.ambient]
    shades = [shadow.point([round(255 * a * (1 - 0.45 * v / 255)) for v in range(256)]) for a in ambient]
    tint = mix(ground.light.horizon, _WHITE, 0.5)
    lights = [lit.point([round(c * 0.3 * v / 255) for v in range(256)]) for c in tint]
    darkened = ImageChops.multiply(flat, Image.merge("RGB", shades).resize(flat.size, Image.Resampling.BILINEAR))
    return ImageChops.screen(darkened, Image.merge("RGB", lights).resize(flat.size, Image.Resampling.BILINEAR))
