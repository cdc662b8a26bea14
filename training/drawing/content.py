"""What a drawn picture can show, which combinations make sense, and how often each is drawn."""

import random
from dataclasses import dataclass

Colour = tuple[int, int, int]

SUBJECTS = ("none", "cat", "dog", "horse", "astronaut", "robot", "rider", "fox", "owl", "rocket", "campfire")
PLACES = ("mountains", "beach", "mars", "moon", "windowsill", "forest", "desert", "city", "snow")
TIMES = ("sunset", "sunrise", "day", "night")
STYLES = ("plain", "digital art", "watercolor", "pixel art", "pencil sketch", "oil painting")
FUR: dict[str, Colour] = {
    "black": (36, 36, 45),
    "white": (243, 240, 233),
    "orange": (238, 142, 48),
    "gray": (150, 155, 167),
    "brown": (128, 78, 42),
}
PAINT: dict[str, Colour] = {
    "red": (216, 56, 52),
    "blue": (54, 112, 214),
    "green": (66, 166, 84),
    "yellow": (252, 214, 52),
}
PLACES_WITHOUT_TIME = ("mars", "moon")
STYLES_WITHOUT_COLOUR = ("pencil sketch",)
COLOURS_OF = {
    "cat": tuple(FUR),
    "dog": tuple(FUR),
    "horse": tuple(FUR),
    "rider": tuple(FUR),
    "robot": tuple(PAINT),
    "rocket": tuple(PAINT),
}
PLACES_WITH_FIRE = ("mountains", "beach", "mars", "forest", "desert", "snow")
SUBJECTS_WITH_FIRE = ("cat", "dog", "horse", "astronaut", "robot", "rider", "fox", "owl")

_SUBJECT_WEIGHTS = {"none": 11, "cat": 14, "dog": 12, "horse": 10, "astronaut": 11, "robot": 11, "rider": 10}
_SUBJECT_WEIGHTS |= {"fox": 8, "owl": 7, "rocket": 7, "campfire": 6}
_STYLE_WEIGHTS = {"plain": 30, "digital art": 30, "watercolor": 11, "pixel art": 10, "pencil sketch": 9}
_STYLE_WEIGHTS |= {"oil painting": 10}
_STUDY_SHARE = 0.09  # a third of it for each prompt of the study
_FIRE_BESIDE_SHARE = 0.15  # of the scenes where a fire can stand beside the subject


@dataclass(frozen=True)
class Scene:
    """Everything that the picture's content depends on, except jitter.

    subject: one of SUBJECTS; 'none' for landscapes. place: one of PLACES. time: one of TIMES, None on Mars
    and the Moon. colour: key of FUR or PAINT, None for subjects without colour and in pencil sketches; the
    horse's colour for 'rider'. style: one of STYLES. campfire: a fire with flames is in the picture.
    """

    subject: str
    place: str
    time: str | None
    colour: str | None
    style: str
    campfire: bool


def allowed_places(subject: str) -> tuple[str, ...]:
    """Places in which a subject makes sense, a subset of PLACES."""
    if subject == "campfire":
        return PLACES_WITH_FIRE
    if subject in ("horse", "rider", "rocket"):
        return tuple(place for place in PLACES if place != "windowsill")
    return PLACES


def sample_scene(rng: random.Random) -> Scene:
    """Draw one sensible scene; the scenes that match the three study prompts are made more frequent."""
    style = _weighted(rng, _STYLE_WEIGHTS)
    if rng.random() < _STUDY_SHARE:
        return _study_scene(rng)
    subject = _weighted(rng, _SUBJECT_WEIGHTS)
    place = rng.choice(allowed_places(subject))
    time = _time(rng, place)
    fire_fits = place in PLACES_WITH_FIRE and subject in SUBJECTS_WITH_FIRE
    beside_fire = fire_fits and rng.random() < _FIRE_BESIDE_SHARE
    return Scene(subject, place, time, _colour(rng, subject, style), style, beside_fire or subject == "campfire")


def _study_scene(rng: random.Random) -> Scene:
    kind = rng.randrange(3)
    if kind == 0:
        return Scene("none", "mountains", "sunset", None, "digital art", False)
    plain_style = rng.choice(("plain", "plain", "digital art"))
    if kind == 1:
        time = _time(rng, "windowsill")
        return Scene("cat", "windowsill", time, _colour(rng, "cat", plain_style), plain_style, False)
    return Scene("rider", "mars", None, _colour(rng, "rider", plain_style), plain_style, False)


def _time(rng: random.Random, place: str) -> str | None:
    return None if place in PLACES_WITHOUT_TIME else rng.choice(TIMES)


def _colour(rng: random.Random, subject: str, style: str) -> str | None:
    if style in STYLES_WITHOUT_COLOUR or subject not in COLOURS_OF:
        return None
    return rng.choice(COLOURS_OF[subject])


def _weighted(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]
