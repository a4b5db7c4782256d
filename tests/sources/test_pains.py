"""What hurt users of other gateways, for serial ports, MQTT, HTTP and files: each rule against it is a test.

All of it runs through the runner, as it does in the agent. What is told again and again of old values stands in the
tests of each source, under the same name (pain 5); deaf subscriptions (14) and topics without end (11) with MQTT.
"""

import asyncio
import contextlib
import logging
import os
import pty
import tty

import pytest

from edge_agent.model.checked import Hex, Seconds
from edge_agent.model.framing import Checksum, FixedFraming, LineFraming
from edge_agent.model.profile import FieldPoint, FramePoint, PathPoint
from edge_agent.model.reading import Instant
from edge_agent.model.site import BrokerAccess, MqttSettings, SerialSettings, Source
from edge_agent.mqtt import Session
from edge_agent.service.inbox import Inbox
from edge_agent.service.runner import Runner
from edge_agent.sources import mqtt, serial
from edge_agent.twin.baseline import Binding
from edge_agent.twin.checksum import checksum, xor
from edge_agent.twin.paths import compile_path, find, parse_message, path_value
from edge_agent.twin.transform import transform


class Loop:
    """The clock of the event loop."""

    def __call__(self):
        now_s = asyncio.get_running_loop().time()
        return Instant(int(now_s * 1000), int(now_s * 1e9), synced=False)


@contextlib.asynccontextmanager
async def running(link):
    """Run a link as the agent does; yields an inbox from which `heard` takes."""
    inbox = Inbox()
    runner = Runner(link, inbox, Loop(), lambda: 0.0)
    task = asyncio.create_task(runner.run())
    try:
        yield inbox
    finally:
        runner.stop(task)
        await asyncio.gather(task, return_exceptions=True)


async def heard(inbox, wanted):
    """Take readings until one is `wanted`, (point, value, quality); return all that came until then."""
    found = []
    async with asyncio.timeout(60):
        while True:
            found += [(r.point, r.value, r.quality) for r in inbox.take()[0]]
            if wanted in found:
                return found
            await inbox.news()


class Device:
    """A device behind an adapter that can be pulled out and put in again, under the same stable path."""

    def __init__(self, folder):
        self.path = folder / "by-id"
        self.ends = []

    def plug(self):
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self.ends = [ours, theirs]
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))

    def unplug(self):
        self.path.unlink(missing_ok=True)
        while self.ends:
            os.close(self.ends.pop())

    def says(self, data):
        assert os.write(self.ends[0], data) == len(data)


@pytest.fixture
def device(tmp_path):
    found = Device(tmp_path)
    found.plug()
    yield found
    found.unplug()


def line(text):
    return b"%s*%02X\n" % (text, xor(text))


def serial_link(device, points=(FieldPoint(name="flow", field="flow"),), framing=LineFraming(checksum="xor"), **rest):  # noqa: B008 - frozen
    settings = SerialSettings(name="s", url=f"serial://{device.path}", **rest)
    (link,) = serial.links([Source(settings, "w:s:s", "s", points, framing=framing)], Loop())
    return link


def mqtt_link(broker, *points, **rest):
    settings = MqttSettings(name="m", url=broker.url, topic="t", **rest)
    (link,) = mqtt.links([Source(settings, "w:s:m", "s", points)], Loop())
    return link


def test_pain_18_an_adapter_that_was_pulled_out_and_comes_back_under_another_name_is_read_again(device, caplog):
    """Its path by identity stays; the device node behind it is another."""

    async def run():
        async with running(serial_link(device)) as inbox:
            await poked(device, inbox, line(b"flow,1"), ("flow", 1.0, "good"))
            device.unplug()
            await heard(inbox, ("flow", None, "bad:link"))
            device.plug()
            await poked(device, inbox, line(b"flow,2"), ("flow", 2.0, "good"))

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    told = [record.levelname for record in caplog.records]
    assert told == ["WARNING", "INFO"]  # lost, and connected again


async def poked(device, inbox, data, wanted):
    """Say something again and again until it is heard: who opens a port hears nothing from before."""

    async def saying():
        while True:
            with contextlib.suppress(OSError):
                device.says(data)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(saying())
    try:
        return await heard(inbox, wanted)
    finally:
        task.cancel()


def test_pain_29_frames_that_are_none_are_counted_and_not_logged_one_by_one(device, caplog):
    async def run():
        link = serial_link(device)
        async with running(link) as inbox:
            await poked(device, inbox, line(b"flow,0"), ("flow", 0.0, "good"))
            for _ in range(200):
                device.says(b"fl\xffow,1*00\n")
            await poked(device, inbox, line(b"flow,2"), ("flow", 2.0, "good"))
            return link.dropped["checksum"]

    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(run()) == 200
    assert [r.getMessage() for r in caplog.records if r.name.startswith("edge_agent")] == []


