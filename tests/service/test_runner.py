"""The runner, against links that do what the test tells them."""

import asyncio
import contextlib
import itertools
from collections import Counter

import pytest
from fake_time import FakeClock
from fake_time import run as run_in_fake_time

from edge_agent.model.errors import LinkError, SpoiltError, StoreError, WireError
from edge_agent.model.profile import FirmwareRange, Identity
from edge_agent.model.reading import Anchor, Reading
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.service.clock import Clock
from edge_agent.service.door import Door
from edge_agent.service.inbox import Inbox
from edge_agent.service.runner import Runner
from edge_agent.service.tasks import first_of
from edge_agent.sources import Poll

PERIOD_S = 0.02
START_MS = 1_764_000_000_000


class FakeLink:
    """A bus whose units answer, are silent, or answer wrongly, by name."""

    def __init__(self, units, *, period_s=PERIOD_S, answer_s=0.0):
        self.bus = "fake://bus"
        self.polls = [Poll(u, u, (f"{u}_point",), period_s, 0.05, f"poll of {u}") for u in units]
        self.faults = {}
        self.dropped = Counter()
        self.answer_s = answer_s
        self.opened = self.closed = 0
        self.asked = []
        self.busy = False

    async def open(self):
        self.opened += 1
        if "open" in self.faults:
            raise self.faults["open"]

    async def read(self, poll):
        assert not self.busy, "two requests at once on one bus"
        self.busy = True
        try:
            self.asked.append(poll.source)
            fault = self.faults.get(poll.source)
            if isinstance(fault, LinkError) and fault.reason == "timeout":
                await asyncio.sleep(poll.timeout_s)
            if fault is not None:
                raise fault
            await asyncio.sleep(self.answer_s)
            return [Reading(Anchor(poll.source, poll.detail, Clock()()), poll.points[0], 0.0)]
        finally:
            self.busy = False

    async def write(self, source, point, value):
        self.asked.append(f"write {source}.{point}={value}")

    async def close(self):
        self.closed += 1


def run(link, until, seconds=5.0, door=None):
    """Run the link until `until(inbox)` holds, and return the inbox and the runner."""

    async def go():
        inbox = Inbox()
        runner = Runner(link, inbox, FakeClock(START_MS), lambda: 0.5, door)
        taken = []
        task = asyncio.create_task(runner.run())
        try:
            async with asyncio.timeout(seconds):
                while not await _holds(until, taken, runner):
                    await inbox.news()
                    taken += inbox.take()[0]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return taken, runner

    return run_in_fake_time(go())


async def _holds(until, taken, runner):
    return until(taken, runner)


def count(taken, source, quality="good"):
    return sum(r.anchor.source == source and r.quality == quality for r in taken)


def test_every_poll_is_made_at_once_and_then_on_its_beat():
    link = FakeLink(["a", "b"])
    taken, _ = run(link, lambda taken, _: count(taken, "a") >= 5 and count(taken, "b") >= 5)
    assert link.asked[:2] == ["a", "b"]
    assert taken[0].value == 0.0


def test_pain_01_a_dead_unit_of_ten_costs_the_others_next_to_nothing():
    link = FakeLink([f"u{n}" for n in range(10)], period_s=0.2)
    link.faults["u3"] = LinkError("no answer", "timeout")
    _, runner = run(link, lambda taken, _: count(taken, "u0") >= 15)
    kept = [
        runner.tallies[poll].answered / (runner.tallies[poll].answered + runner.tallies[poll].skipped)
        for poll in link.polls
        if poll.source != "u3"
    ]
    assert min(kept) >= 0.95
    assert link.asked.count("u3") < 8


def test_silence_becomes_readings_with_its_reason():
    link = FakeLink(["a", "b"])
    link.faults["a"] = LinkError("no answer", "timeout")
    taken, _ = run(link, lambda taken, _: count(taken, "a", "bad:timeout") >= 3)
    assert all(reading.value is None for reading in taken if reading.anchor.source == "a")
    assert link.opened == 1, "a unit's silence never reopens the bus for all"


