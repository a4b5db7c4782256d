import asyncio
import contextlib
import itertools
import logging
import struct

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.model.checked import Seconds
from edge_agent.model.errors import ConfigError, LinkError, SpoiltError, TrustError, WireError
from edge_agent.model.profile import BusLimits, RegisterPoint, WriteRule
from edge_agent.model.reading import Instant
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.service.clock import Clock
from edge_agent.sources.modbus import links
from edge_agent.sources.modbus.device import Device

QUICK = Seconds(0.05)
PATIENT = BusLimits(timeout=Seconds(5))


class Counting:
    """A clock that never shows the same instant twice."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return Instant(1000 + self.now, self.now, synced=True)


def point(name, address, type_="uint16", function=4, **rest):
    return RegisterPoint(name=name, function=function, address=address, type=type_, **rest)


def source(points, port=502, name="meter", unit=1, limits=PATIENT, url=None, poll=1.0):
    settings = ModbusSettings(name=name, url=url or f"tcp://127.0.0.1:{port}", unit=unit, poll=Seconds(poll))
    return Source(settings, f"w:device:{name}", "device", tuple(points), limits)


def one(*sources):
    (link,) = links(sources, Counting())
    return link


def by_name(readings):
    return {reading.point: (reading.value, reading.quality) for reading in readings}


# --- a real server


@contextlib.asynccontextmanager
async def real_server(*devices):
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


def device(unit=1, registers=(0,), holding=(0,), coils=(False,) * 16, inputs=(False,) * 16):
    return SimDevice(
        unit,
        (
            [SimData(0, values=list(coils), datatype=DataType.BITS)],
            [SimData(0, values=list(inputs), datatype=DataType.BITS)],
            [SimData(0, values=list(holding), datatype=DataType.REGISTERS)],
            [SimData(0, values=list(registers), datatype=DataType.REGISTERS)],
        ),
    )


def test_all_four_functions_are_read_from_a_real_server():
    points = [
        point("zero", 0),
        point("volts", 1, "float32"),
        point("temp", 3, "int16", scale=0.1, unit="degC"),
        point("held", 0, function=3),
        point("coil", 0, "bool", function=1),
        point("last_coil", 9, "bool", function=1),
        point("input", 1, "bool", function=2),
    ]
    coils, inputs = [False] * 9 + [True] * 7, [False, True] * 8

    async def scenario():
        registers = (0, 0x4366, 0x8000, 0xFFCE)
        async with real_server(device(registers=registers, holding=(7,), coils=coils, inputs=inputs)) as port:
            link = one(source(points, port, limits=BusLimits(timeout=Seconds(5), max_gap=20)))
            await link.open()
            found = [await link.read(poll) for poll in link.polls]
            await link.close()
            return link.polls, found

    polls, found = asyncio.run(scenario())
    assert by_name(itertools.chain(*found)) == {
        "zero": (0, "good"),
        "volts": (230.5, "good"),
        "temp": (-5.0, "good"),
        "held": (7, "good"),
        "coil": (False, "good"),
        "last_coil": (True, "good"),
        "input": (True, "good"),
    }
    assert [poll.detail for poll in polls] == ["fc1 0+10 unit 1", "fc2 1+1 unit 1", "fc3 0+1 unit 1", "fc4 0+4 unit 1"]
    for poll, readings in zip(polls, found, strict=True):
        assert {id(reading.anchor) for reading in readings} == {id(readings[0].anchor)}
        assert (readings[0].anchor.source, readings[0].anchor.detail) == ("meter", poll.detail)
        assert tuple(reading.point for reading in readings) == poll.points
    assert [readings[0].anchor.at.mono_ns for readings in found] == [1, 2, 3, 4]  # one look at the clock an answer


def test_values_that_cannot_be_used_are_readings_with_their_reason():
    points = [
        point("nan", 0, "float32"),
        point("none", 2, "int16", sentinels=(0x8000,)),
        point("far", 3, range=(0, 10)),
        point("zero", 4),
    ]

    async def scenario():
        async with real_server(device(registers=(0x7FC0, 0, 0x8000, 11, 0))) as port:
            link = one(source(points, port))
            await link.open()
            found = await link.read(link.polls[0])
            await link.close()
            return found

    assert by_name(asyncio.run(scenario())) == {
        "nan": (None, "bad:nan"),
        "none": (None, "bad:sentinel"),
        "far": (None, "bad:range"),
        "zero": (0, "good"),
    }


def test_a_real_server_that_lacks_an_address_costs_only_the_point_that_stands_there():
    points = [point("p0", 0), point("p1", 1), point("p2", 2), point("p3", 100)]

    async def scenario():
        async with real_server(device(registers=(0, 1, 2))) as port:
            link = one(source(points, port, limits=BusLimits(timeout=Seconds(5), max_gap=124)))
            assert [poll.detail for poll in link.polls] == ["fc4 0+101 unit 1"]
            await link.open()
            for _ in range(3):
                values = {}
                for poll in list(link.polls):
                    with contextlib.suppress(WireError):
                        values |= by_name(await link.read(poll))
            await link.close()
            return values, [poll.detail for poll in link.polls]

    values, details = asyncio.run(scenario())
    assert values == {"p0": (0, "good"), "p1": (1, "good"), "p2": (2, "good")}
    assert details == ["fc4 0+3 unit 1", "fc4 100+1 unit 1"]


@pytest.mark.parametrize("culprit", range(5))
def test_a_block_with_one_illegal_register_is_halved_and_the_finding_kept(culprit):
    """The device has all registers but one: the others are read after at most three rounds, and stay."""

    async def answer(pdu, _unit):
        start, count = struct.unpack(">HH", pdu[1:5])
        if start <= culprit < start + count:
            return bytes((pdu[0] | 0x80, 2))
        return bytes((pdu[0], 2 * count)) + struct.pack(f">{count}H", *range(start, start + count))

    async def scenario():
        async with Gateway(answer) as gateway:
            link = one(source([point(f"p{i}", i) for i in range(5)], gateway.port))
            await link.open()
            texts, counts = [], []
            for _ in range(7):
                asked = len(gateway.requests)
                values = {}
                for poll in list(link.polls):
                    try:
                        values |= by_name(await link.read(poll))
                    except WireError as error:
                        texts.append(str(error))
                counts.append(len(gateway.requests) - asked)
            await link.close()
            return values, texts, counts, [poll.points for poll in link.polls]

    values, texts, counts, points = asyncio.run(scenario())
    assert values == {f"p{i}": (i, "good") for i in range(5) if i != culprit}
    assert (f"p{culprit}",) in points
    assert sorted(name for names in points for name in names) == [f"p{i}" for i in range(5)]
    assert counts[0] == 1
    assert counts[-1] == counts[-2] == len(points)
    assert "exception 2, illegal data address; from now on asked in two parts" in texts[0]
    assert "the device does not have it; asked once a day from now on" in "".join(texts)
    assert "parts" not in texts[-1]


def test_a_poll_that_was_split_meanwhile_is_not_split_again():
    async def scenario():
        async with real_server(device(registers=(0,))) as port:
            link = one(source([point("a", 0), point("b", 1)], port))
            await link.open()
            (whole,) = link.polls
            for _ in range(3):
                with pytest.raises(WireError):
                    await link.read(whole)
            await link.close()
            return link.polls

    assert [poll.points for poll in asyncio.run(scenario())] == [("a",), ("b",)]


def test_pain_17_several_units_share_one_connection_and_each_is_its_own_source():
    async def scenario():
        async with Gateway(echo_unit) as gateway:
            sources = [source([point("p", 0)], gateway.port, name=f"m{unit}", unit=unit) for unit in (1, 2, 0)]
            link = one(*sources)
            await link.open()
            found = {(r.anchor.source, r.value) for poll in link.polls for r in await link.read(poll)}
            await link.close()
            return found, gateway.connections, [poll.unit for poll in link.polls]

    found, connections, units = asyncio.run(scenario())
    assert found == {("m1", 1), ("m2", 2), ("m0", 0)}
    assert connections == 1
    assert units == ["1", "2", "0"]


def test_polls_are_due_by_their_class():
    found = links([source([point("fast", 0), point("slow", 1, every=10)], poll=0.5)], Counting())[0].polls
    assert [(poll.points, poll.period_s, poll.timeout_s) for poll in found] == [
        (("fast",), 0.5, 5),
        (("slow",), 5.0, 5),
    ]


# --- a gateway that answers as a test says


class Gateway:
    """Takes whole frames; `answer(pdu, unit)` returns the PDU of the answer, or raw bytes as a bytearray, or None."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.times = []
        self.connections = 0
        self.serving = {}

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.serving.values():
            writer.transport.abort()
        await asyncio.gather(*self.serving, return_exceptions=True)
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        self.connections += 1
        self.serving[asyncio.current_task()] = writer
        try:
            while True:
                self.tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                self.requests.append((unit, pdu))
                self.times.append(asyncio.get_running_loop().time())
                self.writer = writer
                answer = await self.answer(pdu, unit)
                if answer is not None:
                    writer.write(answer if isinstance(answer, bytearray) else frame(self.tid, unit, answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def frame(tid, unit, pdu, protocol=0):
    return struct.pack(">HHHB", tid, protocol, len(pdu) + 1, unit) + pdu


def registers_pdu(*values, function=4):
    return bytes((function, 2 * len(values))) + struct.pack(f">{len(values)}H", *values)


async def echo_unit(pdu, unit):
    return registers_pdu(unit, function=pdu[0])


def hasty_and_patient(port):
    """Return a link to one unit with a point `a` that is soon given up and a point `b` that is not."""
    hasty = source([point("a", 0)], port, "hasty", limits=BusLimits(timeout=QUICK))
    return one(hasty, source([point("b", 5)], port, "patient"))


def refusal_of(make_answer, limits=None):
    """Return the error that one read of two registers meets when the gateway answers `make_answer(gateway)`."""

    async def scenario():
        async def answer(_pdu, _unit):
            return make_answer(gateway)

        async with Gateway(answer) as gateway:
            link = one(source([point("p", 0, "uint32")], gateway.port, limits=limits or BusLimits(timeout=QUICK)))
            await link.open()
            try:
                with pytest.raises((WireError, LinkError)) as refusal:
                    await link.read(link.polls[0])
            finally:
                await link.close()
            return refusal.value

    return asyncio.run(scenario())


GOOD = registers_pdu(1, 2)


@pytest.mark.parametrize(
    ("make_answer", "wanted"),
    [
        (lambda g: bytearray(frame(0, 1, GOOD)), "got transaction, unit and function (0, 1, 4), wanted (1, 1, 4)"),
        (lambda g: b"\x03" + GOOD[1:], "(1, 1, 3), wanted (1, 1, 4)"),
        (lambda g: b"\x63" + GOOD[1:], "(1, 1, 99), wanted (1, 1, 4)"),
        (lambda g: b"\x00" + GOOD[1:], "(1, 1, 0), wanted (1, 1, 4)"),
        (lambda g: b"\x83\x02", "(1, 1, 131), wanted (1, 1, 4)"),
        (lambda g: b"\x84", "(1, 1, 132), wanted (1, 1, 4)"),
        (lambda g: b"\x84\x02\x00", "(1, 1, 132), wanted (1, 1, 4)"),
        (lambda g: b"\x80\x02", "(1, 1, 128), wanted (1, 1, 4)"),
        (lambda g: registers_pdu(1), "got 2 bytes, wanted 4"),
        (lambda g: registers_pdu(1, 2, 3), "got 6 bytes, wanted 4"),
        (lambda g: registers_pdu(), "got 0 bytes, wanted 4"),
        (lambda g: b"\x04", "got a length of nothing on 0 bytes"),
        (lambda g: GOOD + b"\0", "got a length of 04 on 6 bytes"),
        (lambda g: GOOD[:-1], "got a length of 04 on 4 bytes"),
        (lambda g: b"\x04\x05" + GOOD[2:], "got a length of 05 on 5 bytes"),
        (lambda g: b"\x04\x00" + GOOD[2:], "got a length of 00 on 5 bytes"),
    ],
)
def test_an_answer_that_is_not_exactly_the_one_asked_for_is_a_mismatch(make_answer, wanted):
    error = refusal_of(make_answer, limits=PATIENT)
    assert isinstance(error, WireError)
    assert error.reason == "mismatch"
    assert wanted in str(error)


@pytest.mark.parametrize(
    "make_answer",
    [
        lambda g: None,
        lambda g: bytearray(frame(g.tid + 1, 1, GOOD)),
        lambda g: bytearray(frame(g.tid, 2, GOOD)),
        lambda g: bytearray(frame(g.tid, 0, GOOD)),
        lambda g: bytearray(frame(g.tid, 1, GOOD, protocol=1)),
        lambda g: bytearray(frame(g.tid, 1, GOOD)[:-1]),
        lambda g: bytearray(b"garbage that is no frame at all, and long"),
        lambda g: bytearray(400),
    ],
)
def test_an_answer_to_somebody_else_is_no_answer(make_answer):
    error = refusal_of(make_answer)
    assert isinstance(error, LinkError)
    assert error.reason == "timeout"
    assert "no answer within 0.05 s" in str(error)


@pytest.mark.parametrize(
    ("code", "words"), [(1, "illegal function"), (4, "device failure"), (99, "of no known meaning")]
)
def test_an_exception_is_refused_with_its_code(code, words):
    error = refusal_of(lambda g: bytes((0x84, code)), limits=PATIENT)
    assert (type(error).__mro__[1], error.reason) == (WireError, "refused")
    assert f"fc4 0+2 unit 1: refused with exception {code}, {words}" in str(error)


def test_a_gateway_that_got_no_answer_says_that_the_unit_is_silent():
    error = refusal_of(lambda g: b"\x84\x0b", limits=PATIENT)
    assert isinstance(error, LinkError)
    assert error.reason == "timeout"


def test_a_broken_answer_does_not_end_the_connection():
    answers = [b"\x04", b"\x63\x00", b"\x84", b"\x00", bytearray(frame(0, 1, GOOD)), GOOD]

    async def scenario():
        async def answer(_pdu, _unit):
            return answers.pop(0)

        async with Gateway(answer) as gateway:
            link = one(source([point("p", 0, "uint32")], gateway.port))
            await link.open()
            for _ in range(5):
                with pytest.raises(WireError):
                    await link.read(link.polls[0])
            found = await link.read(link.polls[0])
            await link.close()
            return found[0].value, gateway.connections

    assert asyncio.run(scenario()) == (0x00010002, 1)


def test_pain_03_late_answer_never_becomes_another_value():
    """The answer to the first register arrives just before that to the second."""

    async def scenario():
        async def answer(pdu, unit):
            address = struct.unpack(">H", pdu[1:3])[0]
            if address == 0:
                gateway.late = frame(gateway.tid, unit, registers_pdu(111))
                return None
            return bytearray(gateway.late + frame(gateway.tid, unit, registers_pdu(222)))

        async with Gateway(answer) as gateway:
            link = hasty_and_patient(gateway.port)
            await link.open()
            first, second = link.polls
            with pytest.raises(LinkError):
                await link.read(first)
            found = await link.read(second)
            await link.close()
            return by_name(found)

    assert asyncio.run(scenario()) == {"b": (222, "good")}


def test_a_late_answer_alone_is_still_no_value_for_the_next_request():
    async def scenario():
        async def answer(_pdu, unit):
            if len(gateway.requests) == 1:
                gateway.late = frame(gateway.tid, unit, registers_pdu(111))
                return None
            return bytearray(gateway.late)

        async with Gateway(answer) as gateway:
            link = one(source([point("a", 0), point("b", 5)], gateway.port, limits=BusLimits(timeout=QUICK)))
            await link.open()
            for poll in link.polls:
                with pytest.raises(LinkError) as silence:
                    await link.read(poll)
                assert silence.value.reason == "timeout"
            await link.close()

    asyncio.run(scenario())


def test_the_second_half_of_a_late_answer_is_never_read_as_an_answer():
    """Its bytes are made to look like the answer to the next request; the connection is given up instead."""

    async def scenario():
        async def answer(_pdu, unit):
            trap = frame(gateway.tid + 1, unit, registers_pdu(666))
            if len(gateway.requests) == 1:
                return bytearray(frame(gateway.tid, unit, b"\x04\x14" + trap * 2)[:9])
            return bytearray(frame(gateway.tid, unit, registers_pdu(7)))

        async with Gateway(answer) as gateway:
            link = hasty_and_patient(gateway.port)
            await link.open()
            first, second = link.polls
            with pytest.raises(LinkError):
                await link.read(first)
            with pytest.raises(SpoiltError, match="half of another answer") as spoilt:
                await link.read(second)
            assert spoilt.value.reason == "link"
            assert len(gateway.requests) == 1
            await link.open()
            found = await link.read(second)
            await link.close()
            return by_name(found), gateway.connections

    assert asyncio.run(scenario()) == ({"b": (7, "good")}, 2)


def test_on_a_connection_with_half_an_answer_nothing_is_written():
    async def scenario():
        async def answer(_pdu, unit):
            return bytearray(frame(gateway.tid, unit, registers_pdu(1))[:9])

        async with Gateway(answer) as gateway:
            rule = WriteRule(range=(0, 10))
            point_ = point("a", 0, function=3, write=rule)
            link = one(source([point_], gateway.port, limits=BusLimits(timeout=QUICK)))
            await link.open()
            with pytest.raises(LinkError):
                await link.read(link.polls[0])
            with pytest.raises(LinkError, match="half of another answer") as closed:
                await link.write("meter", "a", 5)
            await link.close()
            return closed.value.reason, len(gateway.requests), gateway.connections

    assert asyncio.run(scenario()) == ("link", 1, 1)


def test_pain_18_a_silent_unit_does_not_cost_the_others_their_connection():
    async def scenario():
        async def answer(pdu, unit):
            return None if unit == 9 else await echo_unit(pdu, unit)

        async with Gateway(answer) as gateway:
            dead = source([point("p", 0)], gateway.port, "dead", 9, BusLimits(timeout=Seconds(0.01)))
            link = one(dead, source([point("p", 0)], gateway.port, "alive", 1))
            await link.open()
            for _ in range(12):
                with pytest.raises(LinkError):
                    await link.read(link.polls[0])
                assert by_name(await link.read(link.polls[1])) == {"p": (1, "good")}
            await link.close()
            return gateway.connections, len(gateway.requests)

    assert asyncio.run(scenario()) == (1, 24)


def test_a_connection_lost_while_waiting_fails_at_once_and_stays_lost():
    async def scenario():
        async def answer(_pdu, _unit):
            gateway.writer.close()

        async with Gateway(answer) as gateway:
            link = one(source([point("p", 0)], gateway.port, limits=BusLimits(timeout=Seconds(60))))
            await link.open()
            for wanted in ("closed by the other end", "the connection is closed"):
                with pytest.raises(LinkError, match=wanted) as loss:
                    await asyncio.wait_for(link.read(link.polls[0]), 10)
                assert loss.value.reason == "link"
            await link.close()
            await link.close()
            return gateway.connections

    assert asyncio.run(scenario()) == 1


def test_a_read_that_was_cancelled_leaves_nothing_for_the_next():
    async def scenario():
        async def answer(_pdu, unit):
            if len(gateway.requests) == 1:
                gateway.late = frame(gateway.tid, unit, registers_pdu(111))
                arrived.set()
                return None
            return bytearray(gateway.late + frame(gateway.tid, unit, registers_pdu(0)))

        arrived = asyncio.Event()
        async with Gateway(answer) as gateway:
            link = one(source([point("a", 0), point("b", 5)], gateway.port))
            await link.open()
            reading = asyncio.create_task(link.read(link.polls[0]))
            await arrived.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            found = await link.read(link.polls[1])
            await link.close()
            return by_name(found)

    assert asyncio.run(scenario()) == {"b": (0, "good")}


def test_requests_take_turns_and_the_loop_goes_on_meanwhile():
    async def scenario():
        under_way, most, ticks = 0, 0, 0

        async def answer(pdu, unit):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            return await echo_unit(pdu, unit)

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        async with Gateway(answer) as gateway:
            link = one(*[source([point("p", 0)], gateway.port, f"m{unit}", unit) for unit in range(4)])
            await link.open()
            ticking = asyncio.create_task(tick())
            found = await asyncio.gather(*[link.read(poll) for poll in link.polls])
            ticking.cancel()
            await link.close()
            return [readings[0].value for readings in found], most, ticks

    values, most, ticks = asyncio.run(scenario())
    assert values == [0, 1, 2, 3]
    assert most == 1
    assert ticks > 10


def test_the_deadline_of_a_request_begins_when_it_is_sent_and_not_when_it_is_queued():
    async def scenario():
        async def answer(pdu, unit):
            await asyncio.sleep(0.4)
            return await echo_unit(pdu, unit)

        async with Gateway(answer) as gateway:
            limits = BusLimits(timeout=Seconds(1))
            link = one(*[source([point("p", 0)], gateway.port, f"m{unit}", unit, limits) for unit in range(3)])
            await link.open()
            found = await asyncio.gather(*[link.read(poll) for poll in link.polls])
            await link.close()
            return [readings[0].value for readings in found]

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_the_pause_of_a_device_is_kept_between_its_requests_and_not_for_others():
    async def scenario():
        async with Gateway(echo_unit) as gateway:
            slow = source([point("p", 0)], gateway.port, "slow", 1, BusLimits(pause=Seconds(0.2), timeout=Seconds(5)))
            link = one(slow, source([point("p", 0)], gateway.port, "fast", 2))
            await link.open()
            for poll in (0, 0, 1, 1, 0):
                await link.read(link.polls[poll])
            await link.close()
            return gateway.times

    times = asyncio.run(scenario())
    assert times[1] - times[0] >= 0.199
    assert times[4] - times[1] >= 0.199
    assert times[3] - times[2] < 0.199


def test_nothing_is_open_until_it_is_opened():
    async def scenario():
        link = one(source([point("p", 0)]))
        with pytest.raises(LinkError, match="the connection is closed"):
            await link.read(link.polls[0])
        await link.close()
        async with Gateway(echo_unit) as gateway:
            dead_port = gateway.port
        gone = one(source([point("p", 0)], dead_port))
        with pytest.raises(LinkError, match="cannot connect") as refusal:
            await gone.open()
        assert refusal.value.reason == "link"
        with pytest.raises(LinkError):
            await gone.read(gone.polls[0])

    asyncio.run(scenario())


def test_the_library_says_nothing_in_the_log(caplog):
    with caplog.at_level(logging.DEBUG):
        refusal_of(lambda g: None)
        refusal_of(lambda g: bytearray(frame(g.tid + 1, 9, GOOD)))
        refusal_of(lambda g: b"\x63\x00")
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- writing


WRITABLE = (
    point("valve", 3, "bool", function=1, write=WriteRule((0, 1))),
    point("setpoint", 0, "uint16", function=3, write=WriteRule((0, 3000))),
    point("tenths", 1, "int16", function=3, scale=0.1, write=WriteRule((-10, 10))),
    point("level", 2, "float32", function=3, order="CDAB", write=WriteRule((-1e6, 1e6))),
    point("fixed", 4, function=3),
    point("name", 5, "string", function=3, length=2, write=WriteRule((0, 1))),
    point("input", 0, "uint16", function=4, write=WriteRule((0, 10))),
    point("discrete", 0, "bool", function=2, write=WriteRule((0, 1))),
)


def test_what_was_written_to_a_real_server_reads_back():
    async def scenario():
        async with real_server(device(holding=(9,) * 8, coils=[False] * 8)) as port:
            link = one(source(WRITABLE, port))
            await link.open()
            seen = []
            for values in ((True, 3000, -10.0, 1.5), (False, 0, 0.0, 0.0)):
                for name, value in zip(("valve", "setpoint", "tenths", "level"), values, strict=True):
                    await link.write("meter", name, value)
                found = by_name(
                    [r for p in link.polls if p.detail.startswith(("fc1", "fc3")) for r in await link.read(p)]
                )
                seen.append(tuple(found[name][0] for name in ("valve", "setpoint", "tenths", "level")))
                assert found["fixed"] == (9, "good")
            await link.close()
            return seen

    assert asyncio.run(scenario()) == [(True, 3000, -10.0, 1.5), (False, 0, 0.0, 0.0)]


async def echo_write(pdu, _unit):
    return pdu[:5]


def written(*writes, answer=echo_write, unit=1, limits=PATIENT):
    async def scenario():
        async with Gateway(answer) as gateway:
            link = one(source(WRITABLE, gateway.port, unit=unit, limits=limits))
            await link.open()
            try:
                for name, value in writes:
                    await link.write("meter", name, value)
            except (LinkError, WireError, TrustError) as error:
                return gateway.requests, error
            finally:
                await link.close()
            return gateway.requests, None

    return asyncio.run(scenario())


def test_coils_are_written_with_05_one_register_with_06_and_more_with_16():
    requests, error = written(("valve", True), ("valve", False), ("setpoint", 0), ("tenths", -0.1), ("level", 1.5))
    assert error is None
    assert [pdu.hex() for _, pdu in requests] == [
        "050003ff00",
        "0500030000",
        "0600000000",
        "060001ffff",
        "10000200020400003fc0",
    ]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("fixed", 0, "not make writable"),
        ("input", 0, "not make writable"),
        ("discrete", False, "not make writable"),
        ("nothing", 0, "a point that this bus does not have"),
        ("setpoint", 3001, "got 3001, wanted 0 to 3000"),
        ("setpoint", -1, "got -1, wanted 0 to 3000"),
        ("setpoint", None, "wanted 0 to 3000"),
        ("setpoint", "7", 'got "7", wanted 0 to 3000'),
        ("setpoint", float("nan"), "got nan, wanted 0 to 3000"),
        ("setpoint", 1.5, "which would read back as 2"),
        ("setpoint", True, "wanted a finite number"),
        ("tenths", 0.05, "would read back as"),
        ("valve", 1, "wanted true or false"),
        ("name", "AB", "wanted 0 to 1"),
    ],
)
def test_what_the_profile_does_not_allow_is_refused_and_never_sent(name, value, wanted):
    requests, error = written((name, value))
    assert isinstance(error, TrustError)
    assert wanted in str(error)
    assert requests == []


