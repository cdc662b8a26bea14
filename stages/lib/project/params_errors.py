"""What is wrong in params.yaml, in the words of somebody who edits YAML: key, value, remedy."""

import difflib
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from stages.lib.project.variant import Variant, legal_values

MOST_TOLD = 20
LONGEST_SHOWN = 200
LIMITS = ("less_than_equal", "less_than", "too_long", "string_too_long")


def explain(error: ValidationError, kind: Any) -> Iterator[str]:
    """One line for each of the first mistakes that were found in what should have been a `kind`."""
    items = error.errors()
    places = [item["loc"] for item in items]
    if len(items) > MOST_TOLD:
        yield f"{len(items)} mistakes, of which these are the first"
    for item in items[:MOST_TOLD]:
        place = item["loc"]
        # what only follows from another one, deeper down, is left out: a list is short because its item is wrong
        if not place or not any(len(other) > len(place) and other[: len(place)] == place for other in places):
            yield _line(item, kind)


def _line(item: Any, kind: Any) -> str:
    keys, found, union = _follow(kind, item["loc"])
    key = ".".join(keys)
    if item["type"] == "extra_forbidden":
        _keys, model, union = _follow(kind, item["loc"][:-1])
        return f"unknown key '{key}': {_legal_keys(keys[-1], model, union)}"
    if item["type"] == "missing":
        return f"key '{key}' is missing: add it"
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag = _discriminator(found)
        if item["type"] == "union_tag_invalid":
            return f"'{key}.{tag}' has the value '{item['ctx']['tag']}': use {_either(_members(found))}"
        return f"key '{key}.{tag}' is missing: add {_either(f'`{tag}: {name}`' for name in _members(found))}"
    if not keys:
        return _remedy(item)
    if beyond := _beyond_back_end(item, kind):
        return f"'{'.'.join(keys[:-1])}': {beyond}" if keys[:-1] else beyond
    shown = "" if isinstance(item["input"], dict | BaseModel) else f" has the value {_shortened(item['input'])}"
    return f"'{key}'{shown}: {_remedy(item)}{_reason(item, kind)}"


def _shortened(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _reason(item: Any, kind: Any) -> str:
    """Why there is the limit that was not kept, as the description of the key says it, or of the list it is in."""
    if item["type"] not in LIMITS:
        return ""
    for end in (len(item["loc"]) - 1, len(item["loc"]) - 2):
        key, model = item["loc"][end], _follow(kind, item["loc"][:end])[1]
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            why = model.model_fields[key].description
            return f" ({why})" if why else ""
    return ""


def _legal_keys(key: str, model: type[BaseModel], union: Any) -> str:
    """What else to write than the unknown `key` of a `model`, which may be a member of a `union`."""
    legal = [name for name in model.model_fields if name != "name" or not issubclass(model, Variant)]
    tag = _discriminator(union)
    elsewhere = [f"`{tag}: {name}`" for name, other in _members(union).items() if key in other.model_fields]
    near = difflib.get_close_matches(key, legal, n=1)
    hint = f"it goes with {_either(elsewhere)}; " if elsewhere else f"did you mean '{near[0]}'? " if near else ""
    return f"{hint}legal here: {', '.join(legal)}"


def _beyond_back_end(item: Any, kind: Any) -> str:
    """What a back end can do instead of a value that it cannot; empty where the mistake is another."""
    _keys, model, _union = _follow(kind, item["loc"][:-1])
    if item["type"] != "literal_error" or not (isinstance(model, type) and issubclass(model, Variant)):
        return ""
    key, backend = item["loc"][-1], legal_values(model, "backend")[0]
    value, *legal = (
        _cut(str(word).lower() if isinstance(word, bool) else str(word))
        for word in (item["input"], *legal_values(model, key))
    )
    use = f"use one of {', '.join(legal)}" if len(legal) > 1 else f"use {legal[0]}"
    return f"{key} '{value}' is not something back end '{backend}' can do: {use}"


def _remedy(item: Any) -> str:
    limits = item.get("ctx", {})
    remedies = {
        "bool_type": "write true or false",
        "int_type": "write a whole number",
        "int_parsing_size": "write a smaller number",
        "float_type": "write a number",
        "float_parsing": "write a number",
        "finite_number": "write a finite number",
        "string_type": "write a text, in quotes if it looks like a number",
        "tuple_type": "write a list, such as [one, two]",
        "too_short": "name at least one",
        "too_long": f"name at most {limits.get('max_length')}",
        "string_too_short": "give it a text",
        "string_too_long": f"write at most {limits.get('max_length')} characters",
        "greater_than": f"write more than {limits.get('gt')}",
        "greater_than_equal": f"write {limits.get('ge')} or more",
        "less_than_equal": f"write {limits.get('le')} or less",
        "multiple_of": f"write a multiple of {limits.get('multiple_of')}",
        "less_than": f"write less than {limits.get('lt')}",
        "invalid_key": "write a text as key",
        "literal_error": f"use {limits.get('expected')}",
        "dict_type": "write `key: value` lines below it",
        "model_type": "write `key: value` lines below it",
        "model_attributes_type": "write `key: value` lines below it",
    }
    return remedies.get(item["type"], item["msg"].removeprefix("Value error, "))


def _follow(kind: Any, place: Sequence[Any]) -> tuple[list[str], Any, Any]:
    """The keys of params.yaml that lead to `place` in a `kind`, the type of what is there, and the union it is in.

    pydantic's places also name the member of a union and, for a mistake in a key itself, '[key]'.
    """
    keys, union = [], None
    for part in place:
        kind = _present(kind)
        if part in _members(kind):
            kind, union = _members(kind)[part], kind
            continue
        if part == "[key]":
            continue
        keys.append(str(part))
        union = None
        inner = get_args(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[part].annotation if part in kind.model_fields else None
        elif inner:  # a value of a mapping, an item of a list
            kind = inner[1] if get_origin(kind) is dict else inner[0]
    return keys, _present(kind), union


def _present(kind: Any) -> Any:
    """What a key that may be left out is where it is there."""
    inner = get_args(kind)
    return next(argument for argument in inner if argument is not NoneType) if NoneType in inner else kind


def _discriminator(kind: Any) -> str:
    """The key that tells the members of a union of models apart; empty if `kind` is no such union."""
    return next((str(extra.discriminator) for extra in _metadata(kind) if extra.discriminator), "")


def _metadata(kind: Any) -> list[FieldInfo]:
    return [extra for extra in getattr(kind, "__metadata__", ()) if isinstance(extra, FieldInfo)]


def _members(kind: Any) -> dict[str, type[BaseModel]]:
    tag = _discriminator(kind)
    return {legal_values(model, tag)[0]: model for model in get_args(kind.__origin__)} if tag else {}


def _either(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
