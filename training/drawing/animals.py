"""Cat, dog, horse, fox and owl."""

from training.drawing.canvas import mix, shade
from training.drawing.content import Colour
from training.drawing.figure import Figure

_WHITE, _INK, _PINK = (255, 255, 255), (22, 20, 28), (236, 142, 150)


def draw_cat(figure: Figure, colour: Colour) -> None:
    """Sitting cat seen from the front, its tail curled to one side."""
    dark, light = _dark(colour, 0.8), mix(colour, _WHITE, 0.42 if sum(colour) > 200 else 0.2)
    figure.limb([(1.4, 0.7), (3.2, 0.6), (4.3, 1.8), (4.1, 3.6), (3.3, 4.5)], (1.2, 1.1, 0.9), dark)
    figure.blob(
        [
            (0, 6.2),
            (1.5, 5.4),
            (2.2, 3.4),
            (2.7, 1.3),
            (1.8, 0.1),
            (0, 0),
            (-1.8, 0.1),
            (-2.7, 1.3),
            (-2.2, 3.4),
            (-1.5, 5.4),
        ],
        colour,
    )
    for side in (1, -1):
        figure.oval(side * 1.95, 1.05, 1.05, 1.05, dark)
    figure.blob([(0, 5.2), (1.25, 4.3), (1.0, 3.2), (0, 2.5), (-1.0, 3.2), (-1.25, 4.3)], light)
    for side in (1, -1):
        figure.limb([(side * 0.72, 2.5), (side * 0.75, 0.5)], (1.1, 1.1), mix(colour, light, 0.3))
        figure.oval(side * 0.8, 0.4, 0.72, 0.42, light)
    figure.both_sides([(2.55, 6.6), (2.45, 8.8), (2.15, 9.95), (1.2, 9.1), (0.5, 8.6), (0.9, 7.2)], colour)
    figure.both_sides([(2.1, 8.1), (2.05, 9.2), (1.3, 8.7), (1.2, 8.2)], _PINK)
    figure.blob(
        [
            (0, 8.75),
            (1.5, 8.5),
            (2.6, 7.3),
            (2.5, 6.1),
            (1.4, 5.1),
            (0, 4.85),
            (-1.4, 5.1),
            (-2.5, 6.1),
            (-2.6, 7.3),
            (-1.5, 8.5),
        ],
        colour,
    )
    for side in (1, -1):
        figure.oval(side * 0.52, 5.85, 0.72, 0.55, light)
        figure.oval(side * 1.15, 7.0, 0.66, 0.7, (150, 208, 92))
        figure.oval(side * 1.1, 7.0, 0.3, 0.6, _INK)
        figure.oval(side * 1.1 + 0.15, 7.28, 0.17, 0.17, _WHITE)
    figure.blob([(0.4, 6.38), (0, 5.95), (-0.4, 6.38), (0, 6.45)], (228, 112, 124))


def draw_dog(figure: Figure, colour: Colour) -> None:
    """Sitting dog with hanging ears, broad muzzle, tongue and red collar."""
    dark, light = _dark(colour, 0.62), mix(colour, _WHITE, 0.5 if sum(colour) > 200 else 0.25)
    figure.limb([(1.6, 0.9), (3.1, 1.5), (3.7, 3.2)], (1.0, 0.5), colour)
    figure.blob(
        [
            (0, 6.0),
            (1.7, 5.2),
            (2.3, 3.2),
            (2.7, 1.2),
            (1.9, 0.1),
            (0, 0),
            (-1.9, 0.1),
            (-2.7, 1.2),
            (-2.3, 3.2),
            (-1.7, 5.2),
        ],
        colour,
    )
    figure.blob([(0, 4.9), (1.4, 4.4), (1.15, 3.2), (0, 2.5), (-1.15, 3.2), (-1.4, 4.4)], light)
    for side in (1, -1):
        figure.oval(side * 2.05, 1.0, 1.0, 1.0, shade(colour, 0.86))
        figure.limb([(side * 0.92, 2.5), (side * 0.95, 0.6)], (1.15, 1.2), mix(colour, light, 0.25))
        figure.oval(side * 1.0, 0.45, 0.82, 0.46, light)
    figure.box(-1.5, 5.3, 1.5, 4.55, (214, 48, 52), 0.35)
    figure.oval(0, 4.45, 0.42, 0.42, (250, 208, 84))
    figure.blob(
        [
            (0, 10),
            (1.6, 9.5),
            (2.2, 8.0),
            (1.9, 6.2),
            (0.9, 5.2),
            (0, 5.0),
            (-0.9, 5.2),
            (-1.9, 6.2),
            (-2.2, 8.0),
            (-1.6, 9.5),
        ],
        colour,
    )
    figure.both_sides([(1.3, 9.6), (2.5, 9.2), (3.1, 7.4), (2.9, 5.6), (2.2, 5.3), (1.8, 6.8)], dark)
    figure.blob(
        [(0, 7.6), (1.0, 7.0), (1.35, 6.2), (0.8, 5.4), (0, 5.25), (-0.8, 5.4), (-1.35, 6.2), (-1.0, 7.0)], light
    )
    figure.blob([(0.45, 5.65), (0.42, 4.7), (0, 4.45), (-0.42, 4.7), (-0.45, 5.65)], (238, 104, 122))
    figure.blob([(0.65, 7.05), (0, 7.25), (-0.65, 7.05), (0, 6.3)], _INK)
    for side in (1, -1):
        figure.oval(side * 1.0, 8.05, 0.5, 0.52, _WHITE)
        figure.oval(side * 0.95, 8.0, 0.38, 0.42, _INK)
        figure.oval(side * 0.95 + 0.13, 8.17, 0.14, 0.14, _WHITE)


