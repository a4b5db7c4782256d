"""All the ways a device can lie about a write: each ends verified, rolled back or unknown, audited, never a false success.

A liar is a function that bends a plant before the approval comes in. `truth` is what the relay and the level really
hold in the end; an action may only end `verified` when both are as the plan wanted and nothing else was touched.
"""

import pytest
from acting import Bench, FakePlant, config

from edge_agent.model.errors import LinkError, WireError

TWO_STEPS = (
    'steps = [{{ point = "meter.relay", value = true, expect = false }}, '
    '{{ point = "meter.level", value = 200.0, expect = 100.0 }}]'
)
ONE_STEP = 'steps = [{{ point = "meter.relay", value = true, expect = false }}]'
WANTED = {"relay": True, "level": 200}
BEFORE = {"relay": False, "level": 100, "next": False}
TIMEOUT, RESET = LinkError("no answer", "timeout"), LinkError("connection reset", "link")
REFUSED, ECHO = WireError("exception 4, device failure", "refused"), WireError("the echo of another write", "mismatch")


class Liar(FakePlant):
    """Writes go through `lie(self, point, value)`, and what is due later happens as time passes."""

    lie = None
    seen = None

    def __init__(self, journal, **points):
        super().__init__(journal, **points)
        self.later = []
        self.reads = 0
        self.count = 0

    async def take(self, point, value):
        self.count += 1
        await super().take(point, value) if self.lie is None else self.lie(point, value)

    async def look(self, point):
        self.reads += 1
        return self.points[point] if self.seen is None else self.seen(point)

    def passed(self, seconds):
        due = [(left - seconds, point, value) for left, point, value in self.later]
        for left, point, value in due:
            if left <= 0:
                self.points[point] = value
        self.later = [each for each in due if each[0] > 0]

    def do(self, point, value):
        self.points[point] = value


def nothing(p, *_):
    pass


def fails(error, *, done):
    """Return a lie that raises, having done it or not."""

    def lie(plant):
        def write(point, value):
            if done:
                plant.do(point, value)
            raise error

        plant.lie = write

    return lie


def once(error, *, done, which=1):
    """Return a lie that raises at the n-th write only."""

    def lie(plant):
        def write(point, value):
            if plant.count != which or done:
                plant.do(point, value)
            if plant.count == which:
                raise error

        plant.lie = write

    return lie


def writes(change):
    """Return a lie that does something else: `change(plant, point, value)`."""

    def lie(plant):
        plant.lie = lambda point, value: change(plant, point, value)

    return lie


def late(seconds, *, first_only=False):
    def change(plant, point, value):
        if first_only and plant.count > 2:
            plant.do(point, value)
        else:
            plant.later.append((seconds, point, value))

    return writes(change)


def reads(see):
    """Return a lie in what is read after the first write: `see(plant, point)`."""

    def lie(plant):
        plant.seen = lambda point: see(plant, point) if plant.count else plant.points[point]

    return lie


def raising(error):
    def see(plant, point):
        raise error

    return see


def flaps(seconds):
    """Do it, and take it back after so long."""

    def change(plant, point, value):
        old = plant.points[point]
        plant.do(point, value)
        plant.later.append((seconds, point, old))

    return change


def silent_after(count, error=TIMEOUT):
    def lie(plant):
        plant.seen = lambda point: plant.points[point] if plant.count < count else raising(error)(plant, point)

    return lie


def stuck_after_first(plant, point, value):
    if plant.count == 1:
        plant.do(point, value)


def only(which):
    return writes(lambda plant, point, value: plant.do(point, value) if point == which else None)


def bend(plant, also):
    """Add to how the plant lies already."""
    lie = plant.lie

    def both(point, value):
        also(plant)
        lie(point, value)

    plant.lie = both


def refuse_third(plant):
    if plant.count == 3:
        raise REFUSED


