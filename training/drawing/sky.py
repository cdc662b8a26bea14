"""The sky and the light of each time of day."""

import functools
import math
import random
from dataclasses import dataclass

from training.drawing.canvas import Canvas, SoftMask, jitter, mix, shade
from training.drawing.content import Colour


@dataclass(frozen=True)
class Light:
    """Colours of a time of day: sky from top to horizon, distant haze, and factors that light the ground."""

    top: Colour
    middle: Colour
    horizon: Colour
    ambient: tuple[float, float, float]
    cloud: Colour
    dark_sky: bool = False

    def on(self, colour: Colour, distance: float = 0.0) -> Colour:
        """Colour of a thing in this light; distance 0 is near, 1 has vanished in the haze."""
        return mix(shade(colour, self.ambient), mix(self.horizon, self.middle, 0.55), distance)


LIGHTS = {
    "sunset": Light((70, 44, 118), (222, 84, 104), (255, 168, 74), (0.86, 0.68, 0.70), (255, 140, 110)),
    "sunrise": Light((136, 196, 226), (255, 214, 204), (255, 240, 196), (1.0, 0.93, 0.9), (255, 244, 236)),
    "day": Light((70, 148, 230), (140, 198, 246), (210, 236, 250), (1.0, 1.0, 1.0), (255, 255, 255)),
    "night": Light((12, 16, 52), (28, 44, 100), (60, 88, 146), (0.43, 0.49, 0.70), (70, 90, 140), True),
}
STAR = (255, 250, 224)


def draw_sky(
    canvas: Canvas, time: str, horizon: float, sun_x: float, rng: random.Random, sun_lift: float = 0.0
) -> Light:
    """Fill the canvas from the top to `horizon` (height, 0..1); sun_lift raises the sun above hills."""
    light = LIGHTS[time]
    stops = [(0, jitter(rng, light.top)), (0.55, jitter(rng, light.middle)), (1, light.horizon)]
    canvas.gradient(stops, 0, horizon)
    canvas.gradient([(0, light.horizon), (1, light.horizon)], horizon, 1)
    _BODIES[time](canvas, light, sun_x, horizon, sun_lift, rng)
    return light


def draw_stars(canvas: Canvas, count: int, bottom: float, rng: random.Random) -> None:
    """A few large soft stars, one in each vertical strip so that they never clump."""
    for k in range(count):
        x, y = (k + rng.uniform(0.2, 0.8)) / count, rng.uniform(0.04, bottom)
        radius = rng.uniform(0.006, 0.0095)
        canvas.glow(x, y, radius * 4.5, STAR, 0.5)
        canvas.ellipse(x, y, radius, radius, STAR)


def _sunset(canvas, light, x, horizon, lift, rng):
    y, radius = horizon - 0.05 - lift, rng.uniform(0.085, 0.105)
    canvas.glow(x, y, 0.75, (255, 190, 80), 0.75)
    clouds = SoftMask(0.012)
    for _ in range(4):
        cx, cy = rng.uniform(0, 1), rng.uniform(0.1, max(0.2, y - 0.16))
        clouds.ellipse(cx, cy, rng.uniform(0.16, 0.32), rng.uniform(0.012, 0.022))
    canvas.haze(clouds, light.cloud, 0.65)
    canvas.ellipse(x, y, radius, radius, (255, 206, 84))
    canvas.glow(x, y, radius * 1.2, (255, 244, 180), 0.9)


def _sunrise(canvas, light, x, horizon, lift, rng):
    y, radius = horizon - 0.13 - lift, rng.uniform(0.058, 0.07)
    rays = SoftMask(0.012)
    count, first = 13, rng.uniform(0, 1)
    for k in range(count):
        angle = 2 * math.pi * (k + first) / count
        ends = [(x + 1.1 * math.cos(angle + d), y + 1.1 * math.sin(angle + d)) for d in (-0.09, 0.09)]
        rays.polygon([(x, y), *ends])
    canvas.haze(rays, (255, 250, 214), 0.45)
    canvas.glow(x, y, 0.5, (255, 252, 214), 0.95)
    canvas.ellipse(x, y, radius, radius, (255, 254, 226))


def _day(canvas, light, x, horizon, lift, rng):
    y, radius = rng.uniform(0.12, 0.17), rng.uniform(0.055, 0.068)
    canvas.glow(x, y, 0.3, (255, 250, 200), 0.8)
    canvas.ellipse(x, y, radius, radius, (255, 240, 140))
    clouds = SoftMask(0.007)
    centres = (x + 0.42, x - 0.45, x + 0.9, x - 0.9)
    for cx in centres:
        cy, scale = rng.uniform(0.08, 0.27), rng.uniform(0.75, 1.15)
        for dx, dy, size in (
            (-0.075, 0.012, 0.04),
            (-0.02, -0.014, 0.056),
            (0.045, 0, 0.046),
            (0.09, 0.016, 0.03),
        ):
            clouds.ellipse(cx + dx * scale, cy + dy * scale, size * scale * 1.25, size * scale * 0.8)
    canvas.haze(clouds, light.cloud, 0.92)


def _night(canvas, light, x, horizon, lift, rng):
    draw_stars(canvas, 11, min(0.4, horizon - 0.12), rng)
    y, radius = rng.uniform(0.14, 0.19), rng.uniform(0.066, 0.08)
    canvas.glow(x, y, 0.34, (150, 176, 226), 0.7)
    canvas.polygon([(x + radius * dx, y + radius * dy) for dx, dy in _crescent()], (250, 244, 214))


@functools.cache
def _crescent() -> list[tuple[float, float]]:
    """Outline of a unit disc out of which a smaller one is bitten at the upper right."""
    bite_x, bite_y, bite_radius = 0.45, -0.25, 0.86
    angles = [math.radians(5 * k) for k in range(72)]
    start = math.atan2(bite_y, bite_x)  # from here the rim is walked around, so that it comes in one piece
    rim = [(math.cos(start + a), math.sin(start + a)) for a in angles]
    rim = [p for p in rim if math.dist(p, (bite_x, bite_y)) > bite_radius]
    bite = [(bite_x + bite_radius * math.cos(start - a), bite_y + bite_radius * math.sin(start - a)) for a in angles]
    return rim + [p for p in bite if math.hypot(*p) < 1]


_BODIES = {"sunset": _sunset, "sunrise": _sunrise, "day": _day, "night": _night}