def test_what_is_due_and_not_asked_of_a_silent_unit_is_missing_all_the_same():
    """Else statistics and report never hear of most of a dead unit: one probe is of one poll."""
    link = FakeLink(["a", "b"])
    link.faults["a"] = LinkError("no answer", "garbage")
    told_with_the_opening = 1
    run(link, lambda taken, _: count(taken, "a", "bad:garbage") > link.asked.count("a") + told_with_the_opening + 3)


def test_pain_18_a_bus_on_which_nobody_answers_is_opened_anew():
    """An adapter that was pulled out and came back under the same name may look as if it were still there."""
    link = FakeLink(["a", "b"])
    link.faults = {unit: LinkError("no answer", "timeout") for unit in "ab"}

    def reopened(taken, _):
        if link.opened == 2:
            link.faults.clear()
        return count(taken, "a") and count(taken, "b")

    run(link, reopened)
    assert link.opened == 2


def test_pain_25_a_unit_that_answers_again_says_first_who_it_is():
    link = FakeLink(["a", "b"])
    who = Poll("a", "a", ("who",), 86_400.0, 0.05, "who is a", identity=True)
    link.polls = [who, *link.polls]
    link.faults["a"] = LinkError("no answer", "timeout")

    def back(taken, _):
        if count(taken, "a", "bad:timeout") >= 4:
            link.faults.clear()
        return count(taken, "a") >= 4

    taken, runner = run(link, back)
    good = [reading.point for reading in taken if reading.anchor.source == "a" and reading.quality == "good"]
    assert "who" in good[:2]
    assert runner.tallies[who].answered == 1


def test_a_connection_that_one_unit_spoilt_costs_no_other_a_poll_and_all_say_anew_who_they_are():
    link = FakeLink(["a", "b"])
    who = Poll("a", "a", ("a_point",), 86_400.0, 0.05, "who is a", identity=True)
    link.polls = [who, *link.polls]
    refusals, door = [], Door([identified(0.0)])
    read = link.read

    async def spoilt_once(poll):
        if poll is link.polls[2] and link.opened == 1 and link.asked.count("b") == 2:
            raise SpoiltError("half of another answer is on the connection")
        if link.opened == 2 and not refusals:
            refusals.append(door.refusal("a"))
        return await read(poll)

    link.read = spoilt_once
    taken, runner = run(link, lambda taken, _: count(taken, "b") >= 5 and count(taken, "a") >= 6, door=door)
    assert link.opened == 2
    assert {reading.quality for reading in taken} <= {"good", "uncertain:firmware"}
    assert all(tally.failed == 0 for tally in runner.tallies.values())
    assert refusals == ["the device has not said yet who it is"]
    assert runner.tallies[who].answered == 2
    assert runner.door.refusal("a") == ""


def identified(fw):
    identity = Identity(firmware=FirmwareRange("a_point", fw, fw))
    return Source(ModbusSettings(name="a", url="tcp://h"), "w:device:a", "device", (), identity=identity)


@pytest.mark.parametrize(("fw", "quality"), [(0.0, "good"), (1.0, "uncertain:firmware")])
def test_values_and_writes_wait_for_the_device_to_be_known(fw, quality):
    link = FakeLink(["a"])
    link.polls = [*link.polls, Poll("a", "a", ("value",), PERIOD_S, 0.05, "value of a")]
    door = Door([identified(fw)])
    taken, runner = run(link, lambda taken, _: len(taken) >= 4, door=door)
    assert {reading.quality for reading in taken if reading.point == "value"} == {quality}
    assert bool(runner.door.refusal("a")) == (quality != "good")
    assert runner.door.refusal("nobody") == "nobody: no such source"


def test_a_wrong_answer_marks_its_own_values_and_keeps_the_unit():
    link = FakeLink(["a", "b"])
    link.faults["a"] = WireError("wrong length", "mismatch")
    taken, runner = run(link, lambda taken, _: count(taken, "a", "bad:mismatch") >= 5)
    assert count(taken, "b") >= 4
    of_a, of_b = (runner.tallies[poll].skipped for poll in link.polls)
    assert of_a <= of_b + 1, "a breaker would leave out many of its polls, and none of the other's"


