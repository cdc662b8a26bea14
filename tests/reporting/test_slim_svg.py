"""Slimming a generation: the same words, marks and places in fewer bytes."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from stages.lib.reporting.charts import illustrations
from stages.lib.reporting.charts.shapes import Bar, Dots, stacked_bars, strip
from stages.lib.reporting.document import svg_data_uri
from stages.lib.reporting.slim_svg import slim

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = {
    "bars": lambda: stacked_bars(
        [Bar("A & B < C", (1.234567, 2, 3), '7 "MiB" 50%\'s #1'), Bar("D", (4, 5, 6), "n")], ["x", "y", "z"], "size"
    ),
    "dots": lambda: strip(
        [Dots("FP16", (30.0, 31.5, 40.25), (35.0,), 33.0, "33.0 dB")],
        "PSNR",
        ("study", "other", "mean"),
        [("good", 30.0)],
    ),
    "pipeline": lambda: illustrations.pipeline(str),
}


@pytest.fixture(params=CHARTS)
def generation(request) -> str:
    return CHARTS[request.param]()


def words(svg: str) -> list[str]:
    return ["".join(item.itertext()) for item in ElementTree.fromstring(svg).iter(SVG + "text")]


def shapes(svg: str, tag: str) -> int:
    """How many elements generate something."""
    return sum(item.get("style") != "fill: none" for item in ElementTree.fromstring(svg).iter(SVG + tag))


def test_it_has_every_word_and_mark_of_the_generating_in_fewer_bytes(generation):
    slimmed = slim(generation)
    assert words(slimmed) == words(generation)
    assert shapes(slimmed, "use") == shapes(generation, "use") and shapes(slimmed, "path") == shapes(generation, "path")
    assert len(slimmed) < 0.85 * len(generation)


def test_a_formula_is_small_as_it_is():
    """It is one path without words, style rules and references: there is nothing to take away."""
    formula = illustrations.formula("psnr")
    assert slim(formula) == formula and shapes(formula, "path") == 1 and len(formula) < 25_000


def test_every_reference_still_leads_somewhere(generation):
    slimmed = slim(generation)
    assert set(re.findall(r"#([\w-]+)\)|href=\"#([\w-]+)\"", slimmed)) and all(
        f'id="{a or b}"' in slimmed for a, b in re.findall(r"url\(#([\w-]+)\)|href=\"#([\w-]+)\"", slimmed)
    )


def test_places_move_by_less_than_a_hundredth_of_a_point():
    """Protects the chart from being bent by what saves bytes."""
    svg = CHARTS["dots"]()
    before, after = (
        [
            float(value)
            for item in ElementTree.fromstring(text).iter(SVG + "use")
            for value in (item.get("x"), item.get("y"))
        ]
        for text in (svg, slim(svg))
    )
    assert before and max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 0.005 + 1e-9


def test_as_an_address_it_holds_nothing_that_ends_an_attribute_and_reads_back(generation):
    from urllib.parse import unquote

    address = svg_data_uri(generation)
    assert not re.search(r"[\"<>#&\n]", address)
    assert words(unquote(address.removeprefix("data:image/svg+xml,"))) == words(generation)