def test_unit_0_is_never_written_to():
    requests, error = written(("setpoint", 0), unit=0)
    assert isinstance(error, TrustError)
    assert "every device of a bus obeys" in str(error)
    assert requests == []


def test_a_source_that_is_not_on_this_bus_is_refused():
    async def scenario():
        link = one(source(WRITABLE))
        with pytest.raises(TrustError):
            await link.write("another", "setpoint", 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "echo", [b"\x06\x00\x00\x00\x08", b"\x06\x00\x01\x00\x07", b"\x06\x00\x00", b"\x06", b"\x06\0\0\0\7\0"]
)
def test_the_echo_of_another_write_is_a_mismatch(echo):
    async def answer(_pdu, _unit):
        return echo

    requests, error = written(("setpoint", 7), answer=answer)
    assert isinstance(error, WireError)
    assert error.reason == "mismatch"
    assert len(requests) == 1


def test_a_write_without_answer_is_sent_once_and_not_again():
    async def answer(_pdu, _unit):
        return None

    requests, error = written(("setpoint", 7), answer=answer, limits=BusLimits(timeout=QUICK))
    assert isinstance(error, LinkError)
    assert error.reason == "timeout"
    assert len(requests) == 1


def test_a_write_that_the_device_refuses_is_a_wire_error():
    async def answer(_pdu, _unit):
        return b"\x86\x04"

    _, error = written(("setpoint", 0), answer=answer)
    assert isinstance(error, WireError)
    assert error.reason == "refused"