VERIFIED, UNDONE, LOST, FAILED = "verified", "rolled_back", "unknown", "failed"
LIARS = {
    # acknowledges and …
    "does it": (writes(lambda p, *a: p.do(*a)), VERIFIED),
    "does nothing": (writes(nothing), UNDONE),
    "does it late, within the looks": (late(0.025), VERIFIED),
    "does everything late, the inverse too": (late(0.15), UNDONE),
    "does it after it was undone": (late(0.1, first_only=True), LOST),
    "does it and takes it back": (writes(flaps(0.015)), UNDONE),
    "does it and takes it back between two looks": (writes(flaps(0.025)), UNDONE),
    "does it next door, the inverse too": (writes(lambda p, point, v: p.do("next", bool(v))), UNDONE),
    "does it next door once": (writes(lambda p, point, v: p.do("next" if p.count < 3 else point, v)), LOST),
    "does it, and next door too": (writes(lambda p, point, v: (p.do(point, v), p.do("next", True))), LOST),
    "does it, and clears next door later": (
        writes(lambda p, point, v: (p.do(point, v), p.later.append((0.015, "next", True)))),
        LOST,
    ),
    "does half: the first step": (only("relay"), UNDONE),
    "does half: the second step": (only("level"), UNDONE),
    "does the opposite": (writes(lambda p, point, v: p.do(point, (not v) if isinstance(v, bool) else 0)), LOST),
    "does another value": (writes(lambda p, point, v: p.do(point, v if point == "relay" else 199)), LOST),
    "does it, cut to a byte": (
        writes(lambda p, point, v: p.do(point, v if isinstance(v, bool) else int(v) & 0x7F)),
        UNDONE,
    ),
    "swaps the two points": (
        writes(
            lambda p, point, v: p.do("level" if point == "relay" else "relay", int(v) if point == "relay" else bool(v))
        ),
        LOST,
    ),
    "does it once and then never again": (writes(stuck_after_first), LOST),
    "clears itself at the second write": (
        writes(lambda p, point, v: (p.do(point, v), p.points.update(BEFORE) if p.count == 2 else None)),
        UNDONE,
    ),
    "resets to zero": (writes(lambda p, *_: p.points.update(relay=False, level=0)), LOST),
    # fails, and …
    "times out, having done it": (once(TIMEOUT, done=True, which=2), VERIFIED),
    "times out at every write, having done them": (fails(TIMEOUT, done=True), UNDONE),
    "times out, not having done it": (fails(TIMEOUT, done=False), UNDONE),
    "times out at the second step, done": (once(TIMEOUT, done=True, which=2), VERIFIED),
    "times out at the second step, not done": (once(TIMEOUT, done=False, which=2), UNDONE),
    "resets the line after applying": (once(RESET, done=True, which=2), VERIFIED),
    "resets the line at the first step": (once(RESET, done=True, which=1), UNDONE),
    "resets the line before applying": (fails(RESET, done=False), UNDONE),
    "refuses": (fails(REFUSED, done=False), UNDONE),
    "refuses, having done it": (once(REFUSED, done=True, which=2), VERIFIED),
    "does half, and refuses half of the inverse": (
        lambda p: (only("relay")(p), bend(p, refuse_third)),
        UNDONE,
    ),
    "answers for another register": (once(ECHO, done=True, which=2), VERIFIED),
    "answers for another register, not having done it": (fails(ECHO, done=False), UNDONE),
    "is busy and does it later": (
        writes(lambda p, point, v: (p.later.append((0.015, point, v)), (_ for _ in ()).throw(REFUSED))[0]),
        UNDONE,
    ),
    "does nothing, and refuses the inverse": (
        writes(lambda p, *_: None if p.count <= 2 else (_ for _ in ()).throw(REFUSED)),
        UNDONE,
    ),
    "does half, and does not take the inverse": (
        writes(lambda p, point, v: p.do(point, v) if p.count == 1 else None),
        LOST,
    ),
    # lies when it is read back
    "falls silent after the first write": (silent_after(1), LOST),
    "falls silent after both": (silent_after(2), LOST),
    "falls silent while it is undone": (
        lambda p: (only("relay")(p), silent_after(3)(p)),
        LOST,
    ),
    "resets the line whenever it is read": (reads(raising(RESET)), LOST),
    "answers reads with garbage": (reads(raising(WireError("garbage"))), LOST),
    "has no value any more": (reads(lambda p, point: None), LOST),
    "always reads back what stood before": (reads(lambda p, point: BEFORE[point]), UNDONE),
    "reads back as written whatever stands there": (
        lambda p: (only("relay")(p), reads(lambda p, point: WANTED.get(point, False))(p)),
        VERIFIED,
    ),
    "answers with another register": (reads(lambda p, point: p.points["level" if point == "relay" else "relay"]), LOST),
    "shows the old value for two looks": (
        reads(lambda p, point: BEFORE[point] if p.reads < 14 else p.points[point]),
        VERIFIED,
    ),
    "alternates between old and new": (
        reads(lambda p, point: BEFORE[point] if (p.reads // 5) % 2 else p.points[point]),
        None,
    ),
    "is a tenth off": (reads(lambda p, point: p.points[point] + 0.1 if point == "level" else p.points[point]), LOST),
    "reads next door as unknown": (reads(lambda p, point: None if point == "next" else p.points[point]), LOST),
    "answers every third read only": (
        reads(lambda p, point: raising(TIMEOUT)(p, point) if p.reads % 3 else p.points[point]),
        LOST,
    ),
}
UNKNOWABLE = {"reads back as written whatever stands there"}
"""A device whose every answer is a lie cannot be found out by asking it: that is what a verify point is for."""


def bent(tmp_path, name):
    bench = Bench(tmp_path, config().replace(ONE_STEP, TWO_STEPS), plant=Liar)
    bench.ask()
    LIARS[name][0](bench.plant)
    bench.approve()
    return bench


@pytest.mark.parametrize("name", LIARS)
def test_a_liar_ends_honestly(tmp_path, name):
    bench = bent(tmp_path, name)
    action = bench.action
    assert action.stage in (VERIFIED, UNDONE, LOST, FAILED)
    bench.plant.passed(1.0)  # whatever it had still in mind
    truth = {point: bench.plant.points[point] for point in BEFORE}
    if action.stage == VERIFIED and name not in UNKNOWABLE:
        assert truth == {**WANTED, "next": False}
    if action.stage == UNDONE:
        assert truth == BEFORE
    assert bench.audited()[-1] in ("pass", "restore", "lose", "fail")
    assert action.reason
    bench.turn()
    assert bench.action.stage == action.stage, "an end is an end"


@pytest.mark.parametrize("name", [name for name, (_, end) in LIARS.items() if end is not None])
def test_each_liar_is_called_what_it_is(tmp_path, name):
    action = bent(tmp_path, name).action
    assert (action.stage, action.reason) == (LIARS[name][1], action.reason)


def test_there_are_as_many_liars_as_were_asked_for():
    assert len(LIARS) >= 45
