"""Doors to devices. One file is one way to read, and where a profile allows it to write, devices.

The folder is the registry: `sources/<kind>.py` serves `kind = "<kind>"` and offers

    def links(sources: Sequence[Source], now: Clock) -> list[Link]

which groups the sources that share a bus into one `Link`, its single owner. A link knows nothing of schedule,
retry, backoff or the circuit breaker: they are written once, in service/.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from edge_agent.model.reading import Instant, Reading, Value

Clock = Callable[[], Instant]


class Poll(msgspec.Struct, frozen=True):
    """One request that a link can be asked to make, or one stream that it can be asked to wait for."""

    source: str
    unit: str
    """What the circuit breaker counts by, within a bus: a Modbus unit, a topic."""
    points: tuple[str, ...]
    """The points that one answer brings, or may bring."""
    period_s: float | None
    """How often it is due; None for a device that speaks by itself."""
    timeout_s: float
    """The deadline of one read; for what speaks by itself, the silence after which its values are stale."""
    detail: str
    """For a person: "fc4 0+72 unit 1", a port, a topic."""
    identity: bool = False
    """Whether it tells who the device is: made first, and again when the unit answers after a silence."""


class Link(Protocol):
    """One bus, port or broker session with one owner."""

    bus: str
    """Its address, for a person and for counters."""
    polls: Sequence[Poll]
    dropped: Counter[str]
    """What came in and was passed over, by reason; whoever tells of it empties it."""

    async def open(self) -> None:
        """Connect. Raises LinkError."""

    async def read(self, poll: Poll) -> list[Reading]:
        """Make one request, or wait for the next thing said, and return what was seen.

        Raises LinkError when there was no answer or the link is down, WireError when the answer was not one to
        this request or was refused by the device. The runner turns both into readings with that fault. A value
        that cannot be used is a Reading with value None and its reason, not an error.
        """

    async def write(self, source: str, point: str, value: Value, hold_s: float | None = None) -> None:
        """Write one point. Raises LinkError, WireError, or TrustError when the profile does not allow it.

        With `hold_s` the device itself takes the write back after so long, by what its profile names under `reverts`;
        a point that cannot do so is not written.
        """

    async def close(self) -> None:
        """Let go of the connection; may be called when it is not open."""


@runtime_checkable
class Foreseeing(Protocol):
    """A link that can say beforehand what it will do to its bus."""

    def outlook(self) -> list[str]:
        """Return lines for `check`."""


@runtime_checkable
class Renewable(Protocol):
    """A link that several sources share, and that can take on others without being opened anew."""

    def renew(self, successor: Any, kept: frozenset[str]) -> bool:
        """Become what `successor` is, a link that was just made; the sources in `kept` go on as they are.

        It takes effect at once, also while a request is under way. False, and nothing has changed, when it would take
        another connection.
        """


@runtime_checkable
class Learning(Protocol):
    """A link that finds out about its devices what is worth keeping over a restart."""

    def lessons(self) -> dict[str, Any]:
        """Return what was learnt so far, as plain values."""

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Take up what this link or others learnt in another run; what is not its own it passes over."""
