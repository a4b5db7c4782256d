"""Pictures of drift as SVG: a variable against its baseline and band, and below it how rare that is against the bar.

Sizes are such that a card of a phone's width shows them about one to one. Colours are classes of the page's style.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edge_agent.cli.markup import Markup, el
from edge_agent.judge.baseline import CLIP
from edge_agent.judge.hindsight import Seen
from edge_agent.judge.monitor import Insight
from edge_agent.model.reading import iso_utc

WIDTH, LEFT, RIGHT, TOP = 400, 54, 8, 8
HEIGHT, GAP, LOWER, FOOT = 120, 14, 56, 18
"""Of the upper panel, the space between, the lower panel, and the times below."""
MOST_POINTS = 300
"""Points of a line; of more, the least and the greatest of each stretch are drawn, so that no peak is lost."""

Course = Sequence[tuple[int, float | None]]


class Box(NamedTuple):
    """A panel: what its edges stand for, and where it is."""

    from_ms: int
    to_ms: int
    low: float
    high: float
    top: float
    height: float

    def x(self, at_ms: float) -> float:
        """Return where a time is."""
        share = (at_ms - self.from_ms) / max(1, self.to_ms - self.from_ms)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return where a value is; beyond an edge, at it."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.top + (1 - min(1.0, max(0.0, share))) * self.height, 1)


def drift_plot(found: Insight, seen: Sequence[Seen]) -> Markup:
    """Return the picture of a variable that has a baseline and was seen at least once."""
    base = found.baseline
    assert base is not None
    reach = CLIP * base.spread
    limits = [limit for limit in (found.subject.above, found.subject.below) if limit is not None]
    upper = _box(seen, [*(s.value for s in seen), *(s.usual + reach for s in seen), *(s.usual - reach for s in seen)])
    lower = Box(upper.from_ms, upper.to_ms, 0.0, 2 * found.budget, TOP + HEIGHT + GAP, LOWER)
    thin = _thinned([(s.at_ms, s.usual) for s in seen])
    band = [(upper.x(t), upper.y(v + reach)) for t, v in thin] + [
        (upper.x(t), upper.y(v - reach)) for t, v in thin[::-1]
    ]
    height = TOP + HEIGHT + GAP + LOWER + FOOT
    return el(
        "svg",
        el("title", f"{found.subject.path}: value, baseline and band; below, how rare it is against the alarm's bar"),
        el("polygon", cls="band", points=_points(band)),
        _line("usual", upper, thin),
        *(_level("limit", upper, limit) for limit in limits if upper.low <= limit <= upper.high),
        *(_line("value", upper, part) for part in _parts([(s.at_ms, s.value) for s in seen], found.interval_s)),
        *_scale(upper, found.subject.unit),
        el("rect", cls="alarm", x=LEFT, y=lower.top, width=WIDTH - LEFT - RIGHT, height=lower.height / 2),
        _level("bar", lower, found.budget),
        *(_line("rare", lower, part) for part in _parts([(s.at_ms, s.decades) for s in seen], found.interval_s)),
        el("text", "alarm", cls="end", x=LEFT - 5, y=lower.y(found.budget) + 4),
        el("text", "usual", cls="end", x=LEFT - 5, y=lower.y(0.0)),
        *_times(upper, height),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )


def course_plot(course: Course, unit: str | None, until_ms: int) -> Markup:
    """Return a variable without a baseline: its values alone, each as it stood until the next."""
    held = list(_steps(course, until_ms))
    box = _box([], [v for _, v in held], (held[0][0], max(until_ms, held[-1][0])))
    height = TOP + HEIGHT + FOOT
    return el(
        "svg",
        el("title", "its values"),
        _line("value", box, held),
        *_scale(box, unit),
        *_times(box, height),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )


def spark(values: Sequence[float]) -> Markup | None:
    """Return the newest values as a small line; nothing for fewer than two."""
    shown = values[-MOST_POINTS:]
    if len(shown) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    low, high = min(shown), max(shown)
    per = 1 / (high - low) if high > low else 0.0
    spots = [(i, (v - low) * per if per else 0.5) for i, v in enumerate(shown)]
    drawn = [(round(1 + 78 * i / (len(shown) - 1), 1), round(19 - 18 * v, 1)) for i, v in _thinned(spots, 80)]
    return el(
        "svg", el("polyline", cls="value", points=_points(drawn)), cls="spark", viewBox="0 0 80 20", aria_hidden="true"
    )


def number(value: float) -> str:
    """Return a number as an axis has it."""
    return f"{value:.4g}"


def _box(seen: Sequence[Seen], values: Sequence[float], times: tuple[int, int] | None = None) -> Box:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    first, last = times or (seen[0].at_ms, seen[-1].at_ms)
    return Box(first, last, low - margin, high + margin, TOP, HEIGHT)


def _scale(box: Box, unit: str | None) -> Iterable[Markup]:
    yield el("rect", cls="frame", x=LEFT, y=box.top, width=WIDTH - LEFT - RIGHT, height=box.height)
    yield el("text", number(box.high), cls="end", x=LEFT - 5, y=box.top + 9)
    yield el("text", number(box.low), cls="end", x=LEFT - 5, y=box.top + box.height)
    if unit:
        yield el("text", unit, cls="end", x=LEFT - 5, y=box.top + box.height / 2 + 4)


def _times(box: Box, height: float) -> Iterable[Markup]:
    first, last = iso_utc(box.from_ms), iso_utc(box.to_ms)
    same_day = first[:10] == last[:10]
    yield el("text", first[11:19] if same_day else first[:16].replace("T", " "), x=LEFT, y=height - 5)
    yield el(
        "text",
        f"{last[11:19] if same_day else last[:16].replace('T', ' ')} UTC",
        cls="end",
        x=WIDTH - RIGHT,
        y=height - 5,
    )


def _level(cls: str, box: Box, value: float) -> Markup:
    return el("line", cls=cls, x1=LEFT, x2=WIDTH - RIGHT, y1=box.y(value), y2=box.y(value))


def _line(cls: str, box: Box, spots: Sequence[tuple[int, float]]) -> Markup:
    return el("polyline", cls=cls, points=_points([(box.x(t), box.y(v)) for t, v in _thinned(spots)]))


def _points(spots: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in spots)


def _parts(spots: Sequence[tuple[int, float]], interval_s: float) -> Iterable[list[tuple[int, float]]]:
    """Give the stretches without a gap: no line is drawn where nothing was known."""
    part: list[tuple[int, float]] = []
    for spot in spots:
        if part and spot[0] - part[-1][0] > 4000 * interval_s:
            yield part
            part = []
        part.append(spot)
    if part:
        yield part


def _steps(course: Course, until_ms: int) -> Iterable[tuple[int, float]]:
    held = [(at_ms, value) for at_ms, value in course if value is not None]
    for place, (at_ms, value) in enumerate(held):
        yield at_ms, value
        yield held[place + 1][0] if place + 1 < len(held) else max(at_ms, until_ms), value


def _thinned(spots: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> Sequence[tuple[int, float]]:
    if len(spots) <= most:
        return spots
    width, kept = -(-2 * len(spots) // most), []
    for start in range(0, len(spots), width):
        stretch = spots[start : start + width]
        kept += sorted({min(stretch, key=lambda s: s[1]), max(stretch, key=lambda s: s[1])})
    return kept
