"""The chart of named points: names cover neither each other nor points, and the points pointed out bear theirs."""

import csv
import random
import re
from html import unescape
from itertools import combinations
from pathlib import Path

import pytest

from stages.lib.reporting.charts.name_places import MARK, Box, Named, places, width_of
from stages.lib.reporting.charts.named_points import FONT_PT, named_points
from stages.lib.reporting.charts.result_charts import NUMBER_PT, tradeoff_chart
from stages.lib.results.candidates import Candidate
from stages.lib.results.pareto import Standing, cost_of
from stages.lib.results.speeds import Range
from tests.candidates import candidate

PROJECT = Path(__file__).parents[2]
TEXT = re.compile(r'<text style="([^"]*)" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>')
AREA = Box(50, 470, 30, 200)


def committed(model: str) -> list[Candidate]:
    """The timed formats of the committed results."""
    with (PROJECT / f"reports/{model}/summary.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["speedup_x"]]
    assert len(rows) > 5
    return [made(row) for row in rows]


def made(row: dict[str, str]) -> Candidate:
    speed, ssim = (
        Range(*(float(row[f"{key}{end}"] or row[key]) for end in ("", "_low", "_high")))
        for key in ("speedup_x", "ssim")
    )
    invented = candidate(row["variant"], label=row["label"], disk_mib=float(row["disk_mib"]))
    times = Range(1 / speed.value, 1 / speed.high, 1 / speed.low)
    return Candidate(**{**vars(invented), "speedup": speed, "time_s": times, "ssim": ssim})


def names_in(svg: str, labels: set[str]) -> dict[str, Box]:
    """The box of each name, by the font's own metrics."""
    found = {}
    for style, x, y, text in TEXT.findall(svg):
        label = unescape(text)
        if label in labels and f"{FONT_PT}px" in style:
            left, line = float(x), float(y)
            found[label] = Box(left, left + width_of(label, FONT_PT, "700" in style), line - 0.75 * FONT_PT, line + 2)
    return found


@pytest.mark.parametrize("model", ["embedded", "embedded-transformer"])
def test_no_two_names_of_the_committed_figures_overlap(model):
    given = committed(model)
    marked = ("int8-openvino-weights", "int8-openvino" if model == "embedded" else "bf16-openvino")
    found = names_in(named_points(given, marked, str).svg, {item.label for item in given})
    assert not [pair for pair in combinations(found, 2) if found[pair[0]].overlaps(found[pair[1]])]
    assert {item.label for item in given if item.name in marked} <= set(found)
    assert len(found) >= 0.8 * len(given)


def test_every_number_of_the_trade_offs_stands_by_itself():
    """Protects a reader from 114 where 11 and 4 stand on each other."""
    given = committed("embedded")
    found = {
        cost: {item.name: Standing(cost_of(item, cost).value, None, sure=True) for item in given}
        for cost in ("disk_mib", "time_s")
    }
    svg = tradeoff_chart(given, found, 1.0, str).svg
    boxes = [
        (text, Box(float(x), float(x) + width_of(text, NUMBER_PT, "700" in style), float(y) - 5, float(y)))
        for style, x, y, text in TEXT.findall(svg)
        if f"font-size: {NUMBER_PT:g}px" in style and text.isdigit()
    ]
    assert sorted(text for text, _box in boxes) == sorted(2 * [str(number + 1) for number in range(len(given))])
    assert not [(one[0], other[0]) for one, other in combinations(boxes, 2) if one[1].overlaps(other[1])]


@pytest.mark.parametrize("seed", range(20))
def test_names_keep_off_each_other_and_off_points_wherever_those_are(seed):
    rng = random.Random(seed)
    spread = rng.choice([4, 30, 200])
    middle = rng.uniform(AREA.left, AREA.right), rng.uniform(AREA.bottom, AREA.top)
    named = [
        Named(
            tuple(min(max(rng.gauss(at, spread), low), high) for at, low, high in zip(middle, *sides, strict=True)),
            rng.uniform(15, 130),
            9.0,
            number < 2,
        )
        for number in range(rng.randrange(2, 30))
        for sides in [((AREA.left, AREA.bottom), (AREA.right, AREA.top))]
    ]
    found = places(named, AREA)
    assert found == places(named, AREA)
    boxes = [place.box for place in found if place]
    assert all(AREA.includes(box) for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for item, place in zip(named, found, strict=True):
        if place and not item.wanted:
            marks = [Box(a - MARK, a + MARK, b - MARK, b + MARK) for a, b in (other.at for other in named)]
            assert not any(place.box.overlaps(mark) for mark in marks)
    assert found[0] is not None
