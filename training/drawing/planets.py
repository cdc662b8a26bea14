"""Mars and the Moon: places without time of day."""

import random

from training.drawing.canvas import Canvas, jitter, mix, shade
from training.drawing.content import Colour
from training.drawing.ground import Ground, hill
from training.drawing.sky import Light, draw_stars

_MARS_LIGHT = Light((176, 84, 52), (226, 140, 90), (250, 206, 156), (1.0, 0.94, 0.9), (255, 220, 180))
_MOON_LIGHT = Light((6, 8, 22), (14, 18, 42), (30, 36, 66), (0.96, 0.97, 1.0), (120, 130, 160), True)


def draw_mars(canvas: Canvas, time: None, sun_x: float, rng: random.Random) -> Ground:
    """Butterscotch sky with two moons, flat-topped mesas, red ground with craters."""
    light = _MARS_LIGHT
    canvas.gradient([(0, jitter(rng, light.top)), (0.5, light.middle), (1, light.horizon)], 0, 0.66)
    for x, y, radius in ((sun_x, 0.15, 0.062), (sun_x + (0.17 if sun_x < 0.5 else -0.17), 0.085, 0.032)):
        canvas.glow(x, y, radius * 2.6, (255, 226, 190), 0.5)
        canvas.ellipse(x, y, radius, radius, (250, 224, 192))
        canvas.ellipse(x + radius * 0.25, y + radius * 0.2, radius * 0.26, radius * 0.26, (226, 186, 150))
    far = light.on((192, 100, 66), 0.35)
    for x, width, top in ((0.3, 0.2, 0.5), (0.66, 0.22, 0.48)):
        _mesa(canvas, x + rng.uniform(-0.05, 0.05), width, top, far)
    hill(canvas, 0.64, 0.012, far, far, rng)
    for x, width, top in ((0.06, 0.27, 0.38), (0.95, 0.26, 0.41)):
        _mesa(
            canvas, x + rng.uniform(-0.03, 0.03), width, top + rng.uniform(-0.03, 0.03), light.on((170, 76, 48), 0.08)
        )
    ground = jitter(rng, (206, 94, 54))
    hill(canvas, 0.7, 0.018, mix(ground, light.horizon, 0.2), shade(ground, 0.8), rng)
    for x, y, size in ((0.14, 0.79, 0.085), (0.87, 0.8, 0.09), (0.3, 0.95, 0.13), (0.82, 0.94, 0.11)):
        crater(canvas, x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.01, 0.01), size, ground)
    return Ground(0.9, light)


def draw_moon(canvas: Canvas, time: None, sun_x: float, rng: random.Random) -> Ground:
    """Black sky with the Earth and a few stars, gray ground full of craters."""
    light = _MOON_LIGHT
    canvas.gradient([(0, light.top), (0.6, light.middle), (1, light.horizon)], 0, 0.72)
    draw_stars(canvas, 11, 0.54, rng)
    _earth(canvas, sun_x, rng.uniform(0.19, 0.25), rng.uniform(0.115, 0.135))
    gray = jitter(rng, (178, 180, 188), 5)
    hill(canvas, 0.66, 0.035, shade(gray, 0.72), shade(gray, 0.66), rng)
    hill(canvas, 0.72, 0.02, gray, shade(gray, 0.78), rng)
    for x, y, size in (
        (0.12, 0.785, 0.09),
        (0.62, 0.765, 0.06),
        (0.88, 0.82, 0.11),
        (0.26, 0.95, 0.14),
        (0.8, 0.965, 0.09),
    ):
        crater(canvas, x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.01, 0.01), size, gray)
    return Ground(0.9, light)


def crater(canvas: Canvas, x: float, y: float, size: float, ground: Colour) -> None:
    canvas.ellipse(x, y, size, size * 0.34, shade(ground, 1.12))
    canvas.ellipse(x, y + size * 0.03, size * 0.87, size * 0.27, shade(ground, 0.7))
    canvas.ellipse(x, y + size * 0.11, size * 0.72, size * 0.18, shade(ground, 0.86))


def _mesa(canvas: Canvas, x: float, width: float, top: float, colour: Colour) -> None:
    base, half = 0.74, width / 2
    shape = [(x - half * 1.5, base), (x - half * 1.0, top + 0.11), (x - half * 0.86, top), (x + half * 0.86, top)]
    canvas.gradient_polygon([*shape, (x + half * 1.0, top + 0.11), (x + half * 1.5, base)], colour, shade(colour, 1.12))
    canvas.gradient_polygon(
        [
            (x + half * 0.3, top),
            (x + half * 0.86, top),
            (x + half, top + 0.11),
            (x + half * 1.5, base),
            (x + half * 0.45, base),
        ],
        shade(colour, 0.8),
        shade(colour, 1.0),
    )


def _earth(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.glow(x, y, radius * 2.4, (90, 150, 255), 0.7)
    canvas.ellipse(x, y, radius, radius, (44, 112, 214))
    land, cloud = (86, 172, 96), (240, 246, 252)
    patches = (
        ((-0.55, -0.3), (-0.1, -0.6), (0.2, -0.35), (-0.05, 0.05), (-0.45, 0.1)),
        ((0.15, 0.2), (0.6, 0.1), (0.55, 0.5), (0.2, 0.65)),
    )
    for patch in patches:
        canvas.blob([(x + dx * radius, y + dy * radius) for dx, dy in patch], land)
    canvas.ellipse(x - 0.25 * radius, y + 0.52 * radius, 0.42 * radius, 0.11 * radius, cloud)
    canvas.ellipse(x + 0.32 * radius, y - 0.18 * radius, 0.4 * radius, 0.1 * radius, cloud)
