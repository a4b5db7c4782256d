"""The demonstration's screen: a live table on a terminal, plain lines in a pipe, nothing for --json."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_agent.cli.chart import sparkline
from edge_agent.cli.scene import Scene

SHOWN = (
    "pump.bearing_temp", "pump.vibration", "pump.motor_current", "pump.speed", "meter.voltage_l1", "meter.power_total",
    "meter.frequency", "heating-line.flow", "heating-line.inlet_temp", "room.temperature", "room.humidity",
)  # fmt: skip
SHOWN_MOVES = 6
_LINE_EVERY_S = 2.0
_COLOURS = {"low": "blue", "medium": "yellow", "high": "red", "critical": "bold red"}


@contextlib.contextmanager
def screen(*, as_json: bool) -> Iterator[Callable[[Scene], None]]:
    """Give what shows a scene, as suits where it goes."""
    if as_json:
        yield lambda _: None
    elif sys.stdout.isatty():
        with Live(auto_refresh=False, screen=False) as live:
            yield lambda scene: live.update(_page(scene), refresh=True)
    else:
        yield _Lines().show


class _Lines:
    """A line every two seconds, each finding as it is opened, and each move of an action."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._told = self._moves = 0

    def show(self, scene: Scene) -> None:
        for sentence in scene.sentences[self._told :]:
            print(f"FOUND {sentence}", flush=True)
        for move in scene.moves[self._moves :]:
            print(f"ACTION {move}", flush=True)
        self._told, self._moves = len(scene.sentences), len(scene.moves)
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            print(f"record {scene.seq} verified, {scene.readings} readings, risk {scene.risk[0]:.2f}", flush=True)


def _page(scene: Scene) -> Group:
    table = Table(box=None, padding=(0, 1), expand=True)
    for name, justify in (
        ("variable", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("quality", "left"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for path in SHOWN:
        change = scene.values.get(path)
        if change is not None:
            value = f"{change.value:.2f}" if isinstance(change.value, float) else str(change.value)
            colour = "" if change.quality == "good" else "yellow"
            bars = sparkline(scene.history.get(path, ()), 40)
            table.add_row(path, value, change.unit or "", Text(change.quality, colour), bars)
    found = [Text(text, _COLOURS[text.split(":")[0]]) for text in scene.findings.values()]
    head = (
        f"record {scene.seq} verified by the mirror · {scene.readings} readings · {len(scene.values)} variables · "
        f"risk now {scene.risk[0]:.2f}, ahead {scene.risk[1]:.2f}"
    )
    nothing = Text("nothing unusual; the pump's bearing will begin to warm up", "green")
    return Group(
        Panel(table, title="boiler-house, as the mirror sees it", subtitle=head),
        Panel(Group(*(found or [nothing])), title="what the agent says"),
        *(
            [Panel(Group(*map(Text, scene.moves[-SHOWN_MOVES:])), title="what it asked for and did")]
            if scene.moves
            else []
        ),
        Text(f"Ctrl-C ends it. Configuration, log and keys: {scene.folder}", "dim"),
    )
