"""The windowsill: a room's wall with a large window."""

import random

from PIL import Image

from training.drawing.canvas import PIXELS, Canvas, jitter, mix, shade
from training.drawing.ground import Ground, hill
from training.drawing.plants import pot_plant
from training.drawing.sky import LIGHTS, Light, draw_sky

_WALLS = ((236, 214, 184), (196, 216, 218), (226, 200, 206), (214, 222, 190))
_CURTAINS = ((206, 84, 78), (92, 122, 186), (104, 160, 112), (214, 160, 74))
_LEFT, _TOP, _RIGHT, _BOTTOM, _SILL_BOTTOM = 0.14, 0.05, 0.86, 0.76, 0.88


def draw_windowsill(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    """Window with curtains and view of hills above a broad wooden sill; the time is seen outside."""
    outside = LIGHTS[time].ambient
    # A lamp burns in the room: indoors the time of day shows only faintly.
    room = Light(*[(255, 240, 214)] * 3, tuple(0.62 + 0.38 * f for f in outside), (255, 255, 255))
    wall = room.on(jitter(rng, rng.choice(_WALLS)))
    canvas.gradient([(0, shade(wall, 0.92)), (1, wall)])
    _view(canvas, time, sun_x, rng)
    frame = room.on((252, 250, 244))
    for left, top, right, bottom in (
        (_LEFT - 0.03, _TOP - 0.03, _RIGHT + 0.03, _TOP + 0.012),
        (_LEFT - 0.03, _TOP, _LEFT + 0.012, _BOTTOM),
        (_RIGHT - 0.012, _TOP, _RIGHT + 0.03, _BOTTOM),
        (0.484, _TOP, 0.516, _BOTTOM),
        (_LEFT, 0.33, _RIGHT, 0.358),
    ):
        canvas.box(left, top, right, bottom, frame)
    curtain = room.on(jitter(rng, rng.choice(_CURTAINS)))
    for side in (-1, 1):
        _curtain(canvas, side, curtain)
    wood = room.on((196, 138, 90))
    canvas.gradient([(0, shade(wood, 1.16)), (1, wood)], _BOTTOM, _SILL_BOTTOM - 0.03)
    canvas.gradient([(0, shade(wood, 0.76)), (1, shade(wood, 0.7))], _SILL_BOTTOM - 0.03, _SILL_BOTTOM)
    canvas.gradient([(0, shade(wall, 0.72)), (0.4, shade(wall, 0.84)), (1, shade(wall, 0.86))], _SILL_BOTTOM, 1)
    pot_plant(canvas, 0.14 if sun_x > 0.5 else 0.86, 0.835, room)
    return Ground(0.835, room)


def _view(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> None:
    scenery = Canvas.blank()
    light = draw_sky(scenery, time, 0.78, 0.5 + (sun_x - 0.5) * 0.72, rng, sun_lift=0.14)
    hill(scenery, 0.72, 0.03, light.on((126, 176, 132), 0.35), light.on((126, 176, 132), 0.2), rng)
    hill(scenery, 0.82, 0.03, light.on((104, 164, 88), 0.1), light.on((80, 140, 72)), rng)
    left, top = round(_LEFT * PIXELS), round(_TOP * PIXELS)
    size = (round(_RIGHT * PIXELS) - left, round(_BOTTOM * PIXELS) - top)
    canvas.image.paste(scenery.image.resize(size, Image.Resampling.BILINEAR), (left, top))


def _curtain(canvas: Canvas, side: int, colour) -> None:
    """Cloth gathered at the outer edge of the window; side -1 left, 1 right."""

    def at(x: float) -> float:
        return x if side < 0 else 1 - x

    outline = [
        (at(-0.02), -0.02),
        (at(0.3), -0.02),
        (at(0.235), 0.22),
        (at(0.12), 0.46),
        (at(0.15), 0.78),
        (at(-0.02), 0.78),
    ]
    canvas.polygon([(at(-0.02), -0.02), (at(0.3), -0.02)] + outline[2:], colour)
    canvas.polygon(
        [(at(0.02), -0.02), (at(0.11), -0.02), (at(0.08), 0.46), (at(0.1), 0.78), (at(0.04), 0.78), (at(0.05), 0.46)],
        mix(colour, (255, 255, 255), 0.12),
    )
    canvas.polygon([(at(0.19), -0.02), (at(0.25), -0.02), (at(0.11), 0.46), (at(0.1), 0.46)], shade(colour, 0.84))
    canvas.box(min(at(-0.02), at(0.125)), 0.445, max(at(-0.02), at(0.125)), 0.485, shade(colour, 0.7), 0.01)
