"""Where a value is heading: a regression line that forgets, in constant memory; and the `Course` made of it."""

import math
from typing import NamedTuple

from edge_agent.judge.figures import figures

LEAST_READINGS = 24
"""A line through fewer says little."""
SURE = 4.0
"""Standard errors. The line is looked at once a turn and over and over, so that three would be passed by chance."""


class Course(NamedTuple):
    """A variable on its way: what a forecast is made of."""

    number: int
    path: str
    value: float
    """The level now, in the variable's unit."""
    slope: float
    """Per second."""
    slope_error: float
    """One standard error of it."""
    limit: float
    """Where trouble begins, on the side it heads for."""
    confidence: float
    """0..1: of the baseline behind it."""
    criticality: float
    """0..1: of its entity."""
    anchors: tuple[str, ...] = ()


class Trend:
    """Least squares over readings whose weight decays by a factor e in `memory` readings.

    Means and centred second moments are carried along (the update of West 1979), which stays exact however
    large the times grow.
    """

    __slots__ = ("count", "latest", "memory", "t", "tt", "ty", "weight", "y", "yy")

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.count = 0
        self.weight = self.t = self.y = self.tt = self.ty = self.yy = self.latest = 0.0

    def add(self, t: float, y: float) -> None:
        """Take the value `y` at `t` seconds; a clock that goes back begins a new line."""
        if t < self.latest:
            self.forget()
        self.latest = t
        self.count += 1
        keep = 1 - 1 / self.memory
        weight = self.weight = keep * self.weight + 1
        mean_t, mean_y = self.t, self.y
        dt, dy = t - mean_t, y - mean_y
        mean_t = self.t = mean_t + dt / weight
        mean_y = self.y = mean_y + dy / weight
        after = t - mean_t
        self.tt = keep * self.tt + dt * after
        self.ty = keep * self.ty + dy * after
        self.yy = keep * self.yy + dy * (y - mean_y)

    def slope(self, phi: float, floor: float) -> tuple[float, float]:
        """Return the slope per second and its standard error: (0, infinity) while there are too few readings.

        `phi` is the readings' autocorrelation, `floor` the least scatter that their resolution allows. The error
        is an upper bound: it takes every weight as 1.
        """
        if self.count < LEAST_READINGS or self.tt <= 0.0:
            return 0.0, math.inf
        slope = self.ty / self.tt
        scatter = max(floor**2, (self.yy - slope * self.ty) / (self.weight - 2))
        return slope, math.sqrt(scatter / self.tt * (1 + phi) / (1 - phi))

    def now(self) -> float:
        """Return the value of the line at the latest reading."""
        return self.y + self.ty / self.tt * (self.latest - self.t) if self.tt > 0.0 else self.y

    def to_state(self) -> list[float]:
        """Return it as plain numbers."""
        return [self.memory, self.count, self.weight, self.t, self.y, self.tt, self.ty, self.yy, self.latest]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        self.memory, count, self.weight, self.t, self.y, self.tt, self.ty, self.yy, self.latest = figures(state, 9)
        self.memory, self.count = max(1.0, self.memory), int(count)
