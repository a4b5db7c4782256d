from hypothesis import given
from hypothesis import strategies as st

from edge_agent.twin.bustime import Load, Serial, busy, impossible, outlook, wire_bytes
from edge_agent.twin.patience import Owed, Patience, Shape


def silent(patience, others_s=None, times=8):
    waits = []
    for _ in range(times):
        waits.append(patience.wait_s(others_s))
        patience.was_silent()
    return waits


def test_a_unit_that_was_never_heard_is_waited_for_as_long_as_its_profile_says():
    assert silent(Patience(1.0), times=3) == [1.0, 1.0, 1.0]


def test_among_units_that_answer_a_silent_one_costs_a_short_wait_and_now_and_then_a_long_one():
    assert silent(Patience(1.0), others_s=0.02) == [0.25, 0.25, 0.25, 1.0] * 2


def test_experience_shortens_the_wait_down_to_a_quarter_and_an_answer_renews_it():
    patience = Patience(2.0)
    for _ in range(50):
        patience.answered(0.6)
    assert 0.6 <= patience.wait_s() < 0.7
    for _ in range(50):
        patience.answered(0.001)
    assert patience.wait_s() == 0.5
    silent(patience, times=3)
    assert patience.wait_s() == 2.0
    patience.answered(0.001)
    assert patience.wait_s() < 2.0


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 5))
def test_a_wait_lies_between_a_quarter_of_the_timeout_and_all_of_it(latencies, longest_s):
    patience = Patience(longest_s)
    for latency_s in latencies:
        patience.answered(latency_s)
    assert longest_s / 4 <= patience.wait_s() <= longest_s


def test_what_was_given_up_may_come_as_an_answer_or_as_an_exception_until_something_newer_or_time_settles_it():
    owed, wanted = Owed(1.0), Shape(4, 6)
    assert not owed.may_be(wanted, 0.0)
    owed.given_up(wanted, 10.0)
    assert owed.may_be(wanted, 12.9)
    assert owed.may_be(Shape(0x84, 2), 12.9)
    assert not owed.may_be(Shape(4, 4), 12.9)
    assert not owed.may_be(Shape(3, 6), 12.9)
    assert not owed.may_be(wanted, 13.1)
    owed.given_up(wanted, 20.0)
    owed.settled()
    assert not owed.may_be(wanted, 20.0)


# --- the arithmetic of a bus


def test_the_worked_example_of_rs_485_comes_out():
    """9600 8N1: thirty registers are 8 + 65 bytes, some 76 ms on the wire."""
    line = Serial()
    sent, got = wire_bytes(5, 62, ascii_=False)
    assert (sent, got) == (8, 65)
    assert abs((sent + got) * line.char_s - 0.076) < 0.001
    assert wire_bytes(5, 62, ascii_=True) == (17, 131)
    assert Serial(9600, 8, "E", 1).char_s == 11 / 9600
    assert abs(line.silence_s - 3.5 * 10 / 9600) < 1e-9
    assert Serial(115200).silence_s == 0.00175
    assert line.quiet_s == 0.05
    assert Serial(300).quiet_s == 3.5 * 10 / 300


def load(source="a", period_s=1.0, wire_s=0.076, latency_s=0.04):
    return Load(source, "fc4 0+30 unit 1", (8, 65), wire_s, latency_s, period_s, 1.0)


def test_pain_16_the_bus_time_of_a_cycle_and_the_worst_case_are_told():
    lines = outlook([load("a"), load("b"), load("who", 86_400.0)], Serial())
    assert lines == [
        "a fc4 0+30 unit 1: 8 + 65 bytes of 10 bits at 9600 baud = 76 ms, and 40 ms until it answers",
        "b fc4 0+30 unit 1: 8 + 65 bytes of 10 bits at 9600 baud = 76 ms, and 40 ms until it answers",
        "a cycle with all of these takes 0.232 s, polls are 1 s apart, the bus is busy 23%",
        "with a dead: at most 1.19 s in the two cycles that give it up, 13% busy afterwards",
    ]
    assert outlook([load("who", 86_400.0)], None) == []


def test_polls_that_a_bus_cannot_bear_are_refused_with_the_arithmetic():
    assert impossible([load()], Serial()) is None
    found, wanted = impossible([load(period_s=0.1), load("b", period_s=0.1)], Serial())
    assert found.startswith("polls that take 232% of the time of the bus (a fc4 0+30 unit 1: 8 + 65 bytes of 10 bits")
    assert wanted == "a poll of at least 0.24 s, or a faster bus"
    _, wanted = impossible([load(period_s=0.1), load("b", period_s=1.0)], None)
    assert wanted == "polls 1.3 times as long, or a faster bus"


def test_what_is_wanted_would_be_enough():
    loads = [load(f"m{n}", period_s=0.05) for n in range(9)]
    _, wanted = impossible(loads, Serial())
    period_s = float(wanted.split()[5])
    assert busy([each._replace(period_s=period_s) for each in loads]) <= 1
