"""Where the names of points stand: near them, on no other name and on no point. Lengths are in points (pt)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from stages.lib.reporting.charts.canvas import INK, MUTED, SETTINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]
Segment = tuple[Point, Point]

GAP, PAD = 2.0, 1.0  # between a point and its name, and around a name
MARK = 4.0  # half the side of the square that a point takes
NEAR = 4.0  # a name further from the edge of its point is joined to it by a line
LINE_HEIGHT = 1.2  # of a name, times the size of its letters
RISES = range(-9, 10)  # lines above the point or below it, at whose height a name may stand
SHIFTS = (0, 8, 20, 40, 60)  # how far it may be moved to a side
ROUNDS = 6  # in each, those that found no place in the last one choose before the others
LINE_COST, CROSSING_COST, RING_COST = 0.6, 30.0, 12.0  # of a line under a name by pt, of crossing lines, of a leader


class Box(NamedTuple):
    """Left, right, bottom and top. A tuple, as there are tens of thousands in a chart."""

    left: float
    right: float
    bottom: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two have an area in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def includes(self, other: "Box") -> bool:
        """Whether nothing of `other` lies outside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top

    def share(self, line: Segment) -> float:
        """Which part of `line` lies within, 0 to 1: Liang and Barsky's clipping (ACM Trans. Graph. 3, 1984)."""
        (x, y), (end_x, end_y) = line
        left, right, bottom, top = self
        if (x <= left and end_x <= left) or (x >= right and end_x >= right):
            return 0.0
        if (y <= bottom and end_y <= bottom) or (y >= top and end_y >= top):
            return 0.0
        first, last = 0.0, 1.0
        for start, length, low, high in ((x, end_x - x, left, right), (y, end_y - y, bottom, top)):
            if length == 0:  # and within, as it lies on neither side
                continue
            one, two = (low - start) / length, (high - start) / length
            first, last = max(first, min(one, two)), min(last, max(one, two))
            if first >= last:
                return 0.0
        return last - first

    def wider(self, by: float) -> "Box":
        """The box with a margin."""
        return Box(self.left - by, self.right + by, self.bottom - by, self.top + by)

    def nearest(self, point: Point) -> Point:
        """The place within that is nearest to `point`."""
        return min(max(point[0], self.left), self.right), min(max(point[1], self.bottom), self.top)


@dataclass(frozen=True)
class Named:
    """A point, how much room its name takes, and whether the name is shown whatever points it covers."""

    at: Point
    width: float
    height: float
    wanted: bool = False
    mark: float = MARK


class Place(NamedTuple):
    """The box of a name, the same with the room that it keeps, and the line to its point where it stands apart."""

    box: Box
    wide: Box
    leader: Segment | None


def places(named: Sequence[Named], area: Box, lines: Sequence[Segment] = ()) -> list[Place | None]:
    """A place in `area` for each name, None where there is none. No two overlap, nor does one lie on a point.

    `lines` are better not covered. A `wanted` name may cover points, never another name; it chooses first, then the
    names with the fewest places to choose from, and those that found none choose earlier the next time.
    """
    marks = [_mark(item) for item in named]
    free = [_free(item, marks, area) for item in named]
    order = sorted(range(len(named)), key=lambda index: (not named[index].wanted, len(free[index])))
    best: list[Place | None] = [None] * len(named)
    for _round in range(ROUNDS):
        found = _in_order(order, named, free, area, lines)
        if sum(map(bool, found)) > sum(map(bool, best)):
            best = found
        missing = [index for index in order if found[index] is None]
        if not missing:
            break
        order = sorted(missing + [index for index in order if index not in missing], key=lambda i: not named[i].wanted)
    return best


def _in_order(
    order: Sequence[int], named: Sequence[Named], free: Sequence[list[Place]], area: Box, lines: Sequence[Segment]
) -> list[Place | None]:
    found: list[Place | None] = [None] * len(named)
    for index in order:
        taken = [place for place in found if place is not None]
        item = named[index]
        fitting = [place for place in free[index] if _fits(place, taken)]
        if not fitting and item.wanted:
            fitting = [place for place in _around(item, area) if _fits(place, taken)]
        found[index] = min(fitting, key=lambda place: _cost(item, place, taken, lines), default=None)
    return found


