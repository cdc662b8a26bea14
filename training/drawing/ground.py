"""Ground that subjects stand on."""

import random
from dataclasses import dataclass

from training.drawing.canvas import Canvas, curve
from training.drawing.content import Colour
from training.drawing.sky import Light


@dataclass(frozen=True)
class Ground:
    """Where subjects stand: height of their feet (0..1 from the top) and the light on them."""

    y: float
    light: Light


def hill(canvas: Canvas, level: float, swing: float, upper: Colour, lower: Colour, rng: random.Random) -> None:
    """Gently rolling ground from about `level` to the bottom edge."""
    line = [(-0.1 + 0.3 * k, level + rng.uniform(-swing, swing)) for k in range(5)]
    canvas.gradient_polygon([*curve(line, closed=False), (1.1, 1.02), (-0.1, 1.02)], upper, lower)
