"""Captions of scenes: many wordings, one canonical wording, and the reading back of what a caption names."""

import random
import re

from training.drawing.content import FUR, PAINT, Scene
from training.wordings import (
    ADJECTIVES,
    COLOURED_NOUNS,
    FIRE_PHRASES,
    LANDSCAPE_ADJECTIVES,
    NOUNS,
    OVER_PHRASES,
    PLACE_NOUNS,
    PLACE_PATTERNS,
    PLACE_PHRASES,
    STYLE_PATTERNS,
    STYLE_PREFIXES,
    STYLE_SUFFIXES,
    SUBJECT_PATTERNS,
    TIME_NOUNS,
    TIME_PATTERNS,
    TIME_PHRASES,
    VERBS,
)

STUDY_PROMPTS = (
    "A beautiful sunset over mountains, digital art",
    "A cute cat sitting on a windowsill",
    "An astronaut riding a horse on Mars",
)
SUBJECT_PROMPTS = {
    "none": "an empty landscape",
    "cat": "a cat",
    "dog": "a dog",
    "horse": "a horse",
    "astronaut": "an astronaut",
    "robot": "a robot",
    "rider": "an astronaut riding a horse",
    "fox": "a fox",
    "owl": "an owl",
    "rocket": "a rocket",
    "campfire": "a campfire",
}
PLACE_PROMPTS = {
    "mountains": "a scene in the mountains",
    "beach": "a scene on a beach",
    "mars": "a scene on Mars",
    "moon": "a scene on the Moon",
    "windowsill": "a scene on a windowsill",
    "forest": "a scene in a forest",
    "desert": "a scene in the desert",
    "city": "a scene in a city",
    "snow": "a scene in the snow",
}
COLOUR_PROMPTS = {name: f"{'an' if name == 'orange' else 'a'} {name} subject" for name in (*FUR, *PAINT)}
TIME_PROMPTS = {
    "sunset": "a scene at sunset",
    "sunrise": "a scene at sunrise",
    "day": "a scene during the day",
    "night": "a scene at night",
}
STYLE_PROMPTS = {
    "plain": "a picture",
    "digital art": "digital art",
    "watercolor": "a watercolor painting",
    "pixel art": "pixel art",
    "pencil sketch": "a pencil sketch",
    "oil painting": "an oil painting",
}

_STUDY_WORDING_SHARE = 0.4  # of the scenes that match a study prompt
_NAME_COLOUR, _NAME_TIME, _NAME_STYLE = 0.75, 0.75, 0.88


def caption(scene: Scene, rng: random.Random) -> str:
    """One of many wordings; may leave out colour, time and style, never says anything wrong."""
    study = _study_prompt(scene)
    if study is not None and rng.random() < _STUDY_WORDING_SHARE:
        return study
    named_style = scene.style if rng.random() < _NAME_STYLE else "plain"
    named_time = scene.time if rng.random() < _NAME_TIME else None
    describe = _landscape if scene.subject == "none" else _with_subject
    return _in_style(describe(scene, named_time, rng), named_style, rng)


def full_caption(scene: Scene) -> str:
    """The canonical wording, which names every attribute."""
    if scene.subject == "none":
        text = f"{_article(PLACE_NOUNS[scene.place][0])}"
    else:
        text = f"{_article(_noun_phrase(scene.subject, NOUNS[scene.subject][0], scene.colour, None))}"
        if scene.campfire and scene.subject != "campfire":
            text += f" {FIRE_PHRASES[0]}"
        text += f" {PLACE_PHRASES[scene.place][0]}"
    if scene.time is not None:
        text += f" {TIME_PHRASES[scene.time][0]}"
    return text if scene.style == "plain" else f"{text}, {scene.style}"


def parse(caption: str) -> dict[str, str | bool | None] | None:
    """What a caption names, with the keys of Scene; None as value where an attribute is not named.

    A caption with a place or time but without a subject names the subject 'none'. 'plain' is never named, so
    style is then None. Returns None for a text which names neither subject, place nor time.
    """
    text = caption.lower()
    subject = _first_named(text, SUBJECT_PATTERNS)
    place = _first_named(text, PLACE_PATTERNS)
    time = _first_named(text, TIME_PATTERNS)
    if subject is None and place is None and time is None:
        return None
    return {
        "subject": subject or "none",
        "place": place,
        "time": time,
        "colour": _colour_named(text),
        "style": _first_named(text, STYLE_PATTERNS),
        "campfire": re.search(SUBJECT_PATTERNS["campfire"], text) is not None,
    }


def _study_prompt(scene: Scene) -> str | None:
    if scene.campfire:
        return None
    if (scene.subject, scene.place, scene.time, scene.style) == (
        "none",
        "mountains",
        "sunset",
        "digital art",
    ):
        return STUDY_PROMPTS[0]
    if scene.style not in ("plain", "digital art"):
        return None
    if (scene.subject, scene.place) == ("cat", "windowsill"):
        return STUDY_PROMPTS[1]
    if (scene.subject, scene.place) == ("rider", "mars"):
        return STUDY_PROMPTS[2]
    return None


