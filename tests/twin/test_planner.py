import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.profile import BusLimits, RegisterPoint
from edge_agent.twin.codec import width
from edge_agent.twin.planner import MAX_BITS, plan, split


def point(address, type_="uint16", name=None, function=3, **rest):
    return RegisterPoint(name=name or f"p{address}", function=function, address=address, type=type_, **rest)


def spans(blocks):
    return [(block.function, block.start, block.count) for block in blocks]


def planned(points, **limits):
    problems = []
    blocks = plan(points, BusLimits(**limits), "sources.x", problems)
    assert not problems, problems
    return blocks


def problems_of(points, **limits):
    problems = []
    plan(points, BusLimits(**limits), "sources.x", problems)
    return [str(problem) for problem in problems]


def test_neighbours_are_one_read():
    assert spans(planned([point(2), point(0), point(1)])) == [(3, 0, 3)]


def test_no_points_are_no_reads():
    assert planned([]) == []


def test_functions_are_never_mixed():
    assert spans(planned([point(0, function=4), point(1, function=3)])) == [(3, 1, 1), (4, 0, 1)]


@pytest.mark.parametrize(
    ("gap", "wanted"), [(0, [(3, 0, 1), (3, 3, 1)]), (1, [(3, 0, 1), (3, 3, 1)]), (2, [(3, 0, 4)])]
)
def test_a_gap_is_crossed_only_as_far_as_the_limits_say(gap, wanted):
    assert spans(planned([point(0), point(3)], max_gap=gap)) == wanted


def test_a_read_is_never_longer_than_the_device_bears():
    points = [point(2 * i, "float32") for i in range(30)]
    assert spans(planned(points, max_registers=50)) == [(3, 0, 50), (3, 50, 10)]
    assert spans(planned(points, max_registers=51)) == [(3, 0, 50), (3, 50, 10)]


def test_bits_have_the_limit_of_the_protocol():
    points = [point(i, "bool", function=1) for i in range(MAX_BITS + 1)]
    assert spans(planned(points, max_registers=1)) == [(1, 0, MAX_BITS), (1, MAX_BITS, 1)]


def test_a_gap_over_a_forbidden_range_is_not_crossed():
    points = [point(0), point(4)]
    assert spans(planned(points, max_gap=10)) == [(3, 0, 5)]
    assert spans(planned(points, max_gap=10, forbidden=((2, 2),))) == [(3, 0, 1), (3, 4, 1)]


def test_overlapping_points_share_a_read():
    blocks = planned([point(0, "uint32", "wide"), point(1, "bool", "low"), point(0, "uint16", "high")])
    assert spans(blocks) == [(3, 0, 2)]
    assert [p.name for p in blocks[0].points] == ["high", "wide", "low"]


def test_slow_points_have_their_own_reads():
    blocks = planned([point(0), point(1, every=10), point(2, every=10)])
    assert [(b.start, b.count, b.every) for b in blocks] == [(0, 1, 1), (1, 2, 10)]


def test_a_slow_point_that_costs_no_register_rides_along():
    blocks = planned([point(0), point(1, every=10), point(2)], max_gap=1)
    assert [(b.start, b.count, b.every, len(b.points)) for b in blocks] == [(0, 3, 1, 3)]


def test_the_order_in_which_points_are_written_does_not_matter():
    points = [point(a, every=1 + a % 3, function=3 + a % 2) for a in range(0, 60, 2)]
    assert planned(points) == planned(points[::-1])


@pytest.mark.parametrize(
    ("bad", "limits", "wanted"),
    [
        (
            point(0, "float64"),
            {"max_registers": 3},
            "sources.x.points.p0: got 4 registers, wanted at most max_registers = 3",
        ),
        (point(0, "string", length=11), {"max_registers": 10}, "sources.x.points.p0: got 11 registers"),
        (
            point(5),
            {"forbidden": ((5, 9),)},
            "p5.address: got 5 to 5, wanted an address outside the forbidden range 5 to 9",
        ),
        (point(4, "uint32"), {"forbidden": ((5, 5),)}, "p4.address: got 4 to 5"),
        (point(65535, "uint32"), {}, "p65535.address: got 65535 + 2, wanted an end within 65536 addresses"),
        (point(0, "uint16", function=1), {}, 'p0.type: got "uint16", wanted bool: function 1 reads bits'),
        (point(0, "string", function=2), {}, 'p0.type: got "string"'),
        (point(0, scale=0.0), {}, "p0.scale: got 0.0, wanted a finite number other than 0"),
        (point(0, scale=math.nan), {}, "p0.scale: got nan"),
        (point(0, offset=math.inf), {}, "p0.offset: got inf, wanted a finite number"),
        (point(0, "bool", scale=0.1), {}, "p0.scale: got a scale on bool"),
        (point(0, "string", offset=1.0), {}, "p0.scale: got a scale on string"),
        (point(0, range=(1.0, 0.0)), {}, "p0.range: got [1.0, 0.0], wanted lowest and highest, in this order"),
        (point(0, range=(math.nan, 0.0)), {}, "p0.range: got [nan, 0.0]"),
        (point(0, sentinels=(0x10000,)), {}, "p0.sentinels: got [65536], wanted raw values from 0 to 65535"),
        (point(0, sentinels=(-1,)), {}, "p0.sentinels: got [-1]"),
        (point(0, "string", sentinels=(0,)), {}, "p0.sentinels: got sentinels on text or bits"),
        (point(0, "bool", function=1, sentinels=(1,)), {}, "p0.sentinels: got sentinels on text or bits"),
    ],
)
def test_an_impossible_point_is_a_problem_in_words(bad, limits, wanted):
    (found,) = problems_of([bad, point(100)], **limits)
    assert wanted in found