def test_a_lost_link_is_closed_and_opened_again_and_its_values_are_bad_meanwhile():
    link = FakeLink(["a", "b"])
    link.faults["a"] = LinkError("reset by peer", "link")

    def mended(taken, _):
        if count(taken, "b", "bad:link"):
            link.faults.clear()
        return count(taken, "a") > 0

    taken, _ = run(link, mended)
    assert link.opened == 2
    assert link.closed >= 1
    assert count(taken, "b", "bad:link") == 1


def test_a_device_that_is_off_at_start_is_tried_again():
    link = FakeLink(["a"])
    link.faults["open"] = LinkError("connection refused", "link")

    def up_after_the_first_try(taken, _):
        if count(taken, "a", "bad:link"):
            link.faults.clear()
        return count(taken, "a") > 0

    run(link, up_after_the_first_try)
    assert link.opened == 2


def test_what_was_due_while_the_link_was_down_is_counted_and_how_long_an_answer_takes_is_known():
    link = FakeLink(["a"], answer_s=0.01)
    link.faults["open"] = LinkError("connection refused", "link")

    def up_after_the_second_try(taken, runner):
        if runner.tallies and runner.tallies[link.polls[0]].failed >= 2:
            link.faults.clear()
        return count(taken, "a") > 0

    _, runner = run(link, up_after_the_second_try, 60.0)
    tally = runner.tallies[link.polls[0]]
    assert tally.skipped >= 1
    assert tally.took_ns > 9_000_000


def test_pain_02_a_write_waits_for_no_poll_but_never_runs_beside_one():
    link = FakeLink([f"u{n}" for n in range(5)], period_s=0.005, answer_s=0.005)

    async def go():
        inbox = Inbox()
        runner = Runner(link, inbox, Clock(), lambda: 0.5)
        task = asyncio.create_task(runner.run())
        await inbox.news()
        before = len(link.asked)
        await runner.ask(lambda: link.write("u1", "x", 0))
        after = link.asked.index("write u1.x=0")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return before, after

    before, after = asyncio.run(go())
    assert after - before <= 1


def test_a_write_whose_asker_lost_patience_before_it_was_begun_is_never_made():
    """He was told that it was not known to be done, and may have undone it since."""
    link = FakeLink(["slow"], period_s=0.001, answer_s=0.2)
    begun, read = asyncio.Event(), link.read

    async def slow(poll):
        begun.set()
        return await read(poll)

    link.read = slow

    async def go():
        inbox = Inbox()
        runner = Runner(link, inbox, Clock(), lambda: 0.5)
        task = asyncio.create_task(runner.run())
        await begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await runner.ask(lambda: link.write("slow", "x", 1))
        await runner.ask(lambda: link.write("slow", "x", 2))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert [asked for asked in link.asked if asked.startswith("write")] == ["write slow.x=2"]


def test_what_a_device_says_by_itself_goes_stale_in_silence_and_comes_back():
    link = FakeLink(["a"], period_s=None)
    link.polls = [Poll("a", "a", ("a_point",), None, 0.05, "topic a")]
    link.answer_s = 60

    def spoken(taken, _):
        if count(taken, "a", "bad:stale"):
            link.answer_s = 0.001
        return count(taken, "a") > 2

    taken, _ = run(link, spoken)
    assert count(taken, "a", "bad:stale") >= 1


def test_a_full_inbox_drops_the_oldest_and_says_how_many():
    inbox = Inbox(capacity=3)
    at = Clock()()
    readings = [Reading(Anchor("a", "x", at), "p", float(n)) for n in range(5)]
    inbox.put(readings)
    taken, entries = inbox.take()
    assert [r.value for r in taken] == [2.0, 3.0, 4.0]
    assert [dict(e.facts) for e in entries] == [{"reason": "inbox full", "count": 2}]
    assert inbox.take() == ([], [])


@pytest.mark.parametrize("text", ["boot", "clock"])
def test_the_clock_is_this_machines(text):
    at = Clock()()
    assert at.at_ms > 1_600_000_000_000
    assert Clock()().mono_ns >= at.mono_ns
    assert isinstance(at.synced, bool)


