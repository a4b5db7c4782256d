import asyncio
import contextlib
import os
import pty
import tty

import pytest

from edge_agent.model.checked import Hex, Seconds
from edge_agent.model.errors import ConfigError, LinkError, TrustError
from edge_agent.model.framing import (
    Checksum,
    DsmrFraming,
    FixedFraming,
    LengthFraming,
    LineFraming,
    NmeaFraming,
    NoValue,
)
from edge_agent.model.profile import FieldPoint, FramePoint, ObisPoint, SentencePoint, SerialAsk
from edge_agent.model.reading import Instant
from edge_agent.model.site import SerialSettings, Source
from edge_agent.sources.serial import links
from edge_agent.twin.checksum import checksum, xor

XOR = LineFraming(checksum="xor")
POINTS = (
    FieldPoint(name="flow", field="flow", range=(0, 100)),
    FieldPoint(name="inlet_temp", field="inlet_temp"),
    FieldPoint(name="x", field="pair"),
    FieldPoint(name="y", field="pair", index=1),
    FieldPoint(name="sketch", field="#id", identity="model"),
    FieldPoint(name="version", field="#id", index=1, identity="firmware"),
)


class Device:
    """The far end of a port: a pty whose near end is a path.

    It never blocks: the one who would make room by reading runs in the same thread.
    """

    def __init__(self):
        self.master, near = pty.openpty()
        tty.setraw(near)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(near)
        self._ends = [self.master, near]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()

    def says(self, *lines):
        self.sends(b"".join(b"%s*%02X\r\n" % (line, xor(line)) for line in lines))

    def sends(self, received):
        assert os.write(self.master, received) == len(received)

    async def floods(self, received):
        """Send more than a pty holds, as room is made for it."""
        loop = asyncio.get_running_loop()
        while received:
            room = asyncio.Event()
            loop.add_writer(self.master, room.set)
            try:
                await room.wait()
            finally:
                loop.remove_writer(self.master)
            with contextlib.suppress(BlockingIOError):
                received = received[os.write(self.master, received) :]

    def vanish(self):
        """Be pulled out."""
        while self._ends:
            os.close(self._ends.pop())


class Counting:
    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return Instant(self.now, self.now, synced=False)


def source(path, name="line", framing=XOR, points=POINTS, options="", asks=(), **rest):
    settings = SerialSettings(name=name, url=f"serial://{path}{options}", **rest)
    return Source(settings, f"w:sensor:{name}", "sensor", points, framing=framing, asks=asks)


def with_device(scenario, **rest):
    """Run a scenario with a device and an open link to it."""

    async def run():
        with Device() as device:
            (link,) = links([source(device.path, **rest)], Counting())
            await link.open()
            try:
                return await asyncio.wait_for(scenario(device, link, link.polls[0]), 60)
            finally:
                await link.close()

    return asyncio.run(run())


async def until(link, done):
    """Wait until the link has taken in what it takes."""
    while not done():
        link._news.clear()
        await link._news.wait()


def seen(readings):
    return [(reading.point, reading.value, reading.quality) for reading in readings]


def test_a_line_becomes_readings_with_the_line_as_their_anchor():
    async def scenario(device, link, poll):
        device.says(b"pair,0,-1.5")
        return await link.read(poll)

    found = with_device(scenario)
    assert seen(found) == [("x", 0.0, "good"), ("y", -1.5, "good")]
    assert found[0].anchor is found[1].anchor
    assert (found[0].anchor.source, found[0].anchor.detail) == ("line", "pair,0,-1.5")
    assert found[0].anchor.at.mono_ns == 1


def test_a_read_waits_until_a_whole_line_tells_of_a_point():
    async def scenario(device, link, poll):
        reading = asyncio.create_task(link.read(poll))
        await asyncio.sleep(0)
        device.says(b"unknown,1")
        device.sends(b"garbage\xff\0\r\nflow,7*00\r\n")
        whole = b"flow,12.5*%02X\r\n" % xor(b"flow,12.5")
        for i in range(len(whole)):
            assert not reading.done()
            device.sends(whole[i : i + 1])
            await asyncio.sleep(0)
        return await reading, dict(link.dropped)

    found, dropped = with_device(scenario)
    assert seen(found) == [("flow", 12.5, "good")]
    assert dropped == {"checksum": 2}


