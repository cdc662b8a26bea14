"""Outdoor places on Earth, each with a layout of its own, and the list of all places."""

import random

from training.drawing import interiors, planets
from training.drawing.canvas import Canvas, SoftMask, jitter, mix, shade
from training.drawing.ground import Ground, hill
from training.drawing.plants import cactus, fir, palm
from training.drawing.sky import Light, draw_sky


def draw_place(canvas: Canvas, place: str, time: str | None, centred_sun: bool, rng: random.Random) -> Ground:
    """Paint the whole background of one of content.PLACES; returns where and in which light subjects stand.

    centred_sun: the sun may stand in the middle, because no subject will cover it.
    """
    side = rng.choice((rng.uniform(0.15, 0.25), rng.uniform(0.75, 0.85)))
    sun_x = rng.uniform(0.35, 0.65) if centred_sun else side
    return _PLACES[place](canvas, time, sun_x, rng)


def _mountains(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    light = draw_sky(canvas, time, 0.72, sun_x, rng, sun_lift=0.24)
    for level, colour, distance in ((0.53, (128, 146, 196), 0.55), (0.62, (108, 128, 178), 0.3)):
        crest = [(-0.1 + 0.15 * k, level - 0.04 * (k % 2) + rng.uniform(-0.03, 0.03)) for k in range(9)]
        outline = [*crest, (1.1, 0.8), (-0.1, 0.8)]
        canvas.gradient_polygon(outline, light.on(colour, distance), light.on(colour, distance + 0.2))
    for offset, top, width in ((-0.62, 0.34, 0.36), (0.62, 0.36, 0.36), (-0.33, 0.27, 0.33), (0.35, 0.3, 0.34)):
        _peak(canvas, light, sun_x + offset + rng.uniform(-0.03, 0.03), top + rng.uniform(-0.03, 0.04), width, sun_x)
    hill(canvas, 0.73, 0.03, light.on((76, 128, 110), 0.22), light.on((76, 128, 110), 0.05), rng)
    for x in (0.04, 0.13, 0.22, 0.79, 0.88, 0.97):
        fir(
            canvas,
            x + rng.uniform(-0.02, 0.02),
            0.83 + rng.uniform(0, 0.02),
            rng.uniform(0.15, 0.22),
            light.on((44, 104, 80), 0.06),
        )
    hill(canvas, 0.82, 0.012, light.on((122, 176, 84)), light.on((74, 132, 66)), rng)
    return Ground(0.92, light)


def _peak(canvas: Canvas, light: Light, x: float, top: float, width: float, sun_x: float) -> None:
    base = 0.78
    rock = light.on((104, 116, 164), 0.12)
    foot = light.on((128, 144, 184), 0.4)
    canvas.gradient_polygon([(x - width, base), (x, top), (x + width, base)], rock, foot)
    lit = 1 if sun_x > x else -1
    canvas.gradient_polygon(
        [(x, top), (x + lit * width, base), (x - lit * width * 0.1, base), (x + lit * width * 0.12, top + 0.22)],
        light.on((158, 164, 200), 0.1),
        light.on((150, 166, 196), 0.42),
    )
    slope, cap = width / (base - top), 0.14
    left, right = x - slope * cap, x + slope * cap
    low = top + cap
    zigzag = [(right, low), (x + 0.035, low - 0.035), (x + 0.005, low + 0.025), (x - 0.035, low - 0.03), (left, low)]
    canvas.polygon([(x, top), *zigzag], light.on((250, 250, 255), 0.05))


def _beach(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    light = draw_sky(canvas, time, 0.54, sun_x, rng)
    deep, shallow = light.on(jitter(rng, (32, 112, 190))), light.on((96, 208, 214))
    if time in ("sunset", "sunrise"):
        deep, shallow = mix(deep, light.middle, 0.25), mix(shallow, light.horizon, 0.3)
    canvas.gradient([(0, deep), (1, shallow)], 0.54, 0.8)
    shimmer = SoftMask(0.008)
    for k in range(5):
        shimmer.ellipse(sun_x + rng.uniform(-0.02, 0.02), 0.565 + 0.045 * k, 0.05 + 0.025 * k, 0.011)
    canvas.haze(shimmer, (255, 248, 214) if time != "night" else (190, 208, 240), 0.55)
    _sailboat(canvas, light, 1 - sun_x + rng.uniform(-0.04, 0.04))
    shore = [(-0.1, 0.79), (0.2, 0.765), (0.5, 0.785), (0.8, 0.755), (1.1, 0.78)]
    foam = light.on((250, 252, 252))
    canvas.blob([(x, y - 0.018) for x, y in shore] + [(1.3, 1.3), (-0.3, 1.3)], foam)
    sand = light.on(jitter(rng, (246, 220, 158)))
    canvas.blob([(x, y + 0.008) for x, y in shore] + [(1.3, 1.3), (-0.3, 1.3)], shade(sand, 0.86))
    hill(canvas, 0.81, 0.008, sand, shade(sand, 0.84), rng)
    palm_side = -1 if sun_x > 0.5 else 1
    palm(canvas, 0.5 + palm_side * 0.44, 0.9, palm_side, light)
    return Ground(0.92, light)


def _sailboat(canvas: Canvas, light: Light, x: float) -> None:
    y = 0.575
    canvas.polygon(
        [(x - 0.055, y), (x + 0.055, y), (x + 0.035, y + 0.024), (x - 0.035, y + 0.024)], light.on((150, 70, 56))
    )
    canvas.polygon([(x - 0.004, y - 0.008), (x - 0.004, y - 0.125), (x + 0.052, y - 0.008)], light.on((252, 250, 244)))
    canvas.polygon([(x - 0.012, y - 0.008), (x - 0.012, y - 0.095), (x - 0.045, y - 0.008)], light.on((232, 226, 214)))


def _forest(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    gap_x = 0.5 + (sun_x - 0.5) * 0.55  # where the trunks leave the sun visible
    light = draw_sky(canvas, time, 0.7, gap_x, rng, sun_lift=0.2)
    for base, height, colour, distance, count in (
        (0.72, 0.34, (120, 176, 140), 0.5, 9),
        (0.78, 0.4, (74, 142, 104), 0.25, 7),
    ):
        for k in range(count):
            x = (k + 0.5 + rng.uniform(-0.25, 0.25)) / count
            fir(canvas, x, base + 0.05, height * rng.uniform(0.8, 1.1), light.on(colour, distance))
        hill(canvas, base, 0.01, light.on(colour, distance), light.on(colour, distance), rng)
    hill(canvas, 0.79, 0.015, light.on((112, 160, 70)), light.on((56, 104, 52)), rng)
    for x, width in ((0.02, 0.1), (0.19, 0.062), (0.83, 0.066), (0.985, 0.11)):
        x += rng.uniform(-0.02, 0.02)
        bark = light.on(jitter(rng, (112, 76, 52)))
        foot = 0.86 + width * 0.6
        trunk = [
            (x - width / 2, -0.02),
            (x + width / 2, -0.02),
            (x + width * 0.55, foot - 0.08),
            (x + width * 0.85, foot),
        ]
        canvas.polygon([*trunk, (x - width * 0.85, foot), (x - width * 0.55, foot - 0.08)], bark)
        canvas.polygon([(x + width * 0.1, -0.02), *trunk[1:], (x + width * 0.2, foot)], shade(bark, 0.76))
    leaf = light.on((40, 112, 62))
    for k in range(8):
        x = (k + rng.uniform(0.2, 0.8)) / 8
        depth = 0.06 + 0.11 * abs(2 * x - 1) ** 1.5
        canvas.ellipse(x, 0, 0.11, depth + rng.uniform(0, 0.03), shade(leaf, rng.uniform(0.86, 1.14)))
    for x in (0.1, 0.3, 0.74, 0.91):
        _mushroom(canvas, light, x + rng.uniform(-0.03, 0.03), rng.uniform(0.93, 0.965))
    return Ground(0.91, light)


def _mushroom(canvas: Canvas, light: Light, x: float, y: float) -> None:
    canvas.box(x - 0.011, y - 0.035, x + 0.011, y, light.on((244, 232, 210)), 0.01)
    canvas.blob(
        [(x - 0.034, y - 0.028), (x, y - 0.068), (x + 0.034, y - 0.028), (x, y - 0.024)], light.on((214, 70, 56))
    )


def _desert(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    light = draw_sky(canvas, time, 0.6, sun_x, rng)
    sand = jitter(rng, (240, 194, 112))
    for level, distance in ((0.6, 0.35), (0.7, 0.15), (0.82, 0.0)):
        crest = rng.uniform(0.15, 0.4) if level != 0.7 else rng.uniform(0.6, 0.85)
        back = [(-0.2, level + 0.04), (crest - 0.3, level + 0.02), (crest, level - 0.06), (crest + 0.35, level + 0.03)]
        back += [(1.2, level - 0.01), (1.3, 1.4), (-0.3, 1.4)]
        canvas.blob(back, light.on(sand, distance))
        lee = [(crest, level - 0.062), (crest + 0.18, level - 0.005), (crest + 0.36, level + 0.03), (1.2, level + 0.01)]
        lee += [(1.3, level + 0.3), (crest + 0.25, level + 0.22), (crest + 0.02, level + 0.07)]
        canvas.blob(lee, light.on(shade(sand, (0.86, 0.76, 0.68)), distance))
    hill(canvas, 0.85, 0.01, light.on(shade(sand, 1.04)), light.on(shade(sand, 0.84)), rng)
    side = -1 if sun_x > 0.5 else 1
    cactus(canvas, 0.5 + side * 0.38, 0.885, 0.42, light)
    cactus(canvas, 0.5 - side * 0.43, 0.84, 0.22, light)
    return Ground(0.92, light)


def _city(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    light = draw_sky(canvas, time, 0.7, sun_x, rng, sun_lift=0.12)
    far = light.on((132, 152, 190), 0.4)
    for k in range(9):
        x = k / 8 + rng.uniform(-0.02, 0.02)
        gap = 0.16 if abs(x - sun_x) < 0.12 else 0
        canvas.box(x - 0.06, rng.uniform(0.36, 0.46) + gap, x + 0.06, 0.8, far)
    lamp = (255, 222, 120) if time in ("night", "sunset") else light.on((206, 230, 246))
    walls = ((196, 112, 92), (112, 132, 172), (206, 172, 128), (122, 158, 156), (172, 128, 160))
    blocks = [(-0.04, 0.15), (0.16, 0.14), (0.72, 0.13), (0.86, 0.18)]
    for k, (left, width) in enumerate(blocks):
        top = (0.16, 0.34, 0.3, 0.13)[k] + rng.uniform(-0.03, 0.04)
        _building(canvas, light, left, top, width, light.on(jitter(rng, rng.choice(walls))), lamp)
    _building(canvas, light, 0.31, rng.uniform(0.5, 0.56), 0.17, light.on(walls[2], 0.12), lamp)
    _building(canvas, light, 0.5, rng.uniform(0.46, 0.52), 0.2, light.on(walls[1], 0.12), lamp)
    canvas.gradient([(0, light.on((190, 188, 190))), (1, light.on((170, 168, 172)))], 0.78, 0.83)
    canvas.gradient([(0, light.on((98, 102, 114))), (1, light.on((76, 80, 92)))], 0.83, 1)
    for k in range(4):
        x = 0.02 + 0.28 * k
        canvas.polygon(
            [(x, 0.965), (x + 0.13, 0.965), (x + 0.14, 0.985), (x + 0.005, 0.985)], light.on((240, 232, 200))
        )
    return Ground(0.925, light)


def _building(canvas: Canvas, light: Light, left: float, top: float, width: float, wall, lamp) -> None:
    canvas.gradient_polygon(
        [(left, top), (left + width, top), (left + width, 0.79), (left, 0.79)], wall, shade(wall, 0.82)
    )
    canvas.box(left - 0.006, top - 0.014, left + width + 0.006, top + 0.008, shade(wall, 0.72))
    columns = 3 if width > 0.16 else 2
    pitch = width / columns
    for row in range(int((0.74 - top) / 0.085)):
        for k in range(columns):
            x, y = left + pitch * (k + 0.5), top + 0.05 + 0.085 * row
            canvas.box(x - 0.017, y - 0.016, x + 0.017, y + 0.024, mix(lamp, wall, 0.12))


def _snow(canvas: Canvas, time: str, sun_x: float, rng: random.Random) -> Ground:
    light = draw_sky(canvas, time, 0.62, sun_x, rng, sun_lift=0.06)
    white = (246, 250, 255)
    snow = mix(light.on(white), white, 0.22)  # snow stays brighter than anything else around
    hill(canvas, 0.6, 0.05, light.on((206, 222, 244), 0.3), light.on((214, 228, 246), 0.2), rng)
    side = -1 if sun_x > 0.5 else 1
    for x in (0.5 - side * 0.44, 0.5 - side * 0.3, 0.5 + side * 0.47):
        fir(canvas, x, 0.74, rng.uniform(0.24, 0.3), light.on((66, 122, 116), 0.08), snow=snow)
    hill(canvas, 0.7, 0.025, shade(snow, 0.95), shade(snow, 0.88), rng)
    _cabin(canvas, light, 0.5 + side * 0.34, 0.785, snow)
    hill(canvas, 0.78, 0.02, snow, shade(snow, (0.84, 0.88, 0.95)), rng)
    for k in range(9):
        x, y, radius = (k + rng.uniform(0.2, 0.8)) / 9, rng.uniform(0.05, 0.6), rng.uniform(0.009, 0.013)
        canvas.ellipse(x, y, radius, radius, mix(white, light.middle, 0.15))
    return Ground(0.91, light)


def _cabin(canvas: Canvas, light: Light, x: float, y: float, snow) -> None:
    wood = light.on((142, 88, 58))
    canvas.box(x - 0.105, y - 0.15, x + 0.105, y + 0.02, wood)
    canvas.box(x + 0.045, y - 0.27, x + 0.08, y - 0.15, shade(wood, 0.8))
    canvas.polygon(
        [
            (x - 0.155, y - 0.13),
            (x, y - 0.27),
            (x + 0.155, y - 0.13),
            (x + 0.13, y - 0.105),
            (x, y - 0.2),
            (x - 0.13, y - 0.105),
        ],
        snow,
    )
    canvas.polygon([(x - 0.13, y - 0.12), (x, y - 0.255), (x + 0.13, y - 0.12)], snow)
    canvas.box(x - 0.035, y - 0.09, x + 0.035, y - 0.03, (255, 214, 112), 0.006)


_PLACES = {
    "mountains": _mountains,
    "beach": _beach,
    "mars": planets.draw_mars,
    "moon": planets.draw_moon,
    "windowsill": interiors.draw_windowsill,
    "forest": _forest,
    "desert": _desert,
    "city": _city,
    "snow": _snow,
}