def _mark(item: Named) -> Box:
    (x, y), half = item.at, item.mark
    return Box(x - half, x + half, y - half, y + half)


def _free(item: Named, marks: Sequence[Box], area: Box) -> list[Place]:
    own = _mark(item)
    others = [mark for mark in marks if mark != own]
    return [
        place
        for place in _around(item, area)
        if not any(place.box.overlaps(mark) for mark in marks)
        and not (place.leader and any(mark.share(place.leader) for mark in others))
    ]


def _around(item: Named, area: Box) -> list[Place]:
    (x, y), found = item.at, []
    for rise in RISES:
        middle = y + rise * 0.6 * item.height
        for shift in SHIFTS:
            lefts = (x + item.mark + GAP + shift, x - item.mark - GAP - shift - item.width)
            for left in (*lefts, x - item.width / 2 + shift, x - item.width / 2 - shift):
                box = Box(left, left + item.width, middle - item.height / 2, middle + item.height / 2)
                if area.includes(box):
                    found.append(Place(box, box.wider(PAD), _leader(item, box)))
    return found


def _leader(item: Named, box: Box) -> Segment | None:
    end = box.nearest(item.at)
    return (item.at, end) if math.dist(item.at, end) > item.mark + NEAR else None


def _fits(place: Place, taken: Sequence[Place]) -> bool:
    """Whether a place keeps off the names that stand, and off their lines, and its line off them."""
    wide, leader = place.wide, place.leader
    for other in taken:
        if wide.overlaps(other.wide) or (other.leader and wide.share(other.leader)):
            return False
        if leader and other.wide.share(leader):
            return False
    return True


def _cost(item: Named, place: Place, taken: Sequence[Place], lines: Sequence[Segment]) -> float:
    box = place.box
    cost = math.dist(item.at, box.nearest(item.at)) + 0.1 * math.dist(item.at, _middle(box))
    cost += RING_COST if place.leader else 0
    for line in lines:
        cost += LINE_COST * box.share(line) * math.dist(*line)
    crossed = [other.leader for other in taken if place.leader and other.leader]
    return cost + CROSSING_COST * sum(_cross(place.leader, line) for line in crossed)


def _middle(box: Box) -> Point:
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2


def _cross(one: Segment, other: Segment) -> bool:
    return all(_sides(first, second) for first, second in ((one, other), (other, one)))


def _sides(line: Segment, other: Segment) -> bool:
    """Whether the ends of `other` lie on different sides of `line`."""
    (x, y), (right, top) = line
    turns = [(right - x) * (b - y) - (top - y) * (a - x) for a, b in other]
    return any(one * two < 0 for one, two in pairwise(turns))


@dataclass(frozen=True)
class PointName:
    """A name and its point, in the axes' data."""

    text: str
    at: Point
    wanted: bool = False
    bold: bool = False


def write_names(
    axes: "Axes", names: Sequence[PointName], lines: Sequence[Segment], size: float, mark: float = MARK
) -> None:
    """Write each name in letters of `size` where there is room; `lines`, in the axes' data, are better not covered.

    The layout must be done. `mark` is half the side of the square that a point takes.
    """
    area, seen = axes.get_window_extent(), axes.transData.transform
    named = [
        Named(tuple(seen(name.at)), width_of(name.text, size, name.bold), LINE_HEIGHT * size, name.wanted, mark)
        for name in names
    ]
    shown = [(tuple(seen(start)), tuple(seen(end))) for start, end in lines]
    back = axes.transAxes.inverted().transform
    for name, place in zip(names, places(named, Box(area.x0, area.x1, area.y0, area.y1), shown), strict=True):
        if place is None:
            continue
        left, middle = back((place.box.left, _middle(place.box)[1]))
        style = {"fontweight": "bold"} if name.bold else {}
        text = axes.text(
            *(left, middle, name.text), transform=axes.transAxes, va="center", fontsize=size, color=INK,
            parse_math=False, zorder=4, **style,
        )  # fmt: skip
        text.set_in_layout(False)
        if place.leader:
            ends = zip(*map(back, place.leader), strict=True)
            axes.plot(*ends, color=MUTED, linewidth=0.4, transform=axes.transAxes, zorder=1.5, clip_on=False)


def width_of(text: str, size: float, bold: bool = False) -> float:
    """The width of a text in points, by the metrics of the font that it is written in."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=SETTINGS["font.family"], size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