# --- configuration


@pytest.mark.parametrize(
    "url",
    ["rtu://dev/ttyUSB0", "rtu:dev", "udp://host:502", "tcp://", "tcp://host:0", "tcp://host:99999", "tcp://host:x",
     "tcp://host/path", "tcp://host?x=1", "tcp://a:b@host", "host:502", "", "tcp://[::1", "rtu+tcp:///dev/x", "ascii://"],
)  # fmt: skip
def test_a_url_that_is_not_served_is_refused_with_what_is(url):
    with pytest.raises(ConfigError) as refusal:
        links([source([point("p", 0)], url=url or "-")], Counting())
    (problem,) = refusal.value.problems
    assert problem.place == "sources.meter.url"
    assert "tcp://host[:502], tls://host[:802], rtu:///dev/serial/by-id/" in problem.wanted


@pytest.mark.parametrize(
    ("url", "bus"),
    [
        ("tcp://10.0.0.5", "tcp://10.0.0.5:502"),
        ("tcp://10.0.0.5:1502/", "tcp://10.0.0.5:1502"),
        ("tcp://[::1]:502", "tcp://[::1]:502"),
        ("tcp://Gateway.local", "tcp://gateway.local:502"),
    ],
)
def test_a_url_names_its_bus(url, bus):
    assert one(source([point("p", 0)], url=url)).bus == bus


