"""Astronaut, rider, robot, rocket and campfire."""

from training.drawing.animals import draw_horse
from training.drawing.canvas import mix, shade
from training.drawing.content import Colour
from training.drawing.figure import Figure

_SUIT, _SUIT_SHADE, _METAL, _BOOT = (244, 245, 249), (204, 209, 221), (150, 158, 174), (98, 106, 126)
_WHITE = (255, 255, 255)


def draw_astronaut(figure: Figure, colour: None) -> None:
    """Standing astronaut in a white suit with golden visor, one arm raised."""
    figure.box(-2.5, 6.9, 2.5, 2.9, _METAL, 0.7)
    for side in (1, -1):
        figure.limb([(side * 0.95, 3.6), (side * 1.05, 0.9)], (1.7, 1.5), _SUIT)
        figure.box(side * 1.1 - 0.95, 0.95, side * 1.1 + 0.95, 0, _BOOT, 0.4)
    figure.limb([(-1.6, 6.0), (-2.8, 4.8), (-3.0, 3.7)], (1.35, 1.15), _SUIT_SHADE)
    figure.oval(-3.0, 3.4, 0.68, 0.68, _BOOT)
    figure.limb([(1.6, 6.0), (3.0, 6.3), (3.5, 7.8)], (1.35, 1.15), _SUIT)
    figure.oval(3.6, 8.2, 0.68, 0.68, _BOOT)
    _torso(figure)
    _helmet(figure, 0, 8.05)


def _torso(figure: Figure) -> None:
    figure.box(-1.95, 6.9, 1.95, 2.8, _SUIT, 0.95)
    figure.box(-1.95, 3.55, 1.95, 3.05, _SUIT_SHADE, 0.1)
    figure.box(-1.05, 5.6, 1.05, 4.3, (62, 112, 204), 0.25)
    figure.oval(-0.5, 4.95, 0.28, 0.28, (250, 90, 78))
    figure.oval(0.45, 4.95, 0.28, 0.28, (255, 214, 92))


def _helmet(figure: Figure, x: float, up: float) -> None:
    figure.oval(x, up, 2.15, 1.95, _SUIT)
    figure.oval(x + 0.1, up - 0.05, 1.66, 1.36, (196, 116, 34))
    figure.oval(x + 0.1, up + 0.05, 1.56, 1.2, (248, 180, 66))
    figure.oval(x + 0.6, up + 0.5, 0.62, 0.4, (255, 234, 178))


def draw_rider(figure: Figure, colour: Colour) -> None:
    """Astronaut sitting on a horse seen from the side; the colour is the horse's."""
    horse = Figure(figure.canvas, *figure.at(0, 0), 7.4 * figure.unit, figure.facing)
    draw_horse(horse, colour)
    seat_x, seat = -0.35, 4.55
    figure.box(seat_x - 1.25, seat + 0.25, seat_x + 1.15, seat - 0.85, (188, 56, 52), 0.35)
    figure.box(seat_x - 1.85, 7.3, seat_x - 0.4, 5.0, _METAL, 0.5)
    figure.limb([(seat_x - 0.1, 4.9), (seat_x + 0.75, 4.1), (seat_x + 0.45, 2.6)], (1.35, 1.05), _SUIT)
    figure.box(seat_x + 0.0, 2.75, seat_x + 1.3, 2.05, _BOOT, 0.3)
    figure.box(seat_x - 1.0, 7.4, seat_x + 0.95, 4.5, _SUIT, 0.8)
    figure.box(seat_x - 1.0, 5.25, seat_x + 0.95, 4.9, _SUIT_SHADE, 0.1)
    figure.box(seat_x + 0.2, 6.6, seat_x + 0.85, 6.0, (62, 112, 204), 0.15)
    figure.limb([(seat_x + 0.1, 6.7), (seat_x + 0.9, 5.7), (seat_x + 2.0, 5.75)], (1.0, 0.85), _SUIT_SHADE)
    figure.oval(seat_x + 2.15, 5.78, 0.46, 0.46, _BOOT)
    helmet = Figure(figure.canvas, *figure.at(seat_x + 0.1, 0), 8.4 * figure.unit, figure.facing)
    _helmet(helmet, 0, 9.95)