def draw_horse(figure: Figure, colour: Colour) -> None:
    """Standing horse seen from the side."""
    mane = (64, 42, 32) if sum(colour) > 200 else (96, 92, 104)
    if sum(colour) > 600:
        mane = (196, 184, 168)
    far, hoof = shade(colour, 0.72), (58, 50, 52)
    figure.limb([(-3.1, 6.0), (-4.1, 5.6), (-4.4, 4.0), (-4.0, 2.0)], (0.7, 1.2, 0.3), mane)
    for x, coat in ((-2.0, far), (1.6, far), (-2.9, colour), (2.4, colour)):
        knee = x + (0.25 if x < 0 else -0.05)
        figure.limb([(x, 5.0), (knee, 2.9), (x, 0.5)], (1.5, 0.8, 0.62), coat)
        figure.polygon([(x - 0.42, 0), (x + 0.52, 0), (x + 0.34, 0.62), (x - 0.32, 0.62)], hoof)
    figure.blob(
        [
            (-3.4, 5.8),
            (-2.6, 6.6),
            (-0.6, 6.35),
            (1.4, 6.6),
            (2.9, 6.4),
            (3.3, 5.2),
            (2.4, 4.0),
            (0, 3.7),
            (-2.2, 3.9),
            (-3.4, 4.6),
        ],
        colour,
    )
    figure.blob(
        [(1.1, 6.4), (2.4, 8.6), (3.2, 9.6), (4.1, 9.3), (4.2, 8.2), (3.7, 6.8), (3.3, 5.2), (2.0, 5.0)], colour
    )
    figure.blob(
        [(3.0, 9.5), (3.9, 9.6), (4.9, 8.7), (6.0, 7.7), (6.1, 7.0), (5.4, 6.75), (4.4, 7.3), (3.4, 8.0)], colour
    )
    figure.blob(
        [(5.4, 8.0), (6.05, 7.7), (6.15, 7.0), (5.5, 6.75), (5.15, 7.2)],
        shade(colour, 0.76) if sum(colour) > 200 else mix(colour, _WHITE, 0.22),
    )
    figure.blob([(3.2, 9.3), (3.25, 10.4), (3.55, 10.5), (3.95, 9.5)], colour)
    figure.blob(
        [(3.5, 10.1), (2.8, 10.0), (1.8, 8.8), (1.1, 7.2), (0.7, 6.2), (1.4, 6.2), (2.1, 7.2), (2.9, 8.8)], mane
    )
    figure.blob([(3.2, 10.0), (4.1, 9.8), (4.3, 9.1), (3.7, 9.3)], mane)
    figure.oval(4.45, 8.65, 0.24, 0.26, _INK)
    figure.oval(5.75, 7.35, 0.15, 0.12, _INK)


