import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.checked import Seconds
from edge_agent.model.profile import BusLimits, RegisterPoint, Reverts, WriteRule
from edge_agent.twin.codec import width
from edge_agent.twin.planner import MAX_BITS, Findings, bisect, culprit, place_of, plan


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


def test_a_gap_in_which_the_device_has_nothing_is_not_crossed():
    points = [point(0), point(3), point(6)]
    assert spans(plan(points, BusLimits(max_gap=10), "x", [])) == [(3, 0, 7)]
    found = Findings(frozenset({(0, 3, 4)}), frozenset())
    assert spans(plan(points, BusLimits(max_gap=10), "x", [], found)) == [(3, 0, 4), (3, 6, 1)]
    elsewhere = Findings(frozenset({(0, 4, 4), (1, 3, 4)}), frozenset())
    assert spans(plan(points, BusLimits(max_gap=10), "x", [], elsewhere)) == [(3, 0, 7)]


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
        (point(0, "uint16", function=43), {}, 'p0.type: got "uint16", wanted string: function 43 reads text'),
        (point(256, "string", function=43), {}, "p256.address: got 256 + 1, wanted an end within 256 addresses"),
        (point(0, enum={"a": "on"}), {}, 'p0.enum: got "a", wanted whole numbers as keys'),
        (point(0, enum={"01": "on"}), {}, 'p0.enum: got "01"'),
        (point(0, enum={"0": "on", "1": "on"}), {}, 'p0.enum: got "on", wanted a name of its own for each'),
        (point(0, "float32", enum={"0": "on"}), {}, "p0.enum: got names on float32"),
        (point(0, enum={"0": "on"}, scale=0.1), {}, "p0.scale: got a scale on names"),
        (point(0, flags={"64": "on"}), {}, 'p0.flags: got "64", wanted bits from 0 to 63'),
        (point(0, flags={"0": "a+b"}), {}, 'p0.flags: got "a+b", wanted a name of its own for each, without +'),
        (point(0, flags={"0": "a"}, enum={"0": "b"}), {}, "p0.flags: got flags beside an enum"),
        (point(0, bits=(8, 16)), {}, "p0.bits: got [8, 16], wanted lowest and highest bit, from 0 to 15"),
        (point(0, bits=(9, 8)), {}, "p0.bits: got [9, 8]"),
        (point(0, "bool", bits=(8, 9)), {}, "p0.bits: got [8, 9], wanted one bit for a bool"),
        (point(0, "float32", bits=(8, 9)), {}, "p0.bits: got bits of float32"),
        (point(0, write=WriteRule((1, 0))), {}, "p0.write.range: got [1, 0], wanted lowest and highest"),
        (point(0, write=WriteRule((0, 1), verify="p101")), {}, 'p0.write.verify: got "p101", wanted a point of this'),
        (point(0, write=WriteRule((0, 1), function=5)), {}, "p0.write.function: got 5, wanted 5 or 15 for a coil"),
        (
            point(0, write=WriteRule((0, 1), reverts=Reverts("pulse", Seconds(9)))),
            {},
            'p0.write.reverts: got "pulse", wanted by = "pulse" with an address',
        ),
        (
            point(0, write=WriteRule((0, 1), reverts=Reverts("timer", Seconds(9), point="x"))),
            {},
            'p0.write.reverts.point: got "x", wanted for a timer, the point of this device',
        ),
        (
            point(0, write=WriteRule((0, 1), reverts=Reverts("pulse", Seconds(0.5), address=1))),
            {},
            "p0.write.reverts.longest: got 0.5 s, wanted at least one tick of 1 s",
        ),
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


# --- what a device calls illegal


def taught(points, limits, missing, rounds=60):
    """Ask a device that lacks the addresses `missing` until nothing new is learnt; return blocks, findings, requests."""
    illegal, cuts, requests = set(), set(), 0
    for _ in range(rounds):
        blocks = plan(points, limits, "x", [], Findings(frozenset(illegal), frozenset(cuts)))
        before = (len(illegal), frozenset(cuts))
        for block in blocks:
            requests += 1
            known = culprit(block) in illegal
            if known or not missing & {(block.function, a) for a in range(block.start, block.start + block.count)}:
                continue
            cut = bisect(block)
            if cut is None:
                illegal.add(culprit(block))
                cuts.clear()
            else:
                cuts.add(cut)
            break
        if before == (len(illegal), frozenset(cuts)):
            return blocks, Findings(frozenset(illegal), frozenset(cuts)), requests
    raise AssertionError("it never comes to rest")


def test_a_block_with_one_illegal_point_is_read_whole_around_it_in_the_end():
    points = [point(a) for a in range(20)]
    blocks, found, _ = taught(points, BusLimits(), {(3, 7)})
    assert found == Findings(frozenset({(0, 3, 7)}), frozenset())
    assert [(b.start, b.count, b.every) for b in blocks] == [(0, 7, 1), (8, 12, 1), (7, 1, 0)]