def draw_robot(figure: Figure, colour: Colour) -> None:
    """Boxy robot with a dark face plate, bright eyes, antenna and claws."""
    joint, screen, lamp = (132, 140, 156), (34, 48, 72), (110, 236, 240)
    dark, light = shade(colour, 0.76), mix(colour, _WHITE, 0.3)
    for side in (1, -1):
        figure.limb([(side * 1.0, 3.2), (side * 1.0, 0.9)], (0.85, 0.85), joint)
        figure.box(side * 1.1 - 0.95, 1.05, side * 1.1 + 0.95, 0, dark, 0.4)
        figure.limb([(side * 2.0, 5.7), (side * 3.1, 5.0), (side * 3.3, 3.9)], (0.8, 0.75), joint)
        figure.oval(side * 3.3, 3.4, 0.8, 0.8, dark)
        figure.oval(side * 2.15, 5.8, 0.75, 0.75, dark)
    figure.box(-2.1, 6.5, 2.1, 2.5, colour, 0.6)
    figure.box(-1.4, 5.8, 1.4, 3.5, light, 0.4)
    figure.oval(0, 4.65, 0.78, 0.78, screen)
    figure.oval(0, 4.65, 0.5, 0.5, lamp)
    figure.box(-0.6, 7.0, 0.6, 6.3, joint, 0.1)
    figure.limb([(0, 9.2), (0, 9.8)], (0.36, 0.36), joint)
    figure.oval(0, 9.85, 0.46, 0.46, (255, 120, 96))
    for side in (1, -1):
        figure.box(side * 2.4 - 0.5, 8.6, side * 2.4 + 0.5, 7.4, dark, 0.3)
    figure.box(-2.4, 9.4, 2.4, 6.75, colour, 0.75)
    figure.box(-1.85, 8.95, 1.85, 7.25, screen, 0.5)
    for side in (1, -1):
        figure.oval(side * 0.9, 8.2, 0.48, 0.48, lamp)
    figure.box(-0.6, 7.65, 0.6, 7.42, lamp, 0.1)


def draw_rocket(figure: Figure, colour: Colour) -> None:
    """Rocket standing on three fins: painted body, white nose, round window."""
    white, dark = (246, 246, 248), shade(colour, 0.72)
    figure.polygon([(-0.7, 1.5), (0.7, 1.5), (1.0, 0.6), (-1.0, 0.6)], _BOOT)
    for side in (1, -1):
        points = [(1.2, 3.8), (2.3, 2.6), (2.9, 0.9), (2.8, 0), (2.2, 0.6), (1.2, 1.5)]
        figure.polygon([(side * x, up) for x, up in points], white if side > 0 else _SUIT_SHADE)
    figure.blob(
        [
            (0, 10.2),
            (1.15, 8.4),
            (1.75, 6.2),
            (1.75, 3.8),
            (1.1, 1.3),
            (-1.1, 1.3),
            (-1.75, 3.8),
            (-1.75, 6.2),
            (-1.15, 8.4),
        ],
        colour,
    )
    figure.blob([(0, 10.25), (0.65, 9.4), (1.12, 8.35), (0, 8.1), (-1.12, 8.35), (-0.65, 9.4)], white)
    figure.box(-1.78, 4.0, 1.78, 3.45, white, 0.1)
    figure.oval(0, 6.1, 1.12, 1.12, white)
    figure.oval(0, 6.1, 0.82, 0.82, (52, 92, 146))
    figure.oval(-0.22, 6.35, 0.38, 0.34, (150, 206, 240))
    figure.polygon([(-0.28, 3.0), (0.28, 3.0), (0.28, 0), (-0.28, 0)], dark)


def draw_campfire(figure: Figure, colour: None) -> None:
    """Burning logs between stones, with tall flames."""
    log, end, stone = (118, 74, 46), (214, 166, 112), (140, 140, 150)
    figure.blob(
        [
            (-2.3, 1.4),
            (-3.0, 3.4),
            (-2.2, 5.2),
            (-1.9, 6.9),
            (-1.0, 6.0),
            (-0.4, 8.0),
            (0.2, 10.0),
            (1.1, 7.6),
            (1.5, 5.8),
            (2.1, 6.8),
            (2.8, 4.4),
            (2.6, 1.6),
            (0, 0.8),
        ],
        (240, 84, 30),
    )
    figure.blob(
        [(-1.7, 1.3), (-2.0, 3.0), (-1.2, 4.8), (-0.6, 5.4), (0.1, 7.6), (0.9, 5.4), (1.7, 4.2), (1.8, 1.6), (0, 0.9)],
        (255, 154, 36),
    )
    figure.blob([(-1.0, 1.2), (-1.1, 2.6), (-0.4, 4.0), (0.1, 5.2), (0.8, 3.6), (1.0, 1.6), (0, 0.9)], (255, 226, 92))
    for side in (1, -1):
        figure.limb([(side * -2.7, 0.5), (side * 2.3, 1.7)], (1.05, 1.05), log if side > 0 else shade(log, 0.8))
        figure.oval(side * 2.4, 1.72, 0.42, 0.5, end)
    for x in (-3.2, -1.6, 0, 1.6, 3.2):
        figure.oval(x, 0.25, 0.85, 0.55, shade(stone, 1.0 - 0.04 * abs(x)))
