"""The picture of growth, as SVG: CPU a turn and memory over the number of variables, a line for each share of change.

As all pictures here (reference/adr/0018) it is made by edge_agent/cli/markup.py and nothing else. Variables and CPU are on
logarithmic scales: a slope of one is a cost in proportion.
"""

import math

from edge_agent.cli.markup import el, trusted

WIDTH, HEIGHT, LEFT, TOP, GAP = 660, 300, 52, 34, 76
PANEL_WIDTH, PANEL_HEIGHT = 240, 210
COLOURS = ("#5b8def", "#2a9d8f", "#e09f3e", "#c8553d")
DARK = (
    "@media (prefers-color-scheme: dark) { text { fill: #ddd } .frame { stroke: #777 } .grid { stroke: #444 } "
    ".ground { fill: #16181d } }"
)
STYLE = (
    "text { font: 11px system-ui, sans-serif; fill: #222 } .head { font-weight: 600 } .end { text-anchor: end } "
    ".middle { text-anchor: middle } .frame { fill: none; stroke: #999 } .grid { stroke: #ddd } "
    ".ground { fill: #fff } polyline { fill: none; stroke-width: 1.8 } " + DARK
)


def picture(points, told):
    """Return the picture of `points`: (variables, share) to (ms of CPU a turn, resident MiB). `told` says of what."""
    sizes = sorted({variables for variables, _ in points})
    shares = sorted({share for _, share in points})
    decades = [10.0**n for n in range(-1, 4)]
    most = max(resident for _, resident in points.values())
    steps = [20.0 * n for n in range(math.ceil(most / 20) + 1)]
    cpu = _panel(points, 0, sizes, shares, LEFT, "CPU a turn, ms", (decades, math.log10))
    memory = _panel(points, 1, sizes, shares, LEFT + PANEL_WIDTH + GAP, "resident memory, MiB", (steps, float))
    legend = [
        el("text", f"{share * 100:.0f} % change", x=LEFT + 6, y=TOP + 16 + 14 * n, style=f"fill: {colour}")
        for n, (share, colour) in enumerate(zip(shares, COLOURS, strict=False))
    ]
    return el(
        "svg",
        el("title", f"CPU a turn and memory by the number of variables and the share of them that changes; {told}"),
        el("style", trusted(STYLE)),
        el("rect", cls="ground", width=WIDTH, height=HEIGHT),
        *cpu,
        *memory,
        *legend,
        el("text", told, cls="end", x=WIDTH - 6, y=HEIGHT - 6),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _panel(points, which, sizes, shares, left, head, scale):
    ticks, by = scale
    low, high = by(ticks[0]), by(ticks[-1])
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(variables):
        return round(left + (math.log10(variables) - first) / (last - first) * PANEL_WIDTH, 1)

    def y(value):
        return round(TOP + (1 - (by(value) - low) / (high - low)) * PANEL_HEIGHT, 1)

    foot = TOP + PANEL_HEIGHT
    yield el("text", head, cls="head", x=left, y=TOP - 12)
    for tick in ticks:
        yield el("line", cls="grid", x1=left, x2=left + PANEL_WIDTH, y1=y(tick), y2=y(tick))
        yield el("text", f"{tick:g}", cls="end", x=left - 6, y=y(tick) + 4)
    for variables in sizes:
        yield el("text", f"{variables:,}".replace(",", " "), cls="middle", x=x(variables), y=foot + 16)
    yield el("text", "variables, each second", cls="middle", x=left + PANEL_WIDTH / 2, y=foot + 32)
    yield el("rect", cls="frame", x=left, y=TOP, width=PANEL_WIDTH, height=PANEL_HEIGHT)
    for share, colour in zip(shares, COLOURS, strict=False):
        spots = [(x(n), y(max(ticks[0], points[n, share][which]))) for n in sizes]
        yield el("polyline", points=" ".join(f"{a:g},{b:g}" for a, b in spots), stroke=colour)
