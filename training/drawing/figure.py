"""A canvas in the coordinates of one figure: feet at height 0, head at height 10, x to where it faces."""

from collections.abc import Sequence

from training.drawing.canvas import Canvas, Point
from training.drawing.content import Colour

HEIGHT = 10.0  # figure units


class Figure:
    """Draws on a canvas; facing is 1 when the figure looks right and -1 when it looks left."""

    def __init__(self, canvas: Canvas, x: float, feet_y: float, height: float, facing: int):
        self.canvas, self.x, self.feet_y, self.facing = canvas, x, feet_y, facing
        self.unit = height / HEIGHT

    def at(self, x: float, up: float) -> Point:
        return self.x + self.facing * x * self.unit, self.feet_y - up * self.unit

    def oval(self, x: float, up: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        self.canvas.ellipse(*self.at(x, up), radius_x * self.unit, radius_y * self.unit, colour)

    def blob(self, points: Sequence[Point], colour: Colour) -> None:
        self.canvas.blob([self.at(*point) for point in points], colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.canvas.polygon([self.at(*point) for point in points], colour)

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Smooth stroke with round ends; widths in figure units."""
        self.canvas.stroke([self.at(*point) for point in points], [w * self.unit for w in widths], colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float) -> None:
        (x0, y0), (x1, y1) = self.at(left, top), self.at(right, bottom)
        self.canvas.box(min(x0, x1), y0, max(x0, x1), y1, colour, radius * self.unit)

    def both_sides(self, points: Sequence[Point], colour: Colour) -> None:
        """The same blob on both sides of the middle line."""
        for side in (1, -1):
            self.blob([(side * x, up) for x, up in points], colour)