def test_every_problem_is_listed_and_the_other_points_are_planned():
    problems = []
    blocks = plan([point(0, scale=0.0), point(1), point(2, range=(2.0, 1.0))], BusLimits(), "x", problems)
    assert len(problems) == 2
    assert spans(blocks) == [(3, 1, 1)]


def test_what_is_at_the_very_end_can_be_read():
    assert spans(planned([point(65534, "uint32")])) == [(3, 65534, 2)]
    assert problems_of([point(0, sentinels=(0, 0xFFFF))]) == []


def test_a_block_is_split_into_halves_that_hold_all_its_points():
    (block,) = planned([point(0), point(2, "uint32"), point(5)], max_gap=1)
    left, right = split(block)
    assert (left.start, left.count) == (0, 1)
    assert (right.start, right.count) == (2, 4)
    assert left.points + right.points == block.points


LIMITS = st.builds(
    BusLimits,
    max_registers=st.integers(4, 20),
    max_gap=st.integers(0, 8),
    forbidden=st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 3)).map(lambda r: (r[0], r[0] + r[1])), max_size=3
    ).map(tuple),
)


@st.composite
def many_points(draw):
    found = []
    for i in range(draw(st.integers(0, 25))):
        function = draw(st.sampled_from((1, 2, 3, 4)))
        type_ = "bool" if function < 3 else draw(st.sampled_from(("bool", "int16", "uint32", "float64", "string")))
        address, length, every = (
            draw(st.integers(0, 120)),
            draw(st.integers(1, 4)),
            draw(st.sampled_from((1, 1, 5, 60))),
        )
        found.append(point(address, type_, f"p{i}", function, length=length, every=every))
    return found


@given(many_points(), LIMITS)
def test_every_plan_keeps_to_the_limits_and_brings_each_point_once(points, limits):
    problems = []
    blocks = plan(points, limits, "x", problems)
    refused = {p.place.split(".")[2] for p in problems}
    assert sorted(p.name for b in blocks for p in b.points) == sorted({p.name for p in points} - refused)
    for block in blocks:
        assert_kept(block, limits)
    for p in points:  # refused is exactly what touches a forbidden range
        touches = any(first < p.address + width(p) and last >= p.address for first, last in limits.forbidden)
        assert (p.name in refused) == touches


def assert_kept(block, limits):
    assert block.count <= (MAX_BITS if block.function < 3 else limits.max_registers)
    assert not any(f < block.start + block.count and last >= block.start for f, last in limits.forbidden)
    wanted = {a for p in block.points for a in range(p.address, p.address + width(p))}
    assert min(wanted) == block.start
    assert max(wanted) == block.start + block.count - 1
    gap = longest = 0
    for address in range(block.start, block.start + block.count):
        gap = 0 if address in wanted else gap + 1
        longest = max(longest, gap)
    assert longest <= limits.max_gap
    assert {p.function for p in block.points} == {block.function}
    assert block.every == min(p.every for p in block.points)
    # A slower point rides along only where the faster ones read anyway.
    fast = [p for p in block.points if p.every == block.every]
    assert min(p.address for p in fast) == block.start
    assert max(p.address + width(p) for p in fast) == block.start + block.count


@given(many_points(), LIMITS)
def test_halves_keep_to_the_limits_too(points, limits):
    for block in plan(points, limits, "x", []):
        if len(block.points) > 1:
            left, right = split(block)
            assert left.points + right.points == block.points
            for half in (left, right):
                assert half.count <= block.count
                assert half.start >= block.start
