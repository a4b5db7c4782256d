"""The picture that `./install.sh bench --svg FILE` writes."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "benchmarks"))

from picture import LEFT, PANEL_HEIGHT, PANEL_WIDTH, TOP, WIDTH, picture

SVG = "{http://www.w3.org/2000/svg}"


def spots(line):
    return [tuple(map(float, spot.split(","))) for spot in line.get("points").split()]


def test_each_share_has_a_line_through_each_size_in_both_panels():
    points = {(n, share): (n / 100 + share, 40 + n / 200) for n in (10, 100, 1000, 10_000) for share in (0.0, 0.5)}
    root = ET.fromstring(picture(points, "told <of> a machine"))
    cpu, half, memory, _ = root.iter(f"{SVG}polyline")
    assert [x for x, _ in spots(cpu)] == [LEFT + n * PANEL_WIDTH / 3 for n in range(4)]
    assert spots(cpu)[1][1] > spots(cpu)[2][1] > spots(cpu)[3][1], "more is higher"
    assert spots(cpu)[0][1] > spots(half)[0][1], "more change is higher"
    assert all(LEFT + PANEL_WIDTH < x < WIDTH and TOP <= y <= TOP + PANEL_HEIGHT for x, y in spots(memory))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"0 % change", "50 % change", "10 000", "told <of> a machine"} <= set(words)


def test_a_cost_below_the_scale_lies_on_its_edge():
    root = ET.fromstring(picture({(10, 0.0): (0.001, 1.0), (100, 0.0): (0.2, 1.0)}, ""))
    assert spots(next(root.iter(f"{SVG}polyline")))[0] == (LEFT, TOP + PANEL_HEIGHT)
