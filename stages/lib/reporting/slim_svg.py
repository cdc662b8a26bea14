"""A generation of matplotlib with the same image in a fraction of the bytes: it stands in a page many times over.

What goes: what no viewer shows (metadata, identifiers of groups, clips of nothing), digits beyond a hundredth of a
point, and properties repeated at every letter and dot, which their group or the whole generation now says once.
"""

import re

DECIMALS = 2  # of a point: a hundredth of one is a third of a thousandth of an inch

_PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_REFERENCED = re.compile(r"#([\w.-]+)")
_LONG_NUMBER = re.compile(r"(?<![\w.#-])-?\d+\.\d{3,}(?![\w.])")
_TAG = re.compile(r"<[^>]+>")
_SCALE = re.compile(r"scale\([^)]*\)")
_LETTERS = re.compile(r"font-size: ([\d.]+px); font-family: ([^;\"]+); ")
_MARKS = re.compile(r"<g((?: clip-path=\"[^\"]*\")?)>((?:<use [^>]*/>){2,})</g>")
_RULE = re.compile(r"<defs><style type=\"text/css\">\*\{([^}]*)\}</style></defs>")
_STYLE = re.compile(r" style=\"([^\"]*)\"")


def slim(svg: str) -> str:
    """The same generation, smaller. Text keeps every character."""
    svg = _PROLOGUE.sub("", svg)
    svg = _rule_once(re.sub(r"\s*\n\s*<", "<", svg).strip())
    svg = _TAG.sub(lambda tag: _slim_tag(tag[0]), svg)
    used = set(_REFERENCED.findall(svg))
    svg = re.sub(r" id=\"([^\"]*)\"", lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"<path d=\"[^\"]*\" style=\"fill: none\"/>", "", svg)  # neither filled nor stroked
    svg = _MARKS.sub(_style_once, svg)
    before = ""
    while svg != before:  # a group of one element that is itself a group of one
        before = svg
        svg = re.sub(r"<g></g>|<defs></defs>", "", svg)
        svg = re.sub(r"<g>(<(?:path|use) [^>]*/>|<text [^>]*>[^<]*</text>)</g>", r"\1", svg)
    return _letters_once(svg)


def _rule_once(svg: str) -> str:
    """What a rule says of every element, the generation says: they inherit it, and nobody has to match the rule."""
    rule = _RULE.search(svg)
    return _RULE.sub("", svg).replace("<svg ", f'<svg style="{rule[1]}" ', 1) if rule else svg


def _slim_tag(tag: str) -> str:
    """One tag with short numbers; a scale multiplies thousands of units and keeps its digits."""
    kept = _SCALE.findall(tag)
    tag = _LONG_NUMBER.sub(lambda number: _short(number[0]), tag)
    for scale in kept:
        tag = _SCALE.sub(lambda _found, scale=scale: scale.replace("scale(", "keep("), tag, count=1)
    tag = tag.replace("keep(", "scale(")
    tag = re.sub(r"\s*\n\s*", " ", tag)
    tag = re.sub(r" transform=\"rotate\(-?0 [^\"]*\)\"", "", tag)
    return re.sub(r"(?<= d=\")[^\"]*", lambda path: re.sub(r" ?([MLQCZz]) ?", r"\1", path[0]).strip(), tag)


def _short(number: str) -> str:
    short = f"{float(number):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def _style_once(group: re.Match) -> str:
    """Marks that look alike: their group says how."""
    styles = set(_STYLE.findall(group[2]))
    if len(styles) != 1 or len(_STYLE.findall(group[2])) != group[2].count("<use"):
        return group[0]
    return f'<g{group[1]} style="{styles.pop()}">{_STYLE.sub("", group[2])}</g>'


def _letters_once(svg: str) -> str:
    """The most frequent font and size stand at the top, once."""
    letters = _LETTERS.findall(svg)
    if not letters:
        return svg
    size, family = max(sorted(set(letters)), key=letters.count)
    svg = svg.replace(f"font-size: {size}; font-family: {family}; ", "")
    bare = family.replace("'", "")  # a name of several words needs no quotation marks
    return svg.replace("<svg ", f'<svg font-size="{size}" font-family="{bare}" ', 1)