def _landscape(scene: Scene, time: str | None, rng: random.Random) -> str:
    adjective = rng.choice(LANDSCAPE_ADJECTIVES) if rng.random() < 0.7 else ""
    if time is not None and rng.random() < 0.5:
        noun = rng.choice(TIME_NOUNS[time])
        return f"{_article(f'{adjective} {noun}'.strip())} {rng.choice(OVER_PHRASES[scene.place])}"
    noun = rng.choice(PLACE_NOUNS[scene.place])
    text = f"{adjective} {noun}".strip()
    view = rng.choice(("", "", "", "a view of ", "a wide view of "))
    text = f"{view}{_article(text)}"
    return text if time is None else f"{text} {rng.choice(TIME_PHRASES[time])}"


def _with_subject(scene: Scene, time: str | None, rng: random.Random) -> str:
    colour = scene.colour if rng.random() < _NAME_COLOUR else None
    adjective = rng.choice(ADJECTIVES[scene.subject]) if rng.random() < 0.5 else None
    noun = rng.choice(NOUNS[scene.subject])
    subject = _article(_noun_phrase(scene.subject, noun, colour, adjective))
    if colour and scene.subject in ("cat", "dog") and rng.random() < 0.15:
        subject = f"{_article(_noun_phrase(scene.subject, noun, None, adjective))} with {colour} fur"
    verb = rng.choice(VERBS[scene.subject]) if rng.random() < 0.7 else ""
    fire = rng.choice(FIRE_PHRASES) if scene.campfire and scene.subject != "campfire" else ""
    place = rng.choice(PLACE_PHRASES[scene.place])
    when = rng.choice(TIME_PHRASES[time]) if time is not None else ""
    order = rng.random()
    if order < 0.72:
        return _join(subject, verb, fire, place, when)
    if order < 0.84 and when:
        return f"{when}, {_join(subject, verb, fire, place)}"
    if order < 0.92:
        return _join(_article(rng.choice(PLACE_NOUNS[scene.place])), when, "with", subject, verb, fire)
    return _join(subject, verb, fire, when, place)


def _noun_phrase(subject: str, noun: str, colour: str | None, adjective: str | None) -> str:
    """Words without the leading article; for 'rider' the noun holds a gap for the horse's colour."""
    if subject == "rider":
        return _join(adjective or "", noun.format(horse=_article(f"{colour or ''} horse".strip())))
    return _join(adjective or "", colour or "", noun)


def _in_style(body: str, style: str, rng: random.Random) -> str:
    prefix = rng.choice(STYLE_PREFIXES[style])
    opens_with_article = body.startswith(("a ", "an "))  # not with a time, which no prefix can take
    if opens_with_article and rng.random() < (0.1 if style == "plain" else 0.35):
        return f"{prefix} {body}"
    suffix = rng.choice(STYLE_SUFFIXES[style])
    return f"{body}{suffix}"


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _first_named(text: str, patterns: dict[str, str]) -> str | None:
    return next((key for key, pattern in patterns.items() if re.search(pattern, text)), None)


def _colour_named(text: str) -> str | None:
    colours, nouns = "|".join((*FUR, *PAINT)), "|".join(COLOURED_NOUNS)
    match = re.search(rf"\b({colours}) ({nouns})\b", text)
    return match.group(1) if match else None


def attribute_classes() -> dict[str, list[dict]]:
    """What clip/attributes.json holds: per attribute its labels, the text of each for the CLIP, and what names it.

    A label is named by the first `pattern`, in order, that occurs in the caption in lower case; `unnamed` is the label
    of a caption that names something else and nothing of this attribute.
    """
    colours = {name: rf"\b{name} ({'|'.join(COLOURED_NOUNS)})\b" for name in COLOUR_PROMPTS}
    found = []
    for attribute, texts, patterns, unnamed in (
        ("subject", SUBJECT_PROMPTS, SUBJECT_PATTERNS, "none"),
        ("place", PLACE_PROMPTS, PLACE_PATTERNS, None),
        ("time", TIME_PROMPTS, TIME_PATTERNS, None),
        ("colour", COLOUR_PROMPTS, colours, None),
        ("style", STYLE_PROMPTS, STYLE_PATTERNS, None),
    ):
        named = [{"label": label, "text": texts[label], "pattern": pattern} for label, pattern in patterns.items()]
        others = [
            {"label": label, "text": text, "pattern": None} for label, text in texts.items() if label not in patterns
        ]
        found.append({"attribute": attribute, "labels": named + others, "unnamed": unnamed})
    return {"attributes": found}
