"""One reading on its way past the detectors."""


class Step:
    """One good reading. It is filled anew for each, so that a thousand readings a second make no garbage."""

    __slots__ = (
        "again",
        "at_ms",
        "deviation",
        "elapsed_ns",
        "error",
        "follows",
        "heard",
        "into_ms",
        "level",
        "mono_ns",
        "quiet",
        "ready",
        "value",
        "z",
    )

    def __init__(self) -> None:
        self.value = 0.0
        self.at_ms = 0
        self.mono_ns = 0
        self.heard = 0
        """Which reading of its variable it is, from 1."""
        self.elapsed_ns = 0
        """Since the reading before; at most 0 when that is not known."""
        self.follows = False
        """Whether the reading before is its predecessor: no gap lies between."""
        self.ready = False
        """Whether there is a baseline, and so the innovation."""
        self.again = 0
        """With an alarm: the so-manieth of its kind beyond those that a budget allows for."""
        self.level = 0.0
        """The reading without its season."""
        self.into_ms = 0
        """How far into its season it is, where there is one."""
        self.quiet = 1.0
        """By which factor the variable scatters less in this phase of its season than over all."""
        self.deviation = 0.0
        """From the mean with its season, in the variable's unit."""
        self.error = 0.0
        """The innovation, in sigma: what the reading before does not explain."""
        self.z = 0.0
        """The innovation for charts of the mean: clipped, and by its long-run sigma."""