def test_pain_15_a_gap_that_a_device_does_not_have_is_not_crossed_again():
    """hass-victron#465: reading 2700 x 13 failed because of 2709, which no point asked for."""
    points = [point(2700), point(2704), point(2712)]
    blocks, found, _ = taught(points, BusLimits(max_gap=10), {(3, 2709)})
    assert found.illegal == frozenset()
    assert [(b.start, b.count) for b in blocks] == [(2700, 5), (2712, 1)]


def test_flags_of_one_register_are_never_told_apart_by_a_refusal():
    points = [point(5, "bool", f"flag{i}", bits=(i, i)) for i in range(4)]
    (block,) = planned(points)
    assert bisect(block) is None
    blocks, found, _ = taught(points, BusLimits(), {(3, 5)})
    assert (found.illegal, [b.every for b in blocks]) == (frozenset({(0, 3, 5)}), [0] * 4)


# --- scale points


def sunspec(address, name, scale, **rest):
    return point(address, "int16", name, scale_point=scale, **rest)


def test_a_value_and_its_scale_point_are_one_read_whatever_lies_between():
    points = [sunspec(2, "a", "sf"), sunspec(4, "c", "sf"), point(40, "int16", "sf"), point(100)]
    assert spans(planned(points)) == [(3, 2, 39), (3, 100, 1)]


def test_a_scale_point_out_of_reach_is_a_problem():
    (found,) = problems_of([sunspec(2, "a", "sf"), point(40, "int16", "sf")], max_registers=38)
    assert "points.a: got 39 registers up to its scale point sf, wanted at most max_registers = 38" in found
    (found,) = problems_of([sunspec(2, "a", "sf"), point(40, "int16", "sf")], forbidden=((7, 8),))
    assert "points.a.address: got 2 to 40, wanted an address outside the forbidden range 7 to 8" in found


def test_values_around_a_scale_point_that_do_not_fit_in_one_read_bring_it_twice():
    points = [sunspec(0, "a", "sf"), point(8, "int16", "sf"), sunspec(16, "b", "sf")]
    assert [[p.name for p in b.points] for b in planned(points, max_registers=10)] == [["a", "sf"], ["sf", "b"]]


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([sunspec(2, "a", "fs"), point(6, "int16", "sf")], 'a.scale_point: got "fs", wanted a point of this device'),
        ([sunspec(2, "a", "sf"), point(6, "int16", "sf", function=4)], "which another function or model reads"),
        ([sunspec(2, "a", "sf"), point(6, "uint16", "sf")], "sf, which is no plain int16"),
        ([sunspec(2, "a", "sf", model=103), point(6, "int16", "sf", model=203)], "another function or model"),
    ],
)
def test_a_scale_point_that_cannot_be_one_is_a_problem(points, wanted):
    assert any(wanted in each for each in problems_of(points))


# --- identity, SunSpec models, device identification


def test_identity_has_a_class_of_its_own_that_is_read_once_a_day():
    points = [point(0), point(1, name="serial", identity="serial"), point(2, name="fw", identity="firmware", every=60)]
    assert [(b.start, b.every) for b in planned(points)] == [(0, 1), (2, 60), (1, 0)]


def test_models_are_never_mixed_with_one_another_or_with_plain_addresses():
    points = [
        point(2, name="a", model=103),
        point(3, name="b", model=203),
        point(4, name="c"),
        point(3, name="d", model=103),
    ]
    blocks = planned(points, forbidden=((3, 3),))
    assert [(b.model, b.start, b.count) for b in blocks] == [(None, 4, 1), (103, 2, 2), (203, 3, 1)]


def test_objects_of_one_category_are_one_request():
    points = [point(n, "string", function=43, identity="model") for n in (0, 2, 5, 0x80)]
    assert [(b.function, b.start, b.count) for b in planned(points, max_registers=1)] == [
        (43, 0, 3),
        (43, 5, 1),
        (43, 0x80, 1),
    ]


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


@given(many_points(), LIMITS, st.data())
def test_whatever_a_device_lacks_is_found_and_only_that_is_lost(points, limits, data):
    """The device has every register of its points but those of some; gaps it may have or not."""
    registers = {(p.function, a) for p in points for a in range(p.address, p.address + width(p))}
    gaps = {(f, a) for f in (1, 2, 3, 4) for a in range(125)} - registers
    missing = data.draw(st.sets(st.sampled_from(sorted(registers)), max_size=3)) if registers else set()
    missing |= data.draw(st.sets(st.sampled_from(sorted(gaps)), max_size=6))
    refused = []
    plan(points, limits, "x", refused)
    readable = [p for p in points if p.name not in {problem.place.split(".")[2] for problem in refused}]
    blocks, found, _ = taught(readable, limits, missing, rounds=400)
    for block in blocks:
        spanned = {(block.function, a) for a in range(block.start, block.start + block.count)}
        assert not spanned & missing or culprit(block) in found.illegal, block
    lacking = {
        place_of(p) for p in readable if missing & {(p.function, a) for a in range(p.address, p.address + width(p))}
    }
    # What shares its address with a longer point that the device lacks in part goes with it.
    assert found.illegal == lacking
    assert {p.name for b in blocks for p in b.points} == {p.name for p in readable}
