import asyncio
import contextlib

import pytest

from edge_agent.model.checked import Seconds
from edge_agent.model.errors import ConfigError, LinkError, TrustError, WireError
from edge_agent.model.profile import ColumnPoint
from edge_agent.model.reading import Instant
from edge_agent.model.site import FileSettings, Source
from edge_agent.sources.file import links

POINTS = (
    ColumnPoint(name="temp", column="temp", range=(-40.0, 125.0)),
    ColumnPoint(name="state", column="pump state", kind="state"),
)
T0 = 1_795_622_400_000  # 2026-11-25T16:00:00Z
NOW = Instant(T0 + 10**9, 7_000_000_000, synced=True)


def table(tmp_path, *rows, head="timestamp,temp,pump state"):
    path = tmp_path / "recorded.csv"
    path.write_bytes("\n".join([head, *rows, ""]).encode() if all(isinstance(r, str) for r in rows) else b"".join(rows))
    return path


def source(path, points=POINTS, speed="full", **rest):
    settings = FileSettings(name="replay", path=str(path), speed=speed, **rest)
    return Source(settings, "w:pump:replay", "pump", points)


def played(path, count, **rest):
    """Play a file with the event loop's time running as fast as it is waited for; return what came, when, and drops.

    A row that is none is given as its error.
    """

    async def run():
        loop = asyncio.get_running_loop()
        (link,) = links([source(path, **rest)], lambda: NOW)
        await link.open()
        found = []
        for _ in range(count):
            try:
                found.append((loop.time(), await link.read(link.polls[0])))
            except WireError as error:
                found.append((loop.time(), str(error)))
        await link.close()
        return found, dict(link.dropped)

    return asyncio.run(asyncio.wait_for(run(), 60))


def seen(readings):
    if isinstance(readings, str):
        return readings
    return [(r.point, r.value, r.quality, r.anchor.detail, r.anchor.at.at_ms - T0) for r in readings]


def test_each_row_is_read_and_dated_as_it_was_recorded(tmp_path):
    path = table(tmp_path, "2026-11-25T16:00:00Z,21.5,on", "2026-11-25T16:00:10.5Z,0,off")
    ((_, found),), dropped = played(path, 1)
    assert seen(found) == [
        ("temp", 21.5, "good", "row 2", 0),
        ("state", "on", "good", "row 2", 0),
        ("temp", 0.0, "good", "row 3", 10_500),
        ("state", "off", "good", "row 3", 10_500),
    ]
    assert [r.anchor.at.mono_ns - NOW.mono_ns for r in found] == [0, 0, 10_500_000_000, 10_500_000_000]
    assert all(r.anchor.at.synced for r in found)
    assert dropped == {}


def test_a_recorded_second_lasts_a_second_divided_by_the_speed(tmp_path):
    path = table(tmp_path, *[f"{1_795_622_400 + 60 * i},{i}," for i in range(4)])
    found, _ = played(path, 4, speed=600.0, time_form="s")  # a minute in a tenth of a second
    assert [readings[0].value for _, readings in found] == [0.0, 1.0, 2.0, 3.0]
    began = found[0][0]
    # Each was asked for when the one before was there, and that was never before its time.
    assert [found[i][0] - began >= 0.1 * (i - 1) for i in range(1, 4)] == [True] * 3


def test_a_row_that_was_waited_for_in_vain_is_not_lost(tmp_path):
    path = table(tmp_path, "0,1,", "1000,2,")

    async def run():
        (link,) = links([source(path, speed=5.0, time_form="ms")], lambda: NOW)
        await link.open()
        first = await link.read(link.polls[0])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.read(link.polls[0]), 0.01)
        second = await link.read(link.polls[0])
        await link.close()
        return first[0].value, second[0].value

    assert asyncio.run(run()) == (1.0, 2.0)


def test_a_cell_that_cannot_be_used_is_a_reading_with_its_reason_and_an_empty_one_is_none(tmp_path):
    path = table(
        tmp_path, "0,nan,", "1,-41,x", "2,inf,0", "3,warm,", "4,,", "5", "6,1_0,\t", '7,"0","a,b"', time := "8,65535,"
    )
    assert time
    ((_, found),), _ = played(path, 1, time_form="s")
    assert [(r.point, r.value, r.quality, r.anchor.detail) for r in found] == [
        ("temp", None, "bad:nan", "row 2"),
        ("temp", None, "bad:range", "row 3"),
        ("state", "x", "good", "row 3"),
        ("temp", None, "bad:nan", "row 4"),
        ("state", 0.0, "good", "row 4"),
        ("temp", None, "bad:type", "row 5"),
        ("temp", None, "bad:type", "row 8"),
        ("temp", 0.0, "good", "row 9"),
        ("state", "a,b", "good", "row 9"),
        ("temp", None, "bad:range", "row 10"),
    ]


