"""How long a Modbus bus is busy: the arithmetic behind what `check` says, and behind the pauses of a serial line.

On RS-485 a byte is a start bit, the data bits, perhaps parity, and the stop bits; frames are apart by the time of
three and a half characters, and no less than 1.75 ms (Modbus over Serial Line 1.02, 2.5.1.1). Between the request
and the answer the device thinks. Over TCP all that counts is the thinking.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.twin.codec import BIT_FUNCTIONS
from edge_agent.twin.planner import Block
from edge_agent.twin.soundness import IDENTIFICATION

SERIAL_LATENCY_S = 0.04
"""What devices on RS-485 take to begin their answer: 20 to 60 ms."""
TCP_LATENCY_S = 0.005
DAY_S = 86_400.0
_SILENCE_S = 0.00175
_QUIET_S = 0.05
"""After a fault a line is listened to for at least so long: USB adapters hold bytes back for 16 ms and more."""
_IDENTITY_BYTES = 60
"""The text of a few objects."""
_PROBE_EVERY_S = 60.0
"""A unit that stays silent is asked once in the longest back-off."""


class Serial(NamedTuple):
    """How a serial line is set."""

    baud: int = 9600
    bits: int = 8
    parity: str = "N"
    stop: float = 1

    @property
    def char_s(self) -> float:
        """The time of one character."""
        return (1 + self.bits + (self.parity != "N") + self.stop) / self.baud

    @property
    def silence_s(self) -> float:
        """The pause between two frames."""
        return max(3.5 * self.char_s, _SILENCE_S)

    @property
    def quiet_s(self) -> float:
        """How long nothing must be heard after a fault before the line is used again."""
        return max(3.5 * self.char_s, _QUIET_S)


class Load(NamedTuple):
    """One request that is made again and again."""

    source: str
    detail: str
    bytes: tuple[int, int]
    """Of the request and of the answer, on the wire."""
    wire_s: float
    latency_s: float
    period_s: float
    timeout_s: float

    @property
    def takes_s(self) -> float:
        """How long the bus is busy with it."""
        return self.wire_s + self.latency_s


def wire_bytes(request: int, answer: int, *, ascii_: bool) -> tuple[int, int]:
    """Return what two messages (function code and all behind it, in bytes) take on a serial line: with unit and sum.

    In ASCII each byte is two characters, between a colon and a line end.
    """
    return (3 + 2 * (request + 2), 3 + 2 * (answer + 2)) if ascii_ else (request + 3, answer + 3)


def answer_size(block: Block) -> int:
    """Return the bytes of the answer to a block: function code, length and values."""
    if block.function == IDENTIFICATION:
        return 7 + _IDENTITY_BYTES
    return 2 + ((block.count + 7) // 8 if block.function in BIT_FUNCTIONS else 2 * block.count)


def busy(loads: Sequence[Load]) -> float:
    """Return the share of its time that a bus is busy with these; above 1 it can never keep up."""
    return sum(load.takes_s / load.period_s for load in loads)


def cycle_s(loads: Sequence[Load]) -> float:
    """Return how long one round of all that is asked more than once a day takes."""
    return sum(load.takes_s for load in loads if load.period_s < DAY_S)


def arithmetic(load: Load, line: Serial | None) -> str:
    """Return in words why a request takes as long as it does."""
    if line is None:
        return f"{load.source} {load.detail}: {load.takes_s * 1000:.0f} ms"
    sent, got = load.bytes
    char_bits = round(line.char_s * line.baud, 1)
    return (
        f"{load.source} {load.detail}: {sent} + {got} bytes of {char_bits:g} bits at {line.baud} baud"
        f" = {load.wire_s * 1000:.0f} ms, and {load.latency_s * 1000:.0f} ms until it answers"
    )


def outlook(loads: Sequence[Load], line: Serial | None) -> list[str]:
    """Return what `check` says of a bus."""
    often = [load for load in loads if load.period_s < DAY_S]
    if not often:
        return []
    whole_s, shortest_s = cycle_s(loads), min(load.period_s for load in often)
    worst = max(
        sorted({load.source for load in often}), key=lambda name: sum(x.takes_s for x in often if x.source == name)
    )
    theirs = [load for load in often if load.source == worst]
    probe = max(theirs, key=lambda load: load.timeout_s)
    dead_s = whole_s - sum(load.takes_s for load in theirs) + probe.wire_s + probe.timeout_s
    steady = busy([load for load in loads if load.source != worst]) + (probe.wire_s + probe.timeout_s) / _PROBE_EVERY_S
    return [
        *(arithmetic(load, line) for load in often),
        f"a cycle with all of these takes {whole_s:.3g} s, polls are {shortest_s:g} s apart, the bus is busy {busy(loads):.0%}",
        f"with {worst} dead: at most {dead_s:.3g} s in the two cycles that give it up, {steady:.0%} busy afterwards",
    ]


def impossible(loads: Sequence[Load], line: Serial | None) -> tuple[str, str] | None:
    """Return what was found and what is wanted when a bus can never keep up with its polls."""
    share = busy(loads)
    if share <= 1:
        return None
    often = [load for load in loads if load.period_s < DAY_S]
    shown = "; ".join(f"{arithmetic(load, line)}, each {load.period_s:g} s" for load in often[:4])
    more = f"; and {len(often) - 4} more" if len(often) > 4 else ""  # noqa: PLR2004 - what is shown
    alike = len({load.period_s for load in often}) == 1
    wanted = f"a poll of at least {_up(cycle_s(loads))} s" if alike else f"polls {_up(share)} times as long"
    return f"polls that take {share:.0%} of the time of the bus ({shown}{more})", f"{wanted}, or a faster bus"


def _up(number: float) -> str:
    """Write a number with two digits that is no less."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.ceil(round(number / unit, 6)) * unit:g}"
