"""YAML and JSON that others wrote, read within limits: whatever is in them, a mistake is one ValueError in seconds."""

import json
import re
from math import inf, isfinite
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent

DEEPEST = 50
YAML_MOST_BYTES = 2**16  # five times the shipped params.yaml; ruamel's parser reads some 40 kB a second
YAML_MOST_VALUES = 5_000  # aliases of aliases make millions of a few lines
YAML_MOST_CHARACTERS = 2_000
JSON_MOST_BYTES = 2**26  # the largest tokenizers in use have half of it
UNLIMITED = "lambda_min_clipped"  # diffusers' DPM schedulers write -Infinity here, for no limit
MOST_DIGITS = 40  # transformers writes 10^30 for a length without a limit
# No UTF-8 file can hold a surrogate; HTML, PDF and file names have no control characters but tab and line end.
UNWRITABLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
TOO_MUCH = f"it has more than {{}} values, or is nested more than {DEEPEST} deep"


def parse_yaml(data: bytes) -> Any:
    """The value of a YAML 1.2 file, read as DVC does: `1e-4` is a number, `no` a string.

    ruamel's own YAMLError tells of what is no YAML.
    """
    if len(data) > YAML_MOST_BYTES:
        raise ValueError(f"it has {len(data)} bytes, more than {YAML_MOST_BYTES}")
    text, depth, values = data.decode("utf-8"), 0, 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):  # constructing recurses, and heeds tags
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            values += isinstance(event, NodeEvent)
            if depth > DEEPEST or values > YAML_MOST_VALUES:
                raise ValueError(TOO_MUCH.format(YAML_MOST_VALUES))
            if getattr(event, "tag", None):
                raise ValueError(f"line {event.start_mark.line + 1} has the tag {event.tag}: remove it")
        value = YAML(typ="safe", pure=True).load(text)
    except OverflowError:
        raise ValueError("it names a character by a number that none has") from None
    _check(value, UNWRITABLE, YAML_MOST_VALUES, YAML_MOST_CHARACTERS)
    return value


def parse_json(data: bytes) -> Any:
    """The value of a JSON file in UTF-8; NaN and infinity are no numbers, but where diffusers means no limit."""
    if len(data) > JSON_MOST_BYTES:
        raise ValueError(f"it has {len(data)} bytes, more than {JSON_MOST_BYTES}")
    try:
        value = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(TOO_MUCH.format(len(data))) from None
    _check(value, SURROGATE, len(data), len(data))
    return value


def _check(document: Any, forbidden: re.Pattern, most_values: int, most_characters: int) -> None:
    waiting, count = [((), document)], 0
    while waiting:
        keys, value = waiting.pop()
        count += 1
        if keys and keys[-1] == UNLIMITED and value == -inf:
            continue
        if reason := _reason(value, forbidden, most_characters):
            place = ".".join(keys).encode("ascii", "backslashreplace").decode()
            raise ValueError(f"'{place}' {reason}" if keys else f"it {reason}")
        if count > most_values or len(keys) > DEEPEST:
            raise ValueError(TOO_MUCH.format(most_values))
        if isinstance(value, dict):
            for key, item in value.items():
                waiting += [((*keys, "a key"), key), ((*keys, str(key)[:100]), item)]
        elif isinstance(value, list | tuple | set):
            waiting += [((*keys, str(place)), item) for place, item in enumerate(value)]


def _reason(value: Any, forbidden: re.Pattern, most_characters: int) -> str:
    """What is wrong with one value; empty if nothing is."""
    if isinstance(value, str):
        if len(value) > most_characters:
            return f"has {len(value)} characters: write at most {most_characters}"
        if found := forbidden.search(value):
            return f"holds the character U+{ord(found[0]):04X}, which no text here may have: remove it"
    elif isinstance(value, float) and not isfinite(value):
        return f"is {value}: write a finite number"
    elif isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"has more than {MOST_DIGITS} digits: write a smaller number"
    return ""