def test_sources_are_grouped_by_gateway():
    found = links(
        [
            source([point("p", 0)], url="tcp://a", name="a1"),
            source([point("p", 0)], url="tcp://b", name="b1"),
            source([point("p", 0)], url="tcp://A:502", name="a2"),
        ],
        Counting(),
    )
    assert [[poll.source for poll in link.polls] for link in found] == [["a1", "a2"], ["b1"]]


def test_every_problem_of_every_source_is_listed():
    sources = [
        source([point("p", 0, scale=0.0), point("q", 0, "float64")], name="a", limits=BusLimits(max_registers=3)),
        source([point("p", 0)], name="b", url="rtu:///dev/x?baud=9601"),
    ]
    with pytest.raises(ConfigError) as refusal:
        links(sources, Counting())
    assert [problem.place for problem in refusal.value.problems] == [
        "sources.a.points.p.scale",
        "sources.a.points.q",
        "sources.b.url",
    ]


def test_what_one_firmware_taught_is_not_held_against_another_and_is_recalled_when_it_comes_back():
    firmware = point("firmware", 0, identity="firmware", kind="state", drift=False)
    settings = source([], url="tcp://h:1").settings
    device = Device("m", settings, "box", BusLimits(), [firmware, point("far", 50)], None, [])

    def runs(version):
        block = next(block for block in device.blocks if block.points[0].name == "firmware")
        device.answered(block, [(version, "good")])

    def asked():
        """Return how often `far` is asked: every time, or once a day."""
        return next(block.every for block in device.blocks if block.points[0].name == "far")

    runs(1)
    assert device.refused(next(block for block in device.blocks if block.start == 50))
    assert asked() == 0
    runs(2)
    assert asked() == 1
    runs(1)
    assert asked() == 0
    (lesson,) = device.lessons().items()
    assert lesson[0].endswith("box 1")