def test_pain_29_a_frame_cut_short_is_no_value_nor_are_two_halves_of_two_frames(device):
    framing = FixedFraming(length=4, start=Hex(b"\xaa"), checksum=Checksum("sum8", (0, 2), 3), gap=Seconds(30))
    points = (FramePoint(name="v", at=1, type="uint16"),)

    def frame(value):
        body = b"\xaa" + value.to_bytes(2)
        return body + bytes((checksum("sum8", body),))

    async def run():
        async with running(serial_link(device, points, framing)) as inbox:
            await poked(device, inbox, frame(1), ("v", 1, "good"))
            inbox.take()
            device.says(frame(0x1111)[:2] + frame(0x2222)[2:] + frame(2)[:3] + frame(3))
            return await heard(inbox, ("v", 3, "good"))

    found = asyncio.run(run())
    assert {value for _, value, _ in found} <= {1, 3}


HOSTILE = [
    b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"v": NaN}', b'{"v": Infinity}', b'{"v": 1e999}', b'{"v": 1, "v": 2}',
    b'{"v": ' + b"9" * 50_000 + b"}", b"[" + b"0," * 20_000 + b"0]", b"0," * 500_000, b"x" * 2_000_000, b'{"v": "\x00"}',
]  # fmt: skip


def test_hostile_messages_make_bad_values_one_line_in_the_log_and_no_harm_to_the_next(broker, caplog):
    """Among them a message of two megabytes, which the broker itself holds back, being told how much we take."""

    async def run():
        async with running(mqtt_link(broker, PathPoint(name="v", path="$.v"))) as inbox:
            sender = Session(broker.url, BrokerAccess(), "sender")
            await sender.open()
            while True:  # until the link has subscribed
                await sender.publish("t", b'{"v": 0}')
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await heard(inbox, ("v", 0.0, "good"))
                        break
            inbox.take()
            for payload in HOSTILE:
                await sender.publish("t", payload)
            await sender.publish("t", b'{"v": 65535}')
            found = await heard(inbox, ("v", 65535.0, "good"))
            await sender.close()
            return found

    with caplog.at_level(logging.INFO):
        found = asyncio.run(run())
    assert {quality for _, value, quality in found if value is None} == {"bad:garbage"}
    assert {value for _, value, _ in found} <= {0.0, 65535.0, None}
    told = [r.getMessage() for r in caplog.records if r.name.startswith("edge_agent")]
    assert len(told) == 2  # that messages are none, and that they are good again
    assert told[0].startswith("t: message: got 0 bytes")
    assert told[1].endswith("answers are good again")


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b"0", {"number": 0.0, "state": 0, "flag": (None, "bad:unlisted")}),
        (b"false", {"number": (None, "bad:type"), "state": False, "flag": 0.0}),
        (b'""', {"number": (None, "bad:type"), "state": "", "flag": (None, "bad:unlisted")}),
        (b"null", {"number": (None, "bad:sentinel"), "state": (None, "bad:sentinel"), "flag": (None, "bad:sentinel")}),
    ],
)
def test_pain_21_zero_false_and_nothing_written_are_values_and_null_is_none(broker, payload, wanted):
    points = (
        PathPoint(name="number", path="$"),
        PathPoint(name="state", path="$", kind="state"),
        PathPoint(name="flag", path="$", values={"true": 1, "false": 0}),
    )

    async def run():
        link = mqtt_link(broker, *points)
        await link.open()
        sender = Session(broker.url, BrokerAccess(), "sender")
        await sender.open()
        await sender.publish("t", payload)
        readings = await link.read(link.polls[0])
        await sender.close()
        await link.close()
        return readings

    readings = asyncio.run(asyncio.wait_for(run(), 60))
    bound = {("m", point.name): Binding(i, "w:s:m", point) for i, point in enumerate(points)}
    events, dropped = transform(readings, bound)
    found = {points[event.number].name: event for event in events}
    for name, value in wanted.items():
        expected = value if isinstance(value, tuple) else (value, "good")
        assert (found[name].value, found[name].quality) == expected
        assert type(found[name].value) is type(expected[0])
    assert not dropped


def test_a_firmware_that_changes_the_type_of_a_value_makes_it_bad_and_nothing_else():
    """openWB#2839: Tasmota 14 made a number a list."""
    old, new = parse_message(b'{"Power": 12}'), parse_message(b'{"Power": [12, 0]}')
    point = PathPoint(name="power", path="$.Power")
    assert path_value(point, find(compile_path(point.path), old)) == (12.0, "good")
    assert path_value(point, find(compile_path(point.path), new)) == (None, "bad:type")