def test_the_header_names_sketch_and_version():
    async def scenario(device, link, poll):
        device.says(b"#id,pump-room,1.4.0")
        return await link.read(poll)

    assert seen(with_device(scenario)) == [("sketch", "pump-room", "good"), ("version", "1.4.0", "good")]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"flow,0", ("flow", 0.0, "good")),
        (b"flow,nan", ("flow", None, "bad:nan")),
        (b"flow,inf", ("flow", None, "bad:nan")),
        (b"flow,", ("flow", None, "bad:missing")),
        (b"flow,twelve", ("flow", None, "bad:type")),
        (b"flow,100.1", ("flow", None, "bad:range")),
        (b"inlet_temp,-0.5", ("inlet_temp", -0.5, "good")),
    ],
)
def test_a_value_that_cannot_be_used_is_a_reading_with_its_reason(line, wanted):
    async def scenario(device, link, poll):
        device.says(line)
        return await link.read(poll)

    assert seen(with_device(scenario)) == [wanted]


def test_a_line_that_is_not_of_the_convention_is_counted_and_the_next_is_read():
    async def scenario(device, link, poll):
        device.says(b"READY", b",1", b"flow,1")
        return await link.read(poll), dict(link.dropped)

    found, dropped = with_device(scenario)
    assert seen(found) == [("flow", 1.0, "good")]
    assert dropped == {"not understood": 2}


def test_without_checksum_the_line_under_way_at_opening_is_never_a_value():
    async def scenario(device, link, poll):
        device.sends(b"ow,5\nflow,0\n")
        return await link.read(poll), dict(link.dropped)

    found, dropped = with_device(scenario, framing=LineFraming())
    assert seen(found) == [("flow", 0.0, "good")]
    assert dropped == {"partial": 1}


def test_a_long_line_is_cut_in_the_anchor():
    async def scenario(device, link, poll):
        device.says(b"flow,1," + b"x" * 200)
        return await link.read(poll)

    assert len(with_device(scenario)[0].anchor.detail) == 80


def test_when_nobody_reads_the_oldest_lines_go_counted():
    async def scenario(device, link, poll):
        for begin in range(0, 1100, 50):
            device.says(*[b"inlet_temp,%d" % i for i in range(begin, begin + 50)])
            await until(link, lambda come=begin + 50: len(link._frames) + link.dropped["nobody read"] == come)
        return await link.read(poll), link.dropped["nobody read"]

    found, dropped = with_device(scenario)
    assert dropped == 100
    assert [reading.value for reading in found] == [float(i) for i in range(100, 1100)]


def test_a_port_that_says_only_rubbish_keeps_nothing():
    async def scenario(device, link, _poll):
        await device.floods(b"\xff" * 100_000)
        await until(link, lambda: link.dropped["length"])
        return len(link._framer._buffer), len(link._frames)

    assert with_device(scenario) == (0, 0)


def test_a_device_that_vanishes_is_a_lost_link_after_what_it_said_before():
    async def scenario(device, link, poll):
        device.says(b"flow,0")
        first = await link.read(poll)
        reading = asyncio.create_task(link.read(poll))
        await asyncio.sleep(0)
        device.vanish()
        with pytest.raises(LinkError) as loss:
            await reading
        with pytest.raises(LinkError):
            await link.read(poll)
        with pytest.raises(LinkError):  # its path is gone
            await link.open()
        return first, loss.value

    first, loss = with_device(scenario)
    assert seen(first) == [("flow", 0.0, "good")]
    assert loss.reason == "link"
    assert str(loss).startswith("serial:///dev/pts/")


def test_lines_that_came_before_the_loss_are_still_read():
    async def scenario(device, link, poll):
        device.says(b"flow,0")
        await until(link, lambda: link._frames)
        device.vanish()
        await until(link, lambda: link._loss)
        found = await link.read(poll)
        with pytest.raises(LinkError):
            await link.read(poll)
        return found

    assert seen(with_device(scenario)) == [("flow", 0.0, "good")]


def test_a_port_can_be_closed_and_opened_again_and_forgets_what_it_had_heard():
    async def scenario(device, link, poll):
        device.says(b"flow,5")
        device.sends(b"flow,1")
        await until(link, lambda: link._frames and link._framer._buffer)
        await link.close()
        await link.close()
        with pytest.raises(LinkError, match="not open"):
            await link.read(poll)
        await link.open()
        device.sends(b"2*%02X\r\n" % xor(b"flow,12"))  # true for the whole line, half of which is forgotten
        device.says(b"flow,0")
        return await link.read(poll)

    assert seen(with_device(scenario)) == [("flow", 0.0, "good")]