def test_a_bus_takes_on_units_and_lets_go_of_others_without_being_opened_anew():
    def of(*units, **rest):
        found = [ModbusSettings(name=f"u{unit}", url="tcp://127.0.0.1:5020", unit=unit, **rest) for unit in units]
        point = RegisterPoint(name="level", function=4, address=0, type="uint16")
        (link,) = links([Source(each, f"w:device:{each.name}", "device", (point,)) for each in found], Clock())
        return link

    bus = of(1, 2)
    first, second = bus.polls
    device, exchange = bus.devices["u1"], bus._exchange
    assert bus.renew(of(1, 2, 3), frozenset({"u1"}))
    assert [poll.source for poll in bus.polls] == ["u1", "u2", "u3"]
    assert bus.devices["u1"] is device
    assert bus._exchange is exchange
    assert bus.devices["u2"] is not device
    assert bus._exchange.devices == list(bus.devices.values())
    assert bus.renew(of(3), frozenset({"u3"}))
    assert [poll.source for poll in bus.polls] == ["u3"]
    for gone in (first, second):
        with pytest.raises(WireError, match="taken off this bus"):
            asyncio.run(bus.read(gone))
    (elsewhere,) = links(
        [Source(ModbusSettings(name="u3", url="tcp://127.0.0.1:5021"), "w:device:u3", "device", ())], Clock()
    )
    before = bus.polls
    assert not bus.renew(elsewhere, frozenset({"u3"}))
    assert bus.polls is before
