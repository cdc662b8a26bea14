"""Figures in JSON files by dotted paths: 'averages.ms_ssim.mean', 'components.unet.disk_mib', 'images.owl.ssim'."""

import difflib
from collections.abc import Iterator
from typing import Any

from stages.lib.project.errors import UserError

# What rows of a list are called by, where it tells them apart.
NAMES = ("id", "name", "variant", "component", "format", "layer", "kind")
SUGGESTED = 5


def figures(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of `value` with its path. A list of plain values is one leaf."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        parts = zip(_row_names(value), value, strict=True)
    else:
        yield path, value
        return
    for name, item in parts:
        yield from figures(item, f"{path}.{name}" if path else str(name))


def _row_names(rows: list[dict]) -> list[str]:
    """What the rows are called by: a key that all have and that differs in all, or else their places from 0."""
    for key in NAMES:
        names = [str(row.get(key, "")) for row in rows]
        if all(names) and len(set(names)) == len(rows):
            return names
    return [str(number) for number in range(len(rows))]


def find(content: Any, key: str, where: str) -> tuple[str, Any]:
    """Path and value of the figure that `key` names: its whole path, or an end of it that no other has.

    A UserError lists the closest paths if there is none, and all if there are several.
    """
    found = dict(figures(content))
    if key in found:
        return key, found[key]
    ending = [path for path in found if path.endswith(f".{key}")]
    if len(ending) == 1:
        return ending[0], found[ending[0]]
    if ending:
        more = f" and {len(ending) - SUGGESTED} more" if len(ending) > SUGGESTED else ""
        raise UserError(f"{where} has several figures '{key}': use one of {', '.join(ending[:SUGGESTED])}{more}")
    raise UserError(f"{where} has no figure '{key}'{suggestion(key, found)}")


def suggestion(word: str, known: Any) -> str:
    """': did you mean ...?' with the closest of `known`, each of which may also be meant by its last part."""
    by_end = {path.rpartition(".")[2]: path for path in known}
    close = difflib.get_close_matches(word, [*known, *by_end], n=SUGGESTED, cutoff=0.5)
    names = list(dict.fromkeys(by_end.get(name, name) if name not in known else name for name in close))
    return f": did you mean {', '.join(names)}?" if names else f": it has {', '.join(list(known)[:20])}"