def test_a_port_is_taken_exclusively():
    async def scenario(device, link, _poll):
        (second,) = links([source(device.path)], Counting())
        with pytest.raises(LinkError, match="lock") as refusal:
            await second.open()
        await link.close()
        await second.open()
        await second.close()
        return refusal.value.reason

    assert with_device(scenario) == "link"


def test_what_is_no_port_cannot_be_opened(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    for path in (plain, tmp_path / "missing"):
        (link,) = links([source(path)], Counting())
        with pytest.raises(LinkError):
            asyncio.run(link.open())


def test_a_read_that_was_cancelled_loses_nothing():
    async def scenario(device, link, poll):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.read(poll), 0.01)
        device.says(b"flow,0")
        return await link.read(poll)

    assert seen(with_device(scenario)) == [("flow", 0.0, "good")]


def test_nothing_is_ever_written():
    async def scenario(_device, link, _poll):
        with pytest.raises(TrustError, match=r"line.flow: got a write of 0"):
            await link.write("line", "flow", 0)

    with_device(scenario)


def test_a_poll_waits_for_what_speaks_by_itself():
    (link,) = links([source("/dev/ttyX", stale_after=Seconds(5))], Counting())
    (poll,) = link.polls
    assert link.bus == "serial:///dev/ttyX"
    assert (poll.source, poll.period_s, poll.timeout_s, poll.unit) == ("line", None, 5.0, "/dev/ttyX")
    assert poll.points == tuple(point.name for point in POINTS)
    assert links([source("/dev/ttyX")], Counting())[0].polls[0].timeout_s == 30.0


# --- other framings, silence, asking, own times

SDS = FixedFraming(
    length=10, start=Hex(b"\xaa"), end=Hex(b"\xab"), checksum=Checksum("sum8", (2, 7), 8), gap=Seconds(0.05),
    no_value=NoValue(2, Hex(b"\0\0\0\0")),
)  # fmt: skip
DUST = (
    FramePoint(name="pm25", at=2, type="uint16", order="DCBA", scale=0.1, begins=Hex(b"\xaa\xc0")),
    FramePoint(name="pm10", at=4, type="uint16", order="DCBA", scale=0.1, begins=Hex(b"\xaa\xc0"), range=(0, 999.9)),
    FramePoint(name="day", at=5, type="uint8", begins=Hex(b"\xaa\xc5\x07"), drift=False),
)


def dust(payload, kind=0xC0):
    return bytes((0xAA, kind)) + payload + bytes((sum(payload) & 0xFF, 0xAB))


def with_dust(scenario, framing=SDS, points=DUST, **rest):
    return with_device(scenario, framing=framing, points=points, **rest)


def test_frames_of_bytes_become_readings():
    async def scenario(device, link, poll):
        device.sends(b"\xaa\x55" + dust(b"\xd4\x04\x3a\x0a\xa1\x60"))
        first = await link.read(poll)
        device.sends(dust(b"\0\0\xff\xff\xa1\x60"))
        return first, await link.read(poll), dict(link.dropped)

    first, second, dropped = with_dust(scenario)
    assert seen(first) == [("pm25", 123.6, "good"), ("pm10", 261.8, "good")]
    assert seen(second) == [("pm25", 0.0, "good"), ("pm10", None, "bad:range")]
    assert first[0].anchor.detail.startswith("aa c0 d4 04 3a 0a")
    assert dropped == {"end": 1}


def test_zeros_in_all_that_a_device_measures_are_no_value_when_its_profile_says_so():
    async def scenario(device, link, poll):
        device.sends(dust(b"\0\0\0\0\xa1\x60"))
        return await link.read(poll)

    assert seen(with_dust(scenario)) == [("pm25", None, "bad:sentinel"), ("pm10", None, "bad:sentinel")]


def test_a_frame_behind_a_false_start_is_found_after_the_silence_and_dated_when_it_came():
    long = LengthFraming(
        start=Hex(b"BM"), length_at=2, length_adds=3, checksum=Checksum("sum8", (0, -2), -1), gap=Seconds(0.05)
    )

    async def scenario(device, link, poll):
        good = b"BM\x03\x00\x07"
        good += bytes((sum(good) & 0xFF,))
        device.sends(b"BM\x40" + good)
        await until(link, lambda: link._received == 9)
        came = link._now.now
        link._now()  # time goes by before anything is known
        return came, await link.read(poll), dict(link.dropped)

    points = (FramePoint(name="v", at=3, type="uint16"),)
    came, found, dropped = with_dust(scenario, framing=long, points=points)
    assert seen(found) == [("v", 7, "good")]
    assert found[0].anchor.at.mono_ns == came
    assert dropped == {"gap": 1}


