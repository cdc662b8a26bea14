"""Puts a scene's subject, and the fire beside it, on the ground with shadow, halo and modelling light."""

import random

from PIL import Image, ImageChops, ImageFilter

from training.drawing import animals, travellers
from training.drawing.canvas import PIXELS, SOFT_PIXELS, Canvas, SoftMask, jitter, mix
from training.drawing.content import FUR, PAINT, Scene
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


def place_subject(canvas: Canvas, scene: Scene, ground: Ground, rng: random.Random) -> None:
    """Draw the subject (nothing for 'none') and, where the scene has one, the fire beside it."""
    if scene.subject == "none":
        return
    facing = rng.choice((-1, 1))
    beside_fire = scene.campfire and scene.subject != "campfire"
    x = rng.uniform(0.4, 0.6) if not beside_fire else 0.5 - facing * 0.1 + rng.uniform(-0.03, 0.03)
    height = rng.uniform(*_HEIGHTS[scene.subject]) * (0.92 if beside_fire else 1)
    feet_y = ground.y + rng.uniform(-0.012, 0.018)
    # Pencil sketches carry no colour, so any coat will do for their shading.
    colour = _COLOURS.get(scene.colour) or (FUR["gray"] if scene.subject not in ("robot", "rocket") else PAINT["blue"])
    if beside_fire:
        _place(canvas, "campfire", 0.5 + facing * 0.33, feet_y + 0.02, 0.27, 1, None, ground)
    _place(canvas, scene.subject, x, feet_y, height, facing, jitter(rng, colour, 5), ground)


def _place(canvas, subject, x, feet_y, height, facing, colour, ground: Ground) -> None:
    layer = Canvas(Image.new("RGBA", (PIXELS, PIXELS)))
    _DRAWERS[subject](Figure(layer, x, feet_y, height, facing), colour)
    burning = subject == "campfire"
    if burning:
        canvas.glow(x, feet_y - height * 0.35, height * 1.5, (255, 170, 60), 0.8)
    shadow = SoftMask(0.014)
    half = {"horse": 0.42, "rider": 0.34, "fox": 0.4}.get(subject, 0.3) * height
    shadow.ellipse(x, feet_y - 0.004, half, 0.028)
    canvas.haze(shadow, (20, 18, 34), 0.5)
    alpha = layer.image.getchannel("A")
    if not burning:
        _halo(canvas, alpha, ground)
    canvas.image.paste(_modelled(layer.image, alpha, ground, burning), (0, 0), alpha)


def _halo(canvas: Canvas, alpha: Image.Image, ground: Ground) -> None:
    """Faint mist around the figure, so that it never merges with what is behind."""
    small = alpha.resize((SOFT_PIXELS, SOFT_PIXELS), Image.Resampling.BOX)
    soft = small.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(5))
    mask = soft.point([round(v * 0.38) for v in range(256)]).resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
    canvas.image.paste(mix(ground.light.horizon, (255, 255, 255), 0.25), (0, 0, PIXELS, PIXELS), mask)


def _modelled(layer: Image.Image, alpha: Image.Image, ground: Ground, burning: bool) -> Image.Image:
    """The flat figure with light from the upper left and shade at the lower right."""
    flat = layer.convert("RGB")
    if burning:
        return flat
    small = alpha.resize((SOFT_PIXELS, SOFT_PIXELS), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(3.2))
    lower_right = ImageChops.subtract(ImageChops.offset(small, 3, 4), ImageChops.offset(small, -3, -4))
    upper_left = ImageChops.subtract(ImageChops.offset(small, -3, -4), ImageChops.offset(small, 3, 4))
    ambient = [0.78 + 0.22 * factor for factor in ground.light.ambient]
    # Where the blurred figure rises towards the lower right, the surface faces the light.
    shades = [upper_left.point([round(255 * a * (1 - 0.5 * v / 255)) for v in range(256)]) for a in ambient]
    darkened = ImageChops.multiply(flat, _enlarged(Image.merge("RGB", shades)))
    tint = mix(ground.light.horizon, (255, 255, 255), 0.5)
    lights = [lower_right.point([round(c * 0.32 * v / 255) for v in range(256)]) for c in tint]
    return ImageChops.screen(darkened, _enlarged(Image.merge("RGB", lights)))


def _enlarged(image: Image.Image) -> Image.Image:
    return image.resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
