"""A supersampled canvas in unit coordinates, with smooth curves, gradients and soft light."""

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.drawing.content import Colour

SIZE = 256  # pixels of the finished picture, each way
OVERSAMPLING = 2
PIXELS = SIZE * OVERSAMPLING
SOFT_PIXELS = 128  # blurred masks are made at this size: their detail is coarse, and it is 16 times cheaper

Point = tuple[float, float]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Colour between two: first at share 0, second at share 1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def shade(colour: Colour, factors: Sequence[float] | float) -> Colour:
    """Colour multiplied by one factor, or one for each channel, and clipped to 0..255."""
    if isinstance(factors, int | float):
        factors = (factors, factors, factors)
    return tuple(max(0, min(255, round(c * f))) for c, f in zip(colour, factors, strict=True))


def jitter(rng: random.Random, colour: Colour, reach: int = 8) -> Colour:
    """Colour with every channel moved by at most `reach`."""
    return tuple(max(0, min(255, c + rng.randint(-reach, reach))) for c in colour)


def curve(points: Sequence[Point], closed: bool, steps: int = 8) -> list[Point]:
    """Catmull-Rom spline through the points."""
    count = len(points)
    spline = []
    for i in range(count if closed else count - 1):
        index = [i - 1, i, i + 1, i + 2]
        index = [k % count for k in index] if closed else [min(max(k, 0), count - 1) for k in index]
        p0, p1, p2, p3 = (points[k] for k in index)
        for step in range(steps):
            t = step / steps
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            spline.append(
                tuple(
                    0.5 * (weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d)
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )
            )
    return spline if closed else [*spline, points[-1]]


def column(stops: Sequence[tuple[float, Colour]], height: int) -> Image.Image:
    """Image one pixel wide with a vertical gradient; stops are (position 0..1, colour), ascending."""
    positions = np.linspace(0, 1, height)
    channels = [np.interp(positions, [s[0] for s in stops], [s[1][k] for s in stops]) for k in range(3)]
    return Image.fromarray(np.stack(channels, axis=1).round().astype(np.uint8)[:, None, :])


class Canvas:
    """RGB or RGBA image of PIXELS x PIXELS; coordinates run from 0 to 1, x right and y down."""

    def __init__(self, image: Image.Image):
        self.image = image
        self.pen = ImageDraw.Draw(image)

    @classmethod
    def blank(cls) -> "Canvas":
        return cls(Image.new("RGB", (PIXELS, PIXELS)))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.pen.polygon([(x * PIXELS, y * PIXELS) for x, y in points], fill=colour)

    def blob(self, points: Sequence[Point], colour: Colour) -> None:
        """Closed smooth shape through the points."""
        self.polygon(curve(points, closed=True), colour)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        box = [x - radius_x, y - radius_y, x + radius_x, y + radius_y]
        self.pen.ellipse([value * PIXELS for value in box], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0) -> None:
        edges = [value * PIXELS for value in (left, top, right, bottom)]
        if radius:
            self.pen.rounded_rectangle(edges, radius=radius * PIXELS, fill=colour)
        else:
            self.pen.rectangle(edges, fill=colour)

    def stroke(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Smooth line with round ends whose width runs through `widths` at equal distances."""
        path = curve(points, closed=False)
        at = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(widths)), widths)
        left, right = [], []
        for k, (x, y) in enumerate(path):
            ahead, behind = path[min(k + 1, len(path) - 1)], path[max(k - 1, 0)]
            angle = math.atan2(ahead[1] - behind[1], ahead[0] - behind[0])
            dx, dy = -math.sin(angle) * at[k] / 2, math.cos(angle) * at[k] / 2
            left.append((x + dx, y + dy))
            right.append((x - dx, y - dy))
        self.polygon(left + right[::-1], colour)
        for (x, y), width in ((path[0], at[0]), (path[-1], at[-1])):
            self.ellipse(x, y, width / 2, width / 2, colour)

    def gradient(self, stops: Sequence[tuple[float, Colour]], top: float = 0.0, bottom: float = 1.0) -> None:
        """Vertical gradient over the full width between two heights."""
        first, last = round(top * PIXELS), round(bottom * PIXELS)
        strip = column(stops, last - first).resize((PIXELS, last - first), Image.Resampling.NEAREST)
        self.image.paste(strip, (0, first))

    def gradient_polygon(self, points: Sequence[Point], upper: Colour, lower: Colour) -> None:
        """Polygon filled with a vertical gradient from its highest to its lowest point."""
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        left, top = max(0, int(min(xs) * PIXELS)), max(0, int(min(ys) * PIXELS))
        right, bottom = min(PIXELS, int(max(xs) * PIXELS) + 1), min(PIXELS, int(max(ys) * PIXELS) + 1)
        size = (right - left, bottom - top)
        if min(size) <= 0:
            return  # wholly outside of the picture
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon([(x * PIXELS - left, y * PIXELS - top) for x, y in points], fill=255)
        fill = column([(0, upper), (1, lower)], size[1]).resize(size, Image.Resampling.NEAREST)
        self.image.paste(fill, (left, top), mask)

    def glow(self, x: float, y: float, radius: float, colour: Colour, opacity: float) -> None:
        """Round light that fades to nothing at the radius."""
        side = max(2, round(2 * radius * PIXELS))
        fade = Image.radial_gradient("L").point([round(255 * opacity * max(0.0, 1 - v / 180) ** 2) for v in range(256)])
        mask = fade.resize((side, side), Image.Resampling.BILINEAR)
        corner = (round(x * PIXELS) - side // 2, round(y * PIXELS) - side // 2)
        self.image.paste(colour, (*corner, corner[0] + side, corner[1] + side), mask)

    def haze(self, mask: "SoftMask", colour: Colour, opacity: float) -> None:
        """Lay a colour over the canvas where a soft mask is bright."""
        self.image.paste(colour, (0, 0, PIXELS, PIXELS), mask.finished(opacity))


class SoftMask:
    """Small mask in unit coordinates that is blurred and enlarged: for clouds, mist, rays and shadows."""

    def __init__(self, blur: float):
        self.image = Image.new("L", (SOFT_PIXELS, SOFT_PIXELS))
        self.pen = ImageDraw.Draw(self.image)
        self.blur_pixels = blur * SOFT_PIXELS

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, level: int = 255) -> None:
        box = [x - radius_x, y - radius_y, x + radius_x, y + radius_y]
        self.pen.ellipse([value * SOFT_PIXELS for value in box], fill=level)

    def polygon(self, points: Sequence[Point], level: int = 255) -> None:
        self.pen.polygon([(x * SOFT_PIXELS, y * SOFT_PIXELS) for x, y in points], fill=level)

    def finished(self, opacity: float) -> Image.Image:
        soft = self.image.filter(ImageFilter.GaussianBlur(self.blur_pixels))
        return soft.point([round(v * opacity) for v in range(256)]).resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
