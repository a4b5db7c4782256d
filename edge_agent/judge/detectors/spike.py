"""A reading far from all that is usual: by what the one before does not explain, or by where it stands.

Two sizes are looked at, each over its own mean and each by its own tail (judge/tail.py): how far the reading lies from
what the reading before lets expect, and how far from the mean at this phase of the day. The rarer counts. Both come of
a small model of its own, which forgets: it takes outliers as they are, where that of the charts bounds them, and goes
on from a new level by itself, so that no alarm of another detector disturbs it.

What is rare comes in episodes. In one, only what is rarer than all before is news. And what comes each day at the same
time, a backup or a change of shift, is no news either: of each part of the season it is remembered how far out its
farthest reading was, and only what is farther out than the days before were there is.
"""

import math
from array import array
from typing import NamedTuple

from edge_agent.judge import tail
from edge_agent.judge.baseline import PHI_MAX
from edge_agent.judge.detector import Learned
from edge_agent.judge.figures import figures, parts, shared
from edge_agent.judge.step import Step
from edge_agent.judge.subject import Conclusion, Subject
from edge_agent.judge.words import SIGMA, Ruler, clock
from edge_agent.model.errors import WireError
from edge_agent.model.site import DriftSettings

SHARE = 14.0
EPISODE = 100
"""Readings after a rare one within which only a rarer one is news."""
QUIET = 60
"""Readings without another after which it is over."""
MEMORY = 2048
"""Readings over which the model is taken; all of them while there are fewer."""
REACH = 10.0
"""Mean sizes: how far out a reading may lie to teach the model in full."""
MEAN_SIZE = 0.798
"""Of a normal variable, in sigma."""
PHASES = 16
"""Of the season, each with its own mean: what the harmonics leave over (judge/profile.py)."""
FEW = 8.0
"""Readings of a phase that weigh as much as the mean of all."""
PARTS = 48
"""Of the season, each with its habit."""
OCTAVE = 8
"""Steps of a doubled size in which habits are kept, each in a byte."""
FADE = 1
"""Steps by which a habit is smaller after a season that does not have it."""
FARTHER = 4
"""Steps beyond the habit that are news."""
EACH = 4
"""Of the readings beyond that memory, each so-manieth teaches."""
MEAN, SCALE, SPREAD, SQUARE, CROSS = range(5)
"""Where the model stands among the figures: the mean, mean sizes of the innovations and of what they come of, and the
mean square and the mean product with the one before that tell phi."""
BEFORE = 5
"""Where the reading before stands, from the mean and its phase."""
PHI, NEAREST, FARTHEST = range(6, 9)
"""Where that stands which follows from the model and the tails: phi, and the quantiles in the variable's unit."""
PEAK, UNTIL, SIZE = range(9, 12)
"""Where the decades of the episode under way stand, the reading it goes on to, and the size of the last reading that
was news, in sigma."""
NEAR, FAR = 12, 12 + tail.FIGURES
"""Where the two tails stand: of the innovations, and of what is left of the readings."""
OWN = FAR + tail.FIGURES
"""Where the phases do."""


class Spike(NamedTuple):
    """What stuck out."""

    since_ms: int
    raised_ms: int
    value: float
    size: float
    """In sigma, with sign."""
    often: int
    quiet: int


def begin(subject: Subject, settings: DriftSettings) -> "Spikes | None":
    """Return the detector for a variable that should move smoothly."""
    return Spikes(shared(int(settings.season * 1000))) if subject.shifts else None