def test_a_row_that_is_none_is_named_and_counted_and_the_next_is_played(tmp_path):
    path = table(
        tmp_path, "yesterday,1,", "0,1,", "1,2,", "", "0.5,3,", '2,"4,', "-1,5,", "x" * 200_000, "3,6,", "1e300,7,"
    )
    found, dropped = played(path, 2, time_form="s")
    name = f"file://{path}"
    assert found[0][1] == f'{name}: row 2: got "yesterday", wanted seconds since 1970'
    assert [(r.value, r.anchor.detail) for r in found[1][1]] == [(1.0, "row 3"), (2.0, "row 4"), (6.0, "row 10")]
    assert dropped == {"row that cannot be read": 6}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ("2026-13-01T00:00:00Z,1,", 'row 2: got "2026-13-01T00:00:00Z", wanted a time in ISO 8601'),
        (",1,", 'row 2: got "", wanted a time'),
        ('"', "row 2: got"),
        ("x" * 70_000, "row 2: got more than 65536 characters"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, row, wanted):
    found, _ = played(table(tmp_path, row), 1)
    assert wanted in found[0][1]
    assert len(found[0][1]) < 400


def test_bytes_that_are_no_text_spoil_their_cell_and_not_the_file(tmp_path):
    path = table(
        tmp_path, b"\xef\xbb\xbftimestamp,temp,pump state\r\n", b"0,\xff\xfe,on\r\n", b"1,2,\xff\r\n", b"2,0,\x00\r\n"
    )
    ((_, found),), _ = played(path, 1, time_form="s")
    assert [(r.point, r.value, r.quality) for r in found] == [
        ("temp", None, "bad:type"),
        ("state", "on", "good"),
        ("temp", 2.0, "good"),
        ("state", "\ufffd", "good"),
        ("temp", 0.0, "good"),
        ("state", None, "bad:garbage"),
    ]


def test_at_its_end_a_file_says_nothing_more(tmp_path):
    path = table(tmp_path, "0,1,")

    async def run():
        (link,) = links([source(path, time_form="s")], lambda: NOW)
        await link.open()
        await link.read(link.polls[0])
        reading = asyncio.create_task(link.read(link.polls[0]))
        done, _ = await asyncio.wait({reading}, timeout=0.2)
        reading.cancel()
        await link.close()
        return done

    assert asyncio.run(run()) == set()


def test_a_file_that_repeats_goes_on_in_time(tmp_path):
    path = table(tmp_path, "0,1,", "10,2,", "20,3,")
    found, _ = played(path, 1, time_form="s", at_end="repeat")
    times = [r.anchor.at.at_ms // 1000 for r in found[0][1][:7]]
    assert times == [0, 10, 20, 30, 40, 50, 60]
    assert [r.value for r in found[0][1][:7]] == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]
    assert len(found[0][1]) == 1000  # and is brought in batches


def test_a_file_of_bad_rows_alone_ends_though_it_repeats(tmp_path):
    path = table(tmp_path, "x,1,")

    async def run():
        (link,) = links([source(path, at_end="repeat")], lambda: NOW)
        await link.open()
        with pytest.raises(WireError):
            await link.read(link.polls[0])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.read(link.polls[0]), 0.2)
        await link.close()
        return dict(link.dropped)

    assert asyncio.run(run()) == {"row that cannot be read": 1}


def test_a_file_opened_again_goes_on_where_it_was(tmp_path):
    path = table(tmp_path, "0,1,", "x,9,", "1,2,", "2,3,")

    async def run():
        (link,) = links([source(path, speed=1000.0, time_form="s")], lambda: NOW)
        await link.open()
        first = await link.read(link.polls[0])
        with pytest.raises(WireError):
            await link.read(link.polls[0])
        second = await link.read(link.polls[0])
        await link.close()
        with pytest.raises(LinkError, match="not open"):
            await link.read(link.polls[0])
        await link.open()
        third = await link.read(link.polls[0])
        await link.close()
        path.unlink()
        with pytest.raises(LinkError, match="No such file"):
            await link.open()
        return [each[0].value for each in (first, second, third)]

    assert asyncio.run(run()) == [1.0, 2.0, 3.0]


def test_nothing_is_ever_written(tmp_path):
    (link,) = links([source(table(tmp_path))], lambda: NOW)
    with pytest.raises(TrustError, match=r"replay\.temp: got a write of 0"):
        asyncio.run(link.write("replay", "temp", 0))


def test_a_poll_waits_for_rows():
    with pytest.raises(ConfigError, match="No such file"):
        links([source("/nowhere.csv")], lambda: NOW)


def test_columns_that_are_not_there_are_problems_in_words(tmp_path):
    path = table(tmp_path, head="timestmap,tmep")
    with pytest.raises(ConfigError) as refusal:
        links([source(path, stale_after=Seconds(5))], lambda: NOW)
    assert [str(problem) for problem in refusal.value.problems] == [
        'sources.replay.time_column: got "timestamp", wanted one of the columns "timestmap", "tmep" (did you mean "timestmap"?)',
        'sources.replay.points.temp.column: got "temp", wanted one of the columns "timestmap", "tmep" (did you mean "tmep"?)',
        'sources.replay.points.state.column: got "pump state", wanted one of the columns "timestmap", "tmep"',
    ]
