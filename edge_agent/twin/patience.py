"""How long to wait for a unit, and which answers of a serial line may be late ones. Time is passed in, in seconds.

A serial answer carries no number: one that comes after its deadline looks like the answer to the next request of
the same unit, function and length. `Owed` keeps account of what a unit may still send.
"""

from typing import NamedTuple

_FLOOR = 0.25
"""The least share of a profile's timeout that is waited: a device may be busy for once."""
_PATIENT_EVERY = 4
"""Of so many waits for a silent unit the last is as long as the profile says: it may be slower than the others."""
_SETTLED_S = 3.0
"""After so long without a request no late answer is expected; or after so many times the timeout."""


class Patience:
    """Of one unit: a running mean of its latency and of the deviation from it (as RFC 6298 does for TCP)."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._mean_s: float | None = None
        self._deviation_s = 0.0
        self._silences = 0

    @property
    def usual_s(self) -> float | None:
        """How long its answer is worth waiting for, by experience; None when there is none."""
        return None if self._mean_s is None else self._mean_s + 4 * self._deviation_s

    def wait_s(self, others_s: float | None = None) -> float:
        """Return how long to wait; `others_s` is what is enough for the others of the bus, if it is known."""
        usual_s = others_s if self.usual_s is None else self.usual_s
        if usual_s is None or self._silences % _PATIENT_EVERY == _PATIENT_EVERY - 1:
            return self._longest_s
        return min(max(usual_s, _FLOOR * self._longest_s), self._longest_s)

    def answered(self, latency_s: float) -> None:
        """Learn from an answer."""
        self._silences = 0
        if self._mean_s is None:
            self._mean_s, self._deviation_s = latency_s, latency_s / 2
            return
        self._deviation_s += (abs(latency_s - self._mean_s) - self._deviation_s) / 4
        self._mean_s += (latency_s - self._mean_s) / 8

    def was_silent(self) -> None:
        """Count a wait in vain."""
        self._silences += 1


class Shape(NamedTuple):
    """What can be told of a serial answer before it is believed: its function code and its length."""

    function: int
    size: int


class Owed:
    """Of one unit on a serial line: the shapes of answers that were given up and may still come."""

    def __init__(self, timeout_s: float) -> None:
        self._settled_s = _SETTLED_S * max(1.0, timeout_s)
        self._shapes: set[Shape] = set()
        self._asked_s = 0.0

    def given_up(self, wanted: Shape, now_s: float) -> None:
        """Remember a request whose answer was not seen: it may come yet, or an exception in its place."""
        self._shapes |= {wanted, Shape(wanted.function | 0x80, 2)}
        self._asked_s = now_s

    def may_be(self, shape: Shape, now_s: float) -> bool:
        """Whether an answer of this shape might be a late one."""
        if self._shapes and now_s - self._asked_s > self._settled_s:
            self._shapes.clear()
        return shape in self._shapes

    def settled(self) -> None:
        """Forget: an answer was seen that can only be to a newer request, and a device answers in order."""
        self._shapes.clear()