class Spikes:
    """The two tails of one variable, and the model they come of."""

    __slots__ = (
        "_bar",
        "_floor",
        "_habit",
        "_heard",
        "_own",
        "_period_ms",
        "decades",
        "open",
    )

    kind = "spike"
    share = SHARE

    def __init__(self, period_ms: int) -> None:
        self.open: Spike | None = None
        self.decades = 0.0
        """What the last reading has come to."""
        self._bar = tail.RAREST
        # How far out the farthest reading of each part was in the seasons before, and then in this one, in steps.
        self._habit = bytearray(2 * PARTS) if period_ms else None
        self._period_ms = period_ms
        self._heard = 0
        self._floor = 0.0  # 0 before there is a baseline, and then the least that a mean size can be
        # The figures above, and behind them the means of the phases and the season of the habits: in one array, which
        # weighs a third of objects.
        self._own = array("d", [0.0]) * (OWN + (PHASES + 1 if period_ms else 0))

    def learn(self, learned: Learned) -> None:
        """Set out from the warm-up."""
        base, own = learned.expected.baseline, self._own
        self._bar, self._floor, self._heard = learned.bar, base.floor, base.size
        square = base.spread * base.spread
        sizes_of_model = (max(base.floor, sigma * MEAN_SIZE) for sigma in (base.sigma, base.spread))
        own[:BEFORE] = array("d", (base.mean, *sizes_of_model, square, base.phi * square))
        own[BEFORE] = learned.values[-1] - base.mean if learned.values else 0.0
        own[UNTIL] = 0.0
        own[OWN:] = array("d", [0.0]) * (len(own) - OWN)
        deviations = ((value - base.mean) / base.spread for value in learned.values)
        for at, sizes in ((NEAR, learned.errors), (FAR, deviations)):
            tail.begin(own, at)
            for number, size in enumerate(sizes, 1):
                pace = max(tail.PACE, 1 / number)
                tail.fall(own, at, pace)
                if abs(size) > MEAN_SIZE * own[at]:
                    tail.rarity(own, at, abs(size) / MEAN_SIZE, pace)
        self._bound()

    def update(self, step: Step) -> float:
        """Take a reading; return how rare it is, in decades, if that is news."""
        if self._floor == 0.0:
            return 0.0
        heard = self._heard = step.heard
        if self.open is not None:
            self._quieten(self.open)
        own = self._own
        rest = step.level - own[MEAN]
        phase = 0
        if self._period_ms:
            phase = OWN + step.into_ms * PHASES // self._period_ms
            rest -= own[phase]
        before, phi = own[BEFORE], own[PHI]
        own[BEFORE] = rest
        error = rest - phi * before if step.follows else rest * math.sqrt(1 - phi * phi)
        if heard < MEMORY or heard % EACH == 0:
            self._teach(phase, rest, before, error)
        size, place = error * step.quiet, rest * step.quiet
        near, far = own[NEAREST], own[FARTHEST]
        if -near <= size <= near and -far <= place <= far:
            self.decades = 0.0
        else:
            self.decades = self._rarity(size, place, step.at_ms)
        return self.decades

    def _rarity(self, size: float, place: float, at_ms: int) -> float:
        """Return the decades of a size beyond one of the quantiles; 0 when it is no news."""
        own = self._own
        near, far = abs(size) / own[SCALE], abs(place) / own[SPREAD]
        nearer = tail.rarity(own, NEAR, near) if near > own[NEAR] else 0.0
        farther = tail.rarity(own, FAR, far) if far > own[FAR] else 0.0
        self._bound()
        decades = max(nearer, farther)
        odd = math.copysign(near, size) if nearer >= farther else math.copysign(far, place)
        is_habit = self._habit is not None and self._is_habit(self._habit, abs(odd), at_ms)
        if is_habit or (self._heard <= own[UNTIL] and decades <= own[PEAK]):
            return 0.0
        own[PEAK], own[UNTIL] = decades, self._heard + EPISODE
        own[SIZE] = MEAN_SIZE * odd
        return decades

    def _is_habit(self, habit: bytearray, size: float, at_ms: int) -> bool:
        """Whether the seasons before had one as far out at this time, or just before or after; remember this one."""
        season, at = divmod(at_ms, self._period_ms)
        if season != self._own[-1]:
            before, this = habit[:PARTS], habit[PARTS:]
            habit[:PARTS] = bytes(max(was - FADE, now, 0) for was, now in zip(before, this, strict=True))
            habit[PARTS:] = bytes(PARTS)
            self._own[-1] = season
        part = at * PARTS // self._period_ms
        far = min(255, int(OCTAVE * math.log2(1 + size)))
        habit[PARTS + part] = max(habit[PARTS + part], far)
        return far <= FARTHER + max(habit[part - 1 if part else PARTS - 1], habit[part], habit[(part + 1) % PARTS])

    def _teach(self, phase: int, rest: float, before: float, error: float) -> None:
        """Let a reading teach the model: none more than what lies `REACH` mean sizes out."""
        own, floor = self._own, self._floor
        many, of = (1, self._heard) if self._heard < MEMORY else (EACH, MEMORY)
        pace = many / of
        scale, spread = own[SCALE], own[SPREAD]
        reach = REACH * spread
        if not -reach <= rest <= reach:
            rest = math.copysign(reach, rest)
        if not -reach <= before <= reach:
            before = math.copysign(reach, before)
        own[MEAN] += pace * rest
        own[SCALE] = max(floor, scale + pace * (min(abs(error), REACH * scale) - scale))
        own[SPREAD] = max(floor, spread + pace * (abs(rest) - spread))
        own[SQUARE] += pace * (before * before - own[SQUARE])
        own[CROSS] += pace * (before * rest - own[CROSS])
        if phase:
            own[phase] += pace * PHASES / (1 + FEW * PHASES * pace) * rest
        tail.fall(own, NEAR, many * tail.PACE)
        tail.fall(own, FAR, many * tail.PACE)
        self._bound()

    def _bound(self) -> None:
        """Keep at hand what each reading needs."""
        own = self._own
        square = own[SQUARE]
        phi = own[CROSS] / square if square > 0.0 else 0.0
        own[PHI] = phi if -PHI_MAX <= phi <= PHI_MAX else math.copysign(PHI_MAX, phi)
        own[NEAREST], own[FARTHEST] = own[NEAR] * own[SCALE], own[FAR] * own[SPREAD]

    def alarm(self, step: Step) -> None:
        """Open a spike, or count one more."""
        was = self.open
        since_ms, count = (step.at_ms, 1) if was is None else (was.since_ms, was.often + 1)
        self.open = Spike(since_ms, step.at_ms, step.value, self._own[SIZE], count, 0)

    def reset(self) -> None:
        """Take what follows as explained, unless it is rarer than what this detector would alarm at."""
        self._own[PEAK], self._own[UNTIL] = self._bar, self._heard + EPISODE

    def forget(self) -> None:
        """Have no opinion until there is a baseline again."""
        self._floor = self.decades = 0.0

    def conclude(self, subject: Subject) -> Conclusion | None:  # noqa: ARG002 - one shape for all detectors
        """Return how the open spikes stand."""
        if self.open is None:
            return None
        severity = "low" if self.open.often == 1 else "medium"
        return Conclusion(severity, self.open.since_ms, self.open.raised_ms, abs(self.open.size))

    def sentence(self, subject: Subject) -> str:
        """Return the open spikes in words."""
        assert self.open is not None
        since_ms, raised_ms, value, size, count, _ = self.open
        say = Ruler(subject.unit, max(abs(value) * 1e-4, 1e-9)).amount(value)
        far = f"{abs(size):.1f} {SIGMA}" if abs(size) < 100 else f"over 100 {SIGMA}"  # noqa: PLR2004 - says enough
        side = "above" if size > 0 else "below"
        again = "" if count == 1 else f"; {count} such readings since {clock(since_ms)}"
        return f"{subject.path} jumped to {say} at {clock(raised_ms)}, {far} {side} what was expected{again}"

    def _quieten(self, spike: Spike) -> None:
        self.open = None if spike.quiet >= QUIET else spike._replace(quiet=spike.quiet + 1)

    def to_state(self) -> list[object]:
        """Return it as plain JSON values, without the bar: it is the budget's."""
        return [
            [self._heard, self._floor],
            list(self._own),
            list(self._habit or ()),
            None if self.open is None else list(self.open),
        ]

    def resume(self, state: object) -> None:
        """Go on from what `to_state` returned. Raises WireError."""
        own, model, habit, spike = parts(state, 4)
        heard, floor = figures(own, 2)
        self._heard, self._floor = int(heard), max(0.0, floor)
        if self._habit is not None:
            self._habit = bytearray(max(0, min(255, int(each))) for each in figures(habit, len(self._habit)))
        self._own = array("d", figures(model, len(self._own)))
        if floor > 0.0 and not (
            floor <= min(self._own[SCALE], self._own[SPREAD]) and tail.is_sound(self._own, NEAR, FAR)
        ):
            raise WireError("baselines: got figures that no tail can have, wanted those that were saved")
        self._bound()
        if spike is not None:
            since_ms, raised_ms, value, size, count, quiet = figures(spike, 6)
            self.open = Spike(int(since_ms), int(raised_ms), value, size, int(count), int(quiet))