def draw_fox(figure: Figure, colour: None) -> None:
    """Standing orange fox, body from the side, face to the front, with a big white-tipped tail."""
    coat, cream, sock = (232, 108, 36), (255, 244, 228), (66, 40, 36)
    figure.blob(
        [(-2.2, 4.6), (-3.6, 4.2), (-5.2, 4.8), (-6.3, 6.6), (-5.9, 7.8), (-4.8, 7.0), (-3.4, 6.4), (-2.2, 5.6)], coat
    )
    figure.blob([(-6.3, 6.4), (-6.5, 7.5), (-5.9, 8.4), (-5.2, 7.4), (-5.3, 6.7), (-5.8, 6.7)], cream)
    for x, near in ((-1.7, False), (1.5, False), (-2.4, True), (0.8, True)):
        figure.limb([(x, 3.8), (x + 0.1, 2.0)], (1.3, 0.9), coat if near else shade(coat, 0.76))
        figure.limb([(x + 0.1, 2.0), (x + 0.1, 0.35)], (0.85, 0.7), sock if near else shade(sock, 0.8))
    figure.blob(
        [(-3.0, 4.6), (-2.4, 5.6), (0, 5.3), (1.9, 5.9), (2.5, 4.4), (1.7, 2.9), (-0.6, 2.9), (-2.4, 2.9)], coat
    )
    figure.blob([(1.2, 5.6), (2.6, 5.2), (2.5, 3.6), (1.6, 2.7), (1.0, 3.8)], cream)
    x = 1.7
    for side in (1, -1):
        figure.blob(
            [
                (x + side * 2.2, 7.3),
                (x + side * 2.05, 9.2),
                (x + side * 1.75, 10.1),
                (x + side * 0.9, 9.0),
                (x + side * 0.4, 8.2),
            ],
            coat,
        )
        figure.blob([(x + side * 1.85, 8.3), (x + side * 1.7, 9.3), (x + side * 1.1, 8.7)], sock)
    figure.blob(
        [
            (x, 8.7),
            (x + 1.5, 8.4),
            (x + 2.7, 6.7),
            (x + 1.1, 5.5),
            (x, 4.7),
            (x - 1.1, 5.5),
            (x - 2.7, 6.7),
            (x - 1.5, 8.4),
        ],
        coat,
    )
    for side in (1, -1):
        figure.blob(
            [(x + side * 0.1, 6.2), (x + side * 1.2, 6.9), (x + side * 2.75, 6.6), (x + side * 1.2, 5.5), (x, 4.75)],
            cream,
        )
        figure.oval(x + side * 1.05, 7.2, 0.34, 0.42, _INK)
        figure.oval(x + side * 1.05 + 0.1, 7.36, 0.13, 0.13, _WHITE)
    figure.oval(x, 5.1, 0.5, 0.4, _INK)


def draw_owl(figure: Figure, colour: None) -> None:
    """Brown owl seen from the front, with huge eyes."""
    coat, belly, wing = (150, 104, 66), (240, 214, 170), (110, 72, 46)
    for side in (1, -1):
        figure.oval(side * 1.1, 0.3, 0.85, 0.42, (246, 176, 60))
    figure.blob(
        [
            (0, 9.2),
            (2.4, 8.8),
            (3.2, 6.6),
            (3.1, 3.2),
            (2.0, 0.8),
            (0, 0.2),
            (-2.0, 0.8),
            (-3.1, 3.2),
            (-3.2, 6.6),
            (-2.4, 8.8),
        ],
        coat,
    )
    figure.blob([(0, 5.6), (1.7, 4.8), (1.8, 2.6), (0, 0.7), (-1.8, 2.6), (-1.7, 4.8)], belly)
    for x, up in ((-0.8, 3.9), (0.8, 3.9), (0, 2.9), (-0.8, 1.95), (0.8, 1.95)):
        figure.oval(x, up, 0.42, 0.3, (206, 160, 108))
    figure.both_sides([(2.6, 6.0), (3.7, 4.6), (3.5, 2.2), (2.4, 0.9), (2.0, 2.6), (2.1, 4.6)], wing)
    figure.both_sides([(0.6, 8.9), (2.3, 10.2), (3.05, 10.0), (2.9, 7.6), (1.6, 8.2)], wing)
    for side in (1, -1):
        figure.oval(side * 1.4, 7.1, 1.55, 1.55, belly)
    for side in (1, -1):
        figure.oval(side * 1.3, 7.1, 1.08, 1.08, (252, 196, 56))
        figure.oval(side * 1.25, 7.1, 0.64, 0.64, _INK)
        figure.oval(side * 1.25 + 0.24, 7.38, 0.23, 0.23, _WHITE)
    figure.blob([(0.55, 6.5), (0, 6.75), (-0.55, 6.5), (0, 5.3)], (246, 162, 46))


def _dark(colour: Colour, factor: float) -> Colour:
    """Darker tone of a coat; a black coat gets lighter instead, or the parts would merge."""
    return shade(colour, factor) if sum(colour) > 200 else mix(colour, (110, 112, 130), 0.28)
