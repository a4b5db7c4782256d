"""Waiting longer after each failure, and the circuit breaker that is made of it.

A silent unit costs one short probe for each back-off, so that one dead unit of ten leaves the other nine their
bus. Jitter keeps a hundred gateways from coming back in step after a power cut.
"""

from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0
"""A device that was switched on again is read within a minute."""


class Backoff:
    """Delays that double from `FIRST_S` to `LONGEST_S`, each shortened by up to a half at random."""

    def __init__(self, jitter: Callable[[], float], first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._jitter = jitter
        self._first_s = first_s
        self._longest_s = longest_s
        self.failures = 0

    def failed(self) -> float:
        """Count a failure and return how long to wait (seconds)."""
        delay_s = min(self._first_s * 2.0 ** min(self.failures, 30), self._longest_s)
        self.failures += 1
        return delay_s * (1 - self._jitter() / 2)

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0


class Breaker:
    """Of one unit on one bus: closed while it answers; open, and probed once a back-off, while it does not."""

    def __init__(self, jitter: Callable[[], float], trips_after: int = 2) -> None:
        self._backoff = Backoff(jitter)
        self._trips_after = trips_after
        self._failures = 0
        self._closed_at_s = 0.0
        self.reason = ""
        """Why the last failure was one."""

    @property
    def open(self) -> bool:
        """Whether the unit is taken for dead."""
        return self._failures >= self._trips_after

    def allows(self, now_s: float) -> bool:
        """Whether the unit may be asked now."""
        return not self.open or now_s >= self._closed_at_s

    def failed(self, now_s: float, reason: str) -> bool:
        """Count a failure; return whether it opened the breaker just now."""
        self._failures += 1
        self.reason = reason
        if self.open:
            self._closed_at_s = now_s + self._backoff.failed()
        return self._failures == self._trips_after

    def answered(self) -> bool:
        """Count an answer; return whether it closed an open breaker."""
        was_open = self.open
        self._failures = 0
        self._backoff.succeeded()
        return was_open