def test_half_a_frame_before_a_silence_is_never_completed_by_what_comes_later():
    async def scenario(device, link, poll):
        whole = dust(b"\x01\0\x02\0\xa1\x60")
        device.sends(whole[:6])
        await until(link, lambda: link.dropped["gap"])
        device.sends(whole[6:] + dust(b"\x03\0\x04\0\xa1\x60"))
        return await link.read(poll)

    assert seen(with_dust(scenario)) == [("pm25", 0.3, "good"), ("pm10", 0.4, "good")]


def test_a_device_is_asked_after_opening_and_again_and_its_answer_is_read():
    question = Hex(bytes.fromhex("AAB4070000000000000000000000FFFF05AB"))

    async def scenario(device, link, poll):
        loop, asked = asyncio.get_running_loop(), asyncio.Queue()
        loop.add_reader(device.master, lambda: asked.put_nowait(os.read(device.master, 100)))
        heard = b""
        while len(heard) < 2 * len(question):
            heard += await asked.get()
        loop.remove_reader(device.master)
        device.sends(dust(b"\x07\x12\x0a\x00\xa1\x60", 0xC5))
        return heard, await link.read(poll)

    points = (FramePoint(name="year", at=3, type="uint8", begins=Hex(b"\xaa\xc5\x07")), *DUST[:2])
    heard, found = with_dust(scenario, points=points, asks=(SerialAsk(question, Seconds(0.05)),))
    assert heard[: 2 * len(question)] == question * 2
    assert seen(found) == [("year", 18, "good")]


def test_what_comes_while_a_device_settles_is_not_heard():
    async def scenario(device, link, poll):
        came, await_silence = asyncio.Event(), link._await_silence
        link._await_silence = lambda: (came.set(), await_silence())
        device.says(b"flow,5")  # half a minute too early
        await came.wait()
        link._settled_s = 0.0  # it has gone by
        device.says(b"flow,0")
        return await link.read(poll)

    framing = LineFraming(checksum="xor", settle=Seconds(30), gap=Seconds(60))
    assert seen(with_device(scenario, framing=framing)) == [("flow", 0.0, "good")]


def test_sentences_are_read_and_others_are_passed_over_silently():
    points = (
        SentencePoint(name="valid", sentence="RMC", says="valid"),
        SentencePoint(name="latitude", sentence="RMC", says="latitude"),
    )

    async def scenario(device, link, poll):
        for text in (b"GPGSV,1,1,00", b"GPRMC,bogus", b"GPRMC,123519,A,4807.038,S,01131.000,E,0,,230326,,"):
            device.sends(b"$%s*%02X\r\n" % (text, xor(text)))
        return await link.read(poll), dict(link.dropped)

    found, dropped = with_device(scenario, framing=NmeaFraming(), points=points)
    assert seen(found) == [("valid", True, "good"), ("latitude", pytest.approx(-48.1173), "good")]
    assert dropped == {"not understood": 1}


GAS = (ObisPoint(name="gas", obis="24.2.1", unit="m3"), ObisPoint(name="power", obis="1.7.0", unit="kW"))


def telegram(power, gas_time, gas):
    body = f"/ABC5meter\r\n\r\n1-0:1.7.0({power}*kW)\r\n0-1:24.2.1({gas_time})({gas}*m3)\r\n!".encode()
    return body + b"%04X\r\n" % checksum("crc16-arc", body)


def test_pain_5_gas_that_is_told_again_is_not_new_and_is_dated_by_its_own_time():
    class Synced:
        def __call__(self):
            return Instant(1_795_623_600_000, 9_000_000_000, synced=True)  # 17:20 in winter is 16:20 UTC

    async def scenario(device, link, poll):
        link._now = Synced()
        found = []
        for power, time, gas in (
            ("00.500", "261125171500W", "00981.443"),
            ("00.000", "261125171500W", "00981.443"),
            ("00.200", "261125171000W", "00981.000"),
            ("00.300", "261125172000W", "00981.500"),
        ):
            device.sends(telegram(power, time, gas))
            found.append(await link.read(poll))
        return found, dict(link.dropped)

    found, dropped = with_device(scenario, framing=DsmrFraming(), points=GAS)
    assert [seen(each) for each in found] == [
        [("gas", 981.443, "good"), ("power", 0.5, "good")],
        [("power", 0.0, "good")],
        [("power", 0.2, "good")],
        [("gas", 981.5, "good"), ("power", 0.3, "good")],
    ]
    assert found[0][0].anchor.at == Instant(1_795_623_300_000, 9_000_000_000 - 300_000_000_000, synced=True)
    assert found[0][0].anchor.detail == "/ABC5meter"
    assert dropped == {"older than known": 1}


