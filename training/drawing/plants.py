"""Trees and other plants of the places."""

from training.drawing.canvas import Canvas, shade
from training.drawing.content import Colour
from training.drawing.sky import Light


def fir(canvas: Canvas, x: float, y: float, height: float, colour: Colour, snow: Colour | None = None) -> None:
    """Conifer with its foot at (x, y); `snow` is laid on its three tiers."""
    canvas.box(x - height * 0.035, y - height * 0.2, x + height * 0.035, y, shade(colour, 0.6))
    for k, (low, high, width) in enumerate(((0.1, 0.55, 0.27), (0.34, 0.78, 0.21), (0.58, 1.0, 0.15))):
        bottom, top, half = y - low * height, y - high * height, width * height
        canvas.polygon([(x - half, bottom), (x, top), (x + half, bottom)], shade(colour, 0.92 + 0.06 * k))
        if snow is not None:
            cut = top + (bottom - top) * 0.55
            canvas.polygon([(x - half * 0.55, cut), (x, top), (x + half * 0.55, cut), (x, cut + 0.012)], snow)


def palm(canvas: Canvas, x: float, y: float, side: int, light: Light) -> None:
    """Palm tree at the side of the picture (side -1 left, 1 right) that leans in."""
    trunk, leaf = light.on((150, 108, 70)), light.on((46, 140, 84))
    top_x, top_y = x - side * 0.1, y - 0.66
    canvas.stroke(
        [(x, y), (x - side * 0.005, y - 0.25), (x - side * 0.04, y - 0.46), (top_x, top_y)], (0.058, 0.036), trunk
    )
    for dx, dy, fall in (
        (-0.2, 0.02, 0.1),
        (0.2, 0.02, 0.1),
        (-0.14, -0.09, 0.0),
        (0.14, -0.09, 0.0),
        (-0.13, 0.1, 0.12),
        (0.12, 0.12, 0.1),
    ):
        middle = (top_x + dx * 0.55, top_y + dy - 0.035)
        colour = leaf if dy < 0.05 else shade(leaf, 0.82)
        canvas.stroke([(top_x, top_y), middle, (top_x + dx, top_y + dy + fall)], (0.034, 0.052, 0.008), colour)
    for dx in (-0.022, 0.022):
        canvas.ellipse(top_x + dx, top_y + 0.022, 0.021, 0.021, light.on((112, 72, 46)))


def cactus(canvas: Canvas, x: float, y: float, height: float, light: Light) -> None:
    """Saguaro cactus with two arms, its foot at (x, y)."""
    green = light.on((72, 150, 86))
    width = height * 0.19
    for side, low, high, reach in ((-1, 0.36, 0.66, 0.25), (1, 0.48, 0.8, 0.24)):
        elbow_x, elbow_y = x + side * reach * height, y - low * height
        path = [
            (x, elbow_y),
            (elbow_x - side * 0.02, elbow_y - 0.003),
            (elbow_x, elbow_y - 0.03),
            (elbow_x, y - high * height),
        ]
        canvas.stroke(path, (width * 0.62, width * 0.62), shade(green, 0.9))
    canvas.box(x - width / 2, y - height, x + width / 2, y, green, width / 2)
    canvas.box(x - width * 0.3, y - height * 0.94, x - width * 0.06, y - height * 0.06, shade(green, 1.16), width * 0.1)


def pot_plant(canvas: Canvas, x: float, y: float, light: Light) -> None:
    """Plant with round leaves in a clay pot that stands on y."""
    leaf, clay = light.on((74, 158, 92)), light.on((202, 104, 66))
    for dx, dy, size in (
        (-0.05, -0.15, 0.044),
        (0.05, -0.145, 0.044),
        (-0.024, -0.2, 0.042),
        (0.03, -0.205, 0.04),
        (0, -0.15, 0.046),
    ):
        canvas.ellipse(x + dx, y + dy, size * 0.8, size, shade(leaf, 1.0 + dx * 3))
    canvas.polygon([(x - 0.062, y - 0.105), (x + 0.062, y - 0.105), (x + 0.046, y), (x - 0.046, y)], clay)
    canvas.box(x - 0.07, y - 0.12, x + 0.07, y - 0.085, shade(clay, 0.88), 0.008)
