"""What every detector is: a file of judge/detectors."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edge_agent.judge.expected import Expected
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject


class Learned(NamedTuple):
    """What the warm-up came to: what detectors set out from."""

    expected: Expected
    errors: list[float]
    """The innovations of the warm-up, in sigma, in order."""
    values: list[float]
    """The readings they came from."""
    times_ms: Sequence[int]
    """When these were."""
    bar: float
    """The decades that the budget asks for."""


class Detector(Protocol):
    """One thing that can be noticed of one variable: a file of judge/detectors, with a function `begin`.

    Constant time and memory. What it has seen is said in decades: the logarithm of how many readings lie between two
    such sights when nothing is wrong. The monitor compares that with the budget and calls `alarm`.
    """

    kind: str
    share: float
    """How many times rarer than the budget its own false alarms must be, so that all together keep to it."""

    @property
    def open(self) -> object | None:
        """What was noticed and has not ended; None when there is nothing."""

    def learn(self, learned: Learned) -> None:
        """Set out from what the warm-up came to."""

    def update(self, step: Step) -> float:
        """Take a reading; return the decades it has come to, 0 when there is no opinion."""

    def alarm(self, step: Step) -> None:
        """Open a finding, or go on with the one that is open: the monitor has found its bar passed."""

    def reset(self) -> None:
        """Forget what is under way, but not what is open: another detector has explained it."""

    def conclude(self, subject: Subject) -> Conclusion | None:
        """Return how what is open stands."""

    def sentence(self, subject: Subject) -> str:
        """Return what is open in one sentence with numbers."""

    def to_state(self) -> list[object]:
        """Return everything it knows as plain JSON values."""

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError for what it cannot have returned."""
