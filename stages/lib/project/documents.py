"""YAML and JSON that others wrote, read within limits: whatever is in them, a mistake is one ValueError in seconds."""

import json
import re
from math import inf, isfinite
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

from stages.lib.project.errors import UserError

DEEPEST = 50
YAML_MOST_BYTES = 2**16  # five times the shipped params.yaml; ruamel's parser reads some 40 kB a second
YAML_MOST_VALUES = 5_000  # aliases of aliases make millions of a few lines
YAML_MOST_CHARACTERS = 2_000
JSON_MOST_BYTES = 2**26  # the largest tokenizers in use have half of it
UNLIMITED = "lambda_min_clipped"  # diffusers' DPM schedulers write -Infinity here, for no limit
MOST_DIGITS = 40  # transformers writes 10^30 for a length without a limit
# No UTF-8 file can hold a surrogate; HTML, PDF and file names have no control characters but tab and line end. What is
# not seen makes one text look like another, or turns what stands beside it: no text has it but scripts and emoji that
# join by it (U+200C and U+200D, never after a Latin, Greek or Cyrillic letter).
UNWRITABLE = re.compile(
    r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    r"\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]|(?<![\u0590-\U0010ffff])[\u200c\u200d]"
)
SURROGATE = re.compile(r"[\ud800-\udfff]")
TOO_MUCH = f"it has more than {{}} values, or is nested more than {DEEPEST} deep"


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """The content of a file that may be of any size, but no more than one byte above `most_bytes` of it."""
    with path.open("rb") as file:
        return file.read(most_bytes + 1)


def parse_yaml(data: bytes) -> Any:
    """The value of a YAML 1.2 file, read as DVC does: `1e-4` is a number, `no` a string.

    ruamel's own YAMLError tells of what is no YAML.
    """
    if len(data) > YAML_MOST_BYTES:
        raise ValueError(f"it has more than {YAML_MOST_BYTES} bytes: shorten it")
    text = data.decode("utf-8")
    try:
        check_expansion(text, YAML_MOST_VALUES, YAML_MOST_CHARACTERS)
        value = YAML(typ="safe", pure=True).load(text)
    except OverflowError:
        raise ValueError("it names a character by a number that none has") from None
    _check(value, UNWRITABLE, YAML_MOST_VALUES, YAML_MOST_CHARACTERS)
    return value


def check_expansion(text: str, most_values: int, most_characters: int) -> None:
    """Refuse YAML that would be large, deep or tagged once constructed, before it is: a ValueError names the line.

    Constructing recurses, heeds tags, converts digits and copies what a merge key (<<) names.
    """
    # `values` counts every alias as all that it stands for, `open_at` has the anchor and count of what is open.
    open_at, sizes, values = [], {}, 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, CollectionEndEvent):
            anchor, before = open_at.pop()
            sizes[anchor] = values - before
        if isinstance(event, NodeEvent):
            values += sizes.get(event.anchor, 1) if isinstance(event, AliasEvent) else 1
            sizes |= {event.anchor: 1} if isinstance(event, ScalarEvent) else {}
        if isinstance(event, CollectionStartEvent):
            open_at.append((event.anchor, values))
            sizes[event.anchor] = most_values  # an alias of what it stands in has no end
        if len(open_at) > DEEPEST or values > most_values:
            raise ValueError(f"{line}: {TOO_MUCH.format(most_values)}: shorten it")
        if isinstance(event, ScalarEvent) and len(event.value) > most_characters:
            raise ValueError(f"{line} has a value of {len(event.value)} characters: write at most {most_characters}")
        if getattr(event, "tag", None):
            raise ValueError(f"{line} has the tag {event.tag}: remove it")


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


def read_mapping(path: Path, remedy: str) -> dict[str, Any]:
    """The content of a JSON file, which must be a mapping; a UserError says what else it is, and `remedy`."""
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): {remedy}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON mapping: {remedy}")
    return content


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
        return text_fault(value, forbidden, most_characters)
    if isinstance(value, float) and not isfinite(value):
        return f"is {value}: write a finite number"
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"has more than {MOST_DIGITS} digits: write a smaller number"
    return ""


def text_fault(text: str, forbidden: re.Pattern, most_characters: int) -> str:
    """What is wrong with a text, and the remedy; empty if nothing is."""
    if len(text) > most_characters:
        return f"has {len(text)} characters: write at most {most_characters}"
    if found := forbidden.search(text):
        return f"holds the character U+{ord(found[0]):04X}, which no text here may have: remove it"
    return ""
