"""Killed at any instant of an action: nothing is written twice, the device is read, and the end is an honest one.

The process ends at each read, write, wait and write to disk in turn, before it and after it. What is durable then is
replayed into a new process, which goes on.
"""

import pytest
from acting import Bench, FakePlant, Killed, config
from test_liars import BEFORE, LIARS, ONE_STEP, TWO_STEPS, Liar

from edge_agent.judge.lifecycle import ENDS

CRITERIA = 'criteria = [{{ variable = "meter.volts", is = "below", value = 350.0 }}]\n'


def simple(folder):
    return Bench(folder)


def two_steps(folder):
    return Bench(folder, config().replace(ONE_STEP, TWO_STEPS))


def half_done(folder):
    bench = Bench(folder, config().replace(ONE_STEP, TWO_STEPS), plant=Liar)
    bench.ask()
    LIARS["does half: the first step"][0](bench.plant)
    return bench


def with_criteria(folder):
    return Bench(folder, config(book=CRITERIA))


def go(bench):
    """Approve, and wait until it ended; a criterion that never holds rolls it back."""
    bench.approve()
    if bench.action.stage == "verifying":
        bench.turn(seconds=3)


class Watch:
    """Counts what is done and ends the process at one instant; holds that each write had its durable intent."""

    def __init__(self, bench, at):
        self.bench, self.at, self.count = bench, at, 0
        self.written = self.without_intent = 0
        bench.ledger.fuse = bench.plant.fuse = self

    def __call__(self, what):
        if what.startswith("before writing"):
            self.written += 1
            moves = [facts["move"] for facts in self.bench.ledger.entries("action")]
            steps = len(self.bench.action.plan.steps)
            allowed = steps * moves.count("intend") + steps * moves.count("undo")
            self.without_intent += self.written > allowed
        self.count += 1
        if self.count == self.at:
            raise Killed(what)


def instants(make, folder):
    folder.mkdir()
    bench = make(folder)
    if not bench.actions:
        bench.ask()
    watch = Watch(bench, 0)
    go(bench)
    assert bench.action.stage in ENDS
    return watch.count


SCENES = [simple, two_steps, half_done, with_criteria]


@pytest.mark.parametrize("make", SCENES)
def test_killed_at_any_instant(tmp_path, make):
    total = instants(make, tmp_path / "whole")
    assert total > 20
    ends, without_intent = {}, 0
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        bench = make(folder)
        if not bench.actions:
            bench.ask()
        watch = Watch(bench, at)
        with pytest.raises(Killed):
            go(bench)
        end = after_restart(bench, watch)
        ends[end] = ends.get(end, 0) + 1
        without_intent += watch.without_intent
    assert without_intent == 0
    assert set(ends) <= ENDS
    print(f"{make.__name__}: {total} instants, {ends}, writes without a durable intent: {without_intent}")


def after_restart(bench, watch):
    """Start anew from what is durable, let it come to its end, and hold what must hold; return the end."""
    watch.at = 0
    intended = "intend" in bench.audited()
    writes = len(bench.plant.writes)
    bench.restart()
    bench.turn()
    if bench.action.stage == "waiting":  # the approval came in and was lost before it was durable: it is sent again
        bench.approve()
    for _ in range(3):
        bench.turn(seconds=3)
    action = bench.action
    if intended and "hold" not in bench.audited():
        assert len(bench.plant.writes) == writes, "a write under way when a process ended is never repeated"
    assert bench.plant.writes.count(("relay", True)) <= 1
    relay = bench.plant.points["relay"]
    if action.stage == "verified":
        assert relay is True
    if action.stage == "rolled_back":
        assert {point: bench.plant.points[point] for point in BEFORE} == BEFORE
    if action.stage == "failed":
        assert relay is False
    assert bench.audited()[-1] in ("pass", "restore", "lose", "fail", "refuse")
    return action.stage


@pytest.mark.parametrize("at", range(1, 40, 3))
def test_a_reboot_while_it_was_under_way_is_as_honest(tmp_path, at):
    bench = Bench(tmp_path, plant=FakePlant)
    bench.ask()
    watch = Watch(bench, at)
    try:
        go(bench)
    except Killed:
        watch.at = 0
        writes = len(bench.plant.writes)
        intended = "intend" in bench.audited()
        bench.restart(boot=b"c" * 16)
        bench.turn()
        bench.turn()
        first = bench.actions[0]
        assert first.stage in ("verified", "failed", "unknown") if intended else first.stage == "expired"
        assert len(bench.plant.writes) == writes
    assert watch.without_intent == 0