def test_a_link_that_swallows_its_cancellation_does_not_keep_the_agent_from_stopping():
    link = FakeLink(["a"])

    async def deaf():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        raise LinkError("connection refused", "link")

    link.open = deaf

    async def go():
        runner = Runner(link, Inbox(), Clock(), lambda: 0.5)
        task = asyncio.create_task(runner.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        runner.stop(task)
        async with asyncio.timeout(2):
            await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(go())


def test_a_disk_that_fails_ends_the_agent_as_what_it_is():

    group = BaseExceptionGroup("tasks", [ExceptionGroup("inner", [StoreError("fsync")])])
    assert isinstance(first_of(group, StoreError), StoreError)
    mixed = BaseExceptionGroup("tasks", [StoreError("fsync"), ZeroDivisionError()])
    assert first_of(mixed, StoreError) is mixed


def test_a_link_that_opens_and_is_lost_again_and_again_is_told_once_and_asked_ever_less(caplog):
    link = FakeLink(["a"])
    link.faults["a"] = LinkError("reset by peer", "link")
    _, runner = run(link, lambda taken, _: count(taken, "a", "bad:link") >= 6)
    assert sum("trying again" in record.message for record in caplog.records) == 1
    assert runner._backoff.failures >= 2


def test_pain_29_wrong_answers_are_told_once_and_once_more_when_they_end(caplog):
    caplog.set_level("INFO")
    link = FakeLink(["a"])
    link.faults["a"] = WireError("bus a: wrong length", "mismatch")

    def mended(taken, _):
        if count(taken, "a", "bad:mismatch") >= 3:
            link.faults.clear()
        return count(taken, "a") >= 3

    run(link, mended)
    assert sum("wrong length" in record.message for record in caplog.records) == 1
    assert sum("good again" in record.message for record in caplog.records) == 1


def test_what_a_link_passed_over_is_told_with_its_bus_and_reason_and_only_once():
    link = FakeLink(["a"])
    runner = Runner(link, Inbox(), Clock(), lambda: 0.5)
    link.dropped.update({"unknown name": 3})
    assert [entry.facts for entry in runner.take_drops()] == [
        {"where": "fake://bus", "reason": "unknown name", "count": 3}
    ]
    assert runner.take_drops() == []


def test_what_is_wrong_with_a_link_names_it_once(caplog):
    link = FakeLink(["a"])
    link.faults["open"] = LinkError("fake://bus: cannot connect: refused")
    _, runner = run(link, lambda taken, _: count(taken, "a", "bad:link") >= 1)
    assert runner.trouble == "cannot connect: refused"
    assert [record.getMessage() for record in caplog.records] == ["fake://bus: cannot connect: refused; trying again"]


# --- a link that takes on others


class Renewed(FakeLink):
    """A bus of which the test says who is on it, and which tells when it was asked."""

    def __init__(self, units, *, period_s=1.0, answer_s=0.0):
        super().__init__(units, period_s=period_s, answer_s=answer_s)
        self.times = {}

    async def read(self, poll):
        self.times.setdefault(poll.source, []).append(asyncio.get_running_loop().time())
        return await super().read(poll)


def change(link, *units, **rest):
    """Let other units be on the bus."""
    link.polls = FakeLink(units, period_s=1.0, **rest).polls


def in_time(link, *steps):
    """Run a link, do each step `(at_s, what)` in its time, and return what came, the runner, and the tallies."""

    async def go():
        inbox = Inbox()
        runner = Runner(link, inbox, FakeClock(START_MS), lambda: 0.5)
        task = asyncio.create_task(runner.run())
        for at_s, what in steps:
            await asyncio.sleep(at_s - asyncio.get_running_loop().time())
            what(runner, inbox)
        runner.stop(task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return inbox.take()[0], runner

    return run_in_fake_time(go())


def nothing(_runner, _inbox):
    """Let the time pass."""


def test_neighbours_feel_nothing_of_a_unit_that_is_added_or_removed():
    def times(*steps):
        link = Renewed(["a", "b"])
        _, runner = in_time(link, *steps, (20.0, nothing))
        return link.times, runner.tallies, link.opened

    def add(runner, _):
        change(runner.link, "a", "b", "c")
        runner.renew(frozenset({"a", "b"}))

    def remove(runner, _):
        change(runner.link, "a", "c")
        runner.renew(frozenset({"a", "c"}))

    plain, tallies, _ = times()
    found, after, opened = times((5.3, add), (11.7, remove))
    assert found["a"] == pytest.approx(plain["a"], abs=1e-6), "its beat is the same to the instant"
    assert found["b"] == pytest.approx([at for at in plain["b"] if at < 11.7], abs=1e-6)
    assert found["c"][0] == pytest.approx(5.3)
    assert [b - a for a, b in itertools.pairwise(found["c"][2:])] == pytest.approx([1.0] * (len(found["c"]) - 3))
    counts = {poll.source: (tally.answered, tally.skipped) for poll, tally in after.items()}
    assert counts["a"] == next((t.answered, t.skipped) for poll, t in tallies.items() if poll.source == "a")
    assert set(counts) == {"a", "c"}
    assert opened == 1


def test_what_was_under_way_for_a_source_that_was_changed_is_nobodys_and_it_is_asked_anew_at_once():
    link = Renewed(["a", "b"], answer_s=0.2)

    def renew(runner, inbox):
        inbox.renew((), frozenset({"a"}))
        runner.renew(frozenset({"a"}))
        change(runner.link, "a", "b")

    taken, runner = in_time(link, (0.3, renew), (0.7, nothing))
    assert link.times["b"] == pytest.approx([0.2, 0.6]), "it was being asked; then a was due, and it again"
    assert count(taken, "b") == 0
    taken, runner = in_time(Renewed(["a", "b"], answer_s=0.2), (0.3, renew), (0.9, nothing))
    assert count(taken, "b") == 1
    assert [tally.answered for poll, tally in runner.tallies.items() if poll.source == "b"] == [1]


def test_a_unit_that_was_given_up_is_not_when_its_source_was_changed():
    link = Renewed(["a", "b"])
    link.faults["b"] = LinkError("silent", "timeout")

    def mend(runner, _):
        assert runner.given_up(runner.link.polls[1])
        link.faults.clear()
        change(link, "a", "b")
        runner.renew(frozenset({"a"}))
        assert not runner.given_up(runner.link.polls[1])

    _, runner = in_time(link, (4.0, mend), (4.01, nothing))
    assert runner.tallies[link.polls[1]].answered == 1


def test_a_change_while_the_link_is_down_is_taken_up_when_it_is_back():
    link = Renewed(["a"])
    link.faults["open"] = LinkError("refused")

    def change_and_mend(runner, _):
        change(link, "a", "b")
        runner.renew(frozenset({"a"}))
        link.faults.clear()

    taken, _ = in_time(link, (0.1, change_and_mend), (3.0, nothing))
    assert (count(taken, "a") > 0, count(taken, "b") > 0) == (True, True)


def test_who_speaks_by_itself_is_listened_to_as_long_as_it_is_configured():
    link = FakeLink(["a", "b"])
    link.polls = [Poll(u, u, (u,), None, 5.0, f"topic {u}") for u in ("a", "b")]
    link.heard = []

    async def read(poll):
        await asyncio.sleep(1.0)
        link.heard.append((poll.source, asyncio.get_running_loop().time()))
        return [Reading(Anchor(poll.source, poll.detail, Clock()()), poll.points[0], 0.0)]

    link.read = read

    def renew(runner, _):
        link.polls = [Poll(u, u, (u,), None, 5.0, f"topic {u}") for u in ("a", "c")]
        runner.renew(frozenset({"a"}))

    in_time(link, (2.5, renew), (5.2, nothing))
    assert link.heard == [("a", 1.0), ("b", 1.0), ("a", 2.0), ("b", 2.0), ("a", 3.0), ("c", 3.5), ("a", 4.0),
                          ("c", 4.5), ("a", 5.0)]  # fmt: skip