def test_gas_that_is_told_again_for_too_long_is_stale_though_the_meter_goes_on():
    times = iter([1_795_623_600_000, 1_795_623_600_000 + 8_000_000])

    async def scenario(device, link, poll):
        link._now = lambda: Instant(next(times), 9_000_000_000, synced=True)
        found = []
        for _ in range(2):
            device.sends(telegram("00.000", "261125171500W", "00981.443"))
            found.append(await link.read(poll))
        return found

    first, second = with_device(scenario, framing=DsmrFraming(), points=GAS)
    assert seen(first) == [("gas", 981.443, "good"), ("power", 0.0, "good")]
    assert seen(second) == [("gas", None, "bad:stale"), ("power", 0.0, "good")]


def test_a_framing_that_cannot_work_and_a_point_that_does_not_fit_are_problems():
    short = FixedFraming(length=4, gap=None)
    with pytest.raises(ConfigError) as refusal:
        links([source("/dev/x", framing=short, points=(*POINTS[:1], *DUST[:2]))], Counting())
    assert [problem.place for problem in refusal.value.problems] == [
        "sources.line.framing",
        "sources.line.points.flow",
        "sources.line.points.pm10.at",
    ]
    assert "got a point without `at`, wanted `at`, in frames of the kind fixed" in str(refusal.value)


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ({"type": "uint8", "enum": {"off": "0"}}, "enum"),
        ({"type": "uint8", "bits": (0, 8)}, "bits"),
        ({"type": "uint16", "scale": 0.0}, "scale"),
        ({"type": "uint16", "range": (9, 1)}, "range"),
        ({"type": "string", "length": 9}, "at"),
    ],
)
def test_a_point_that_makes_no_sense_is_a_problem_and_not_a_crash(point, place):
    with pytest.raises(ConfigError) as refusal:
        links([source("/dev/x", framing=SDS, points=(FramePoint(name="v", at=2, **point),))], Counting())
    assert [problem.place for problem in refusal.value.problems] == [f"sources.line.points.v.{place}"]


@pytest.mark.parametrize("options", ["", "?baud=115200", "?baud=9600&bits=7&parity=E&stop=2", "?stop=1.5"])
def test_what_may_stand_in_a_url(options):
    assert len(links([source("/dev/ttyX", options=options)], Counting())) == 1


@pytest.mark.parametrize(
    ("path", "options", "wanted"),
    [
        ("ttyUSB0", "", 'got "serial://ttyUSB0", wanted serial:///dev/…[?baud'),
        ("host/dev/x", "", "wanted serial:///dev/…"),
        ("/dev/x", "#y", "wanted serial:///dev/…"),
        ("/dev/x", "?boud=9600", 'an unknown option "boud", wanted one of baud, bits, parity, stop (did you mean "baud"?)'),
        ("/dev/x", "?baud=9601", 'got baud="9601", wanted one of 50'),
        ("/dev/x", "?baud=0", 'got baud="0"'),
        ("/dev/x", "?baud=", 'got baud=""'),
        ("/dev/x", "?bits=9", 'got bits="9", wanted one of 8, 7, 6, 5'),
        ("/dev/x", "?parity=none", 'got parity="none", wanted one of N, E, O, M, S'),
        ("/dev/x", "?stop=0", 'got stop="0"'),
    ],
)  # fmt: skip
def test_what_may_not_stand_in_a_url_is_a_problem_in_words(path, options, wanted):
    with pytest.raises(ConfigError) as refusal:
        links([source(path, options=options)], Counting())
    assert wanted in str(refusal.value)
    assert str(refusal.value).startswith("sources.line.url: got ")


def test_every_problem_is_listed_and_two_sources_cannot_have_one_port():
    sources = [
        source("/dev/a", "a"),
        source("/dev/a", "b"),
        source("/dev/c", "c", options="?baud=1&stop=9"),
    ]
    with pytest.raises(ConfigError) as refusal:
        links(sources, Counting())
    assert [problem.place for problem in refusal.value.problems] == ["sources.b.url", "sources.c.url", "sources.c.url"]
    assert 'got "/dev/a", the port of a, wanted a port of its own' in str(refusal.value)
