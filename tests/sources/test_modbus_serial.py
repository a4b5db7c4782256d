"""Modbus on serial lines, over TCP with serial framing, and over TLS: real servers, and a line that misbehaves."""

import asyncio
import contextlib
import itertools
import random
import ssl
import struct

import pytest
from fake_time import KERNEL_S, FakeClock, run
from peers import Authority
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serial_line import SerialLine, ascii_, cable, registers_pdu, rtu
from test_modbus_source import Gateway

from edge_agent.model.checked import Seconds
from edge_agent.model.errors import ConfigError, LinkError, TrustError, WireError
from edge_agent.model.profile import BusLimits, RegisterPoint, Reverts, WriteRule
from edge_agent.model.site import ModbusSettings, Source, TlsAccess
from edge_agent.service.clock import Clock
from edge_agent.service.inbox import Inbox
from edge_agent.service.runner import Runner
from edge_agent.sources.modbus import links

PATIENT = BusLimits(timeout=Seconds(20))
HASTY = BusLimits(timeout=Seconds(0.1))


def point(name, address, type_="uint16", function=4, **rest):
    return RegisterPoint(name=name, function=function, address=address, type=type_, **rest)


def source(url, points, name="m", unit=1, limits=PATIENT, poll=1.0, **rest):
    settings = ModbusSettings(name=name, url=url, unit=unit, poll=Seconds(poll), **rest)
    return Source(settings, f"w:device:{name}", "device", tuple(points), limits)


def one(*sources):
    (link,) = links(sources, Clock())
    return link


def values(readings):
    return {r.point: r.value if r.quality == "good" else r.quality for r in readings}


async def read_all(link):
    return values([r for poll in list(link.polls) for r in await link.read(poll)])


def device(unit=1):
    return SimDevice(
        unit,
        (
            [SimData(0, values=[True, False] * 8, datatype=DataType.BITS)],
            [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
            [SimData(0, values=[7, 0], datatype=DataType.REGISTERS)],
            [SimData(0, values=[0x4366, 0x8000, 0], datatype=DataType.REGISTERS)],
        ),
    )


POINTS = (
    point("volts", 0, "float32"),
    point("zero", 2),
    point("held", 0, function=3, write=WriteRule((0, 100))),
    point("coil", 0, "bool", function=1, write=WriteRule((0, 1))),
    point("input", 3, "bool", function=2),
)
WANTED = {"volts": 230.5, "zero": 0, "held": 7, "coil": True, "input": False}


async def read_and_write(link):
    await link.open()
    try:
        found = await read_all(link)
        await link.write("m", "held", 0)
        await link.write("m", "coil", value=False)
        return found, await read_all(link)
    finally:
        await link.close()


# --- real servers


@pytest.mark.parametrize(("scheme", "framer"), [("rtu", FramerType.RTU), ("ascii", FramerType.ASCII)])
def test_a_real_server_on_a_serial_port_is_read_and_written(scheme, framer):
    async def scenario():
        async with cable() as (ours, theirs):
            server = ModbusSerialServer(device(), framer=framer, port=theirs, baudrate=19200)
            await server.serve_forever(background=True)
            try:
                return await read_and_write(one(source(f"{scheme}://{ours}?baud=19200", POINTS)))
            finally:
                await server.shutdown()

    before, after = asyncio.run(scenario())
    assert before == WANTED
    assert after == WANTED | {"held": 0, "coil": False}


@pytest.mark.parametrize(
    ("scheme", "framer"),
    [("tcp", FramerType.SOCKET), ("rtu+tcp", FramerType.RTU), ("ascii+tcp", FramerType.ASCII)],
)
def test_a_real_server_behind_a_socket_is_read_and_written(scheme, framer):
    async def scenario():
        server = ModbusTcpServer(device(), framer=framer, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        try:
            return await read_and_write(one(source(f"{scheme}://127.0.0.1:{port}", POINTS)))
        finally:
            await server.shutdown()

    before, after = asyncio.run(scenario())
    assert before == WANTED
    assert after == WANTED | {"held": 0, "coil": False}


async def over_tls(folder, trusted, host="localhost"):
    authority = Authority(folder)
    cert, key = authority.issue("server", hosts=(host,))
    ours, our_key = authority.issue("gateway")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED  # mutual, as the specification of Modbus security wants it
    server = ModbusTlsServer(device(), address=("127.0.0.1", 0), sslctx=context)
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    other = Authority(folder, "stranger")
    ca = authority.ca_file if trusted else other.ca_file
    access = TlsAccess(ca_file=str(ca), cert_file=str(ours), key_file=str(our_key))
    try:
        return await read_and_write(one(source(f"tls://localhost:{port}", POINTS, access=access)))
    finally:
        await server.shutdown()


def test_a_real_server_behind_tls_is_read_and_written(tmp_path):
    before, after = asyncio.run(over_tls(tmp_path, trusted=True))
    assert before == WANTED
    assert after["held"] == 0


@pytest.mark.parametrize(("trusted", "host"), [(False, "localhost"), (True, "elsewhere.example")])
def test_whoever_cannot_prove_who_it_is_is_not_spoken_to(tmp_path, trusted, host):
    with pytest.raises(LinkError, match="certificate") as refusal:
        asyncio.run(over_tls(tmp_path, trusted, host))
    assert refusal.value.reason == "link"


# --- a line that misbehaves


def bus_test(scenario, answer, baud=None, scheme="rtu", encode=rtu, limits=HASTY, points=None):
    """Run `scenario(link, line)` with an open link to unit 1 on a line that answers so."""

    async def go():
        with SerialLine(answer, baud, encode) as line:
            link = one(source(f"{scheme}://{line.path}", points or SPREAD, limits=limits))
            await link.open()
            try:
                return await scenario(link, line)
            finally:
                await link.close()

    return asyncio.run(go())


SPREAD = (point("a", 0), point("b", 10), point("c", 20))
"""Three reads whose answers look alike."""


def address_of(pdu):
    return struct.unpack(">H", pdu[1:3])[0]


def own_address(_unit, pdu):
    start, count = struct.unpack(">HH", pdu[1:5])
    return registers_pdu(*range(start, start + count), function=pdu[0])


def test_pain_03_late_rtu_reply_is_never_the_next_register():
    """HA#138077: a meter jumped by 9113 kWh. The answer to `a` comes while `b` is waited for."""
    asked = itertools.count()

    def answer(unit, pdu):
        return [(0.25 if next(asked) == 0 else 0.0, own_address(unit, pdu))]

    async def scenario(link, line):
        seen = []
        for poll in [*link.polls, *link.polls]:
            try:
                seen.append(values(await link.read(poll)))
            except (LinkError, WireError) as error:
                seen.append(error.reason)
        return seen

    seen = bus_test(scenario, answer)
    assert seen[0] == "timeout"
    for found in seen:
        assert found in ("timeout", "garbage", "mismatch", {"a": 0}, {"b": 10}, {"c": 20})


def test_pain_03_after_a_silence_the_line_is_left_alone_until_it_was_quiet():
    """What a late answer leaves on the line is no part of the next one: fifty quiet milliseconds come between."""
    asked = []

    def answer(unit, pdu):
        asked.append(asyncio.get_running_loop().time())
        return bytearray(b"\x01") if len(asked) == 1 else own_address(unit, pdu)

    async def scenario(link, line):
        first, second, _ = link.polls
        before = asyncio.get_running_loop().time()
        for poll in (first, second):
            with contextlib.suppress(LinkError):
                await link.read(poll)
        return before

    before = bus_test(scenario, answer)
    assert asked[1] >= before + 0.1 + 0.05


def test_pain_03_an_answer_of_a_wrong_length_may_be_followed_by_the_right_one_which_is_nobody_elses():
    turns = [True]

    def answer(unit, pdu):
        wrong = registers_pdu(666, 667) if turns and turns.pop() else None
        return [(0.0, wrong), (0.1 if wrong else 0.15, own_address(unit, pdu))]

    async def scenario(link, line):
        first, second, third = link.polls
        with pytest.raises(WireError, match="wanted 2"):
            await link.read(first)
        found = {}
        for poll in (second, third):
            with contextlib.suppress(LinkError, WireError):
                found |= values(await link.read(poll))
        return found

    for name, value in bus_test(scenario, answer, limits=BusLimits(timeout=Seconds(0.3))).items():
        assert value == {"b": 10, "c": 20}[name]


@pytest.mark.parametrize("seed", range(3))
def test_pain_03_whatever_the_delays_a_value_is_that_of_its_own_register(seed):
    """One-register reads of one unit: the worst case, for every answer looks like every other."""
    rng = random.Random(seed)

    def answer(unit, pdu):
        return [(rng.choice((0.0, 0.0, 0.01, 0.03, 0.06)), own_address(unit, pdu))]

    async def scenario(link, line):
        good = 0
        for _ in range(10):
            for poll in link.polls:
                with contextlib.suppress(LinkError, WireError):
                    for reading in await link.read(poll):
                        assert reading.value == {"a": 0, "b": 10, "c": 20}[reading.point]
                        good += 1
        return good

    assert bus_test(scenario, answer, limits=BusLimits(timeout=Seconds(0.05))) > 0


def test_a_short_read_of_another_length_brings_a_unit_back_in_step():
    silent = [True, False]

    def answer(unit, pdu):
        return None if silent and silent.pop(0) else own_address(unit, pdu)

    async def scenario(link, line):
        (poll,) = link.polls
        with pytest.raises(LinkError):
            await link.read(poll)
        return values(await link.read(poll)), [pdu[1:].hex() for _, pdu in line.requests]

    points = (point("wide", 0, "uint32"), point("next", 2))
    found, requests = bus_test(scenario, answer, points=points)
    assert found == {"wide": 1, "next": 2}
    assert requests == ["00000003", "00000002", "00000003"]


def test_a_unit_with_one_read_only_is_believed_again_after_a_while(monkeypatch):
    monkeypatch.setattr("edge_agent.twin.patience._SETTLED_S", 0.3)
    silent = [True]

    def answer(unit, pdu):
        return None if silent and silent.pop(0) else own_address(unit, pdu)

    async def scenario(link, line):
        (poll,) = link.polls
        reasons = []
        while True:
            try:
                return values(await link.read(poll)), reasons
            except LinkError as error:
                reasons.append(error.reason)
                await asyncio.sleep(0.1 * len(reasons))

    found, reasons = bus_test(scenario, answer, points=(point("a", 0),))
    assert found == {"a": 0}
    assert reasons[0] == "timeout"
    assert set(reasons[1:]) <= {"garbage"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda unit, pdu: None, "timeout"),
        (lambda unit, pdu: bytearray(rtu(unit + 1, registers_pdu(7))), "garbage"),
        (lambda unit, pdu: bytearray(rtu(unit, registers_pdu(7))[:-1]), "garbage"),
        (lambda unit, pdu: bytearray(rtu(unit, registers_pdu(7))[:-1] + b"\0"), "garbage"),
        (lambda unit, pdu: bytearray(b"\xff" * 40), "garbage"),
        (lambda unit, pdu: bytearray(rtu(unit, b"\x2b\xff\xff\xff\xff\xff")), "garbage"),
        (lambda unit, pdu: registers_pdu(7, function=3), "mismatch"),
        (lambda unit, pdu: registers_pdu(7, 8), "mismatch"),
        (lambda unit, pdu: registers_pdu(), "mismatch"),
        (lambda unit, pdu: b"\x83\x02", "mismatch"),
        (lambda unit, pdu: b"\x84\x06", "refused"),
    ],
)
def test_an_answer_that_is_not_exactly_the_one_asked_for_is_none(answer, reason):
    async def scenario(link, line):
        with pytest.raises((LinkError, WireError)) as refusal:
            await link.read(link.polls[0])
        return refusal.value.reason

    assert bus_test(scenario, answer) == reason


@pytest.mark.parametrize(
    "raw", [b":zz03", b":01ZZ0200\r\n", b":\r\n", b"\r\n" * 50, b":0104020007F1\r\n", ascii_(2, registers_pdu(7))]
)
def test_what_is_no_ascii_frame_is_none_and_breaks_nothing(raw):
    turns = [bytearray(raw)]

    def answer(unit, pdu):
        return turns.pop() if turns else own_address(unit, pdu)

    async def scenario(link, line):
        with pytest.raises(LinkError):
            await link.read(link.polls[0])
        return values(await link.read(link.polls[1]))

    points = (point("a", 0), point("b", 10, "uint32"))
    assert bus_test(scenario, answer, scheme="ascii", encode=ascii_, points=points) == {"b": 0x000A000B}


def test_a_frame_that_comes_byte_by_byte_is_read():
    def answer(unit, pdu):
        return [(0.001, bytearray((byte,))) for byte in rtu(unit, own_address(unit, pdu))]

    async def scenario(link, line):
        return await read_all(link)

    assert bus_test(scenario, answer, limits=PATIENT) == {"a": 0, "b": 10, "c": 20}


def test_a_line_that_never_falls_silent_is_given_up_with_its_reason_and_bounded(monkeypatch):
    monkeypatch.setattr("edge_agent.sources.modbus.exchange._NOISY_S", 0.2)

    async def scenario(link, line):
        async def chatter():
            while True:
                line.say(b"\xaa" * 64)
                await asyncio.sleep(0.005)

        task = asyncio.create_task(chatter())
        reasons = []
        for _ in range(3):
            with pytest.raises(LinkError) as refusal:
                await link.read(link.polls[0])
            reasons.append(refusal.value.reason)
        task.cancel()
        return reasons, len(link._exchange._wire.recv_buffer), len(link._exchange._wire._frames)

    reasons, buffered, frames = bus_test(scenario, own_address)
    assert reasons == ["garbage"] * 3
    assert buffered <= 516
    assert frames <= 16


def test_a_broadcast_unit_on_a_serial_line_is_refused_before_anything_is_sent():
    with pytest.raises(ConfigError) as refusal:
        links([source("rtu:///dev/x", SPREAD, unit=0)], Clock())
    assert "on a serial line 0 is everybody" in str(refusal.value)


# --- ports


def test_pain_18_a_port_that_was_pulled_out_says_so_and_is_opened_again_by_its_stable_path(tmp_path):
    stable = tmp_path / "by-id"

    async def scenario():
        with SerialLine(own_address) as line:
            stable.symlink_to(line.path)
            link = one(source(f"rtu://{stable}", SPREAD))
            await link.open()
            before = await read_all(link)
            line.unplug()
            with pytest.raises(LinkError) as loss:
                await link.read(link.polls[0])
        with pytest.raises(LinkError, match="cannot connect"):
            await link.open()
        with SerialLine(own_address) as line:
            stable.unlink()
            stable.symlink_to(line.path)
            await link.open()
            after = await read_all(link)
            await link.close()
        return loss.value.reason, before, after

    reason, before, after = asyncio.run(scenario())
    assert reason == "link"
    assert before == after == {"a": 0, "b": 10, "c": 20}


def test_pain_02_a_port_has_one_owner():
    async def scenario():
        with SerialLine(own_address) as line:
            ours, theirs = (one(source(f"rtu://{line.path}", SPREAD)) for _ in range(2))
            await ours.open()
            with pytest.raises(LinkError, match="lock"):
                await theirs.open()
            found = await read_all(ours)
            await ours.close()
            await theirs.open()
            await theirs.close()
            return found

    assert asyncio.run(scenario()) == {"a": 0, "b": 10, "c": 20}


def test_pain_17_one_socket_or_port_for_all_units_and_never_two_ways_to_set_it(tmp_path):
    (tmp_path / "one").touch()
    (tmp_path / "other").symlink_to(tmp_path / "one")
    urls = [f"rtu://{tmp_path}/one", f"rtu://{tmp_path}/other", "rtu+tcp://h:1", "rtu+tcp://H:1"]
    found = links([source(url, SPREAD, f"m{n}", n + 1) for n, url in enumerate(urls)], Clock())
    assert [sorted({poll.source for poll in link.polls}) for link in found] == [["m0", "m1"], ["m2", "m3"]]
    for clash in (
        [urls[0], urls[1] + "?baud=19200"],
        ["tcp://h:1", "rtu+tcp://h:1"],
        [urls[0], f"ascii://{tmp_path}/one"],
    ):
        with pytest.raises(ConfigError, match="the same settings as m0, on its bus"):
            links([source(url, SPREAD, f"m{n}", n + 1) for n, url in enumerate(clash)], Clock())


# --- ten units on one line


def kept(runner, dead):
    """Return the share of their due polls that the living units were given."""
    tallies = [tally for poll, tally in runner.tallies.items() if poll.source != dead]
    answered = sum(tally.answered for tally in tallies)
    return answered / (answered + sum(tally.skipped + tally.failed for tally in tallies))


async def until_counted(link, count, first):
    runner = Runner(link, Inbox(), FakeClock(0), lambda: 0.5)
    task = asyncio.create_task(runner.run())
    try:
        while runner.tallies.get(first) is None or runner.tallies[first].answered < count:
            await asyncio.wait([task], timeout=0.05)
            assert not task.done()
    finally:
        runner.stop(task)
        await asyncio.wait([task])
    return runner


def ten(url, poll):
    points = tuple(point(f"p{n}", 2 * n, "float32") for n in range(5))
    limits = BusLimits(timeout=Seconds(1))
    return [source(url, points, f"m{unit}", unit, limits, poll) for unit in range(1, 11)]


def test_pain_01_on_a_slow_line_a_dead_unit_of_ten_leaves_the_others_their_polls():
    """9600 baud, ten bytes a value, each answer after 10 ms: the nine living are half of what the line bears."""

    def answer(unit, pdu):
        return None if unit == 4 else [(0.01, own_address(unit, pdu))]

    async def scenario():
        with SerialLine(answer, baud=9600) as line:
            link = one(*ten(f"rtu://{line.path}?baud=9600", 1.5))
            first = next(poll for poll in link.polls if poll.source == "m1")
            runner = await until_counted(link, 8, first)
            return kept(runner, "m4"), [unit for unit, _ in line.requests].count(4)

    share, asked = run(scenario(), KERNEL_S)
    assert share >= 0.95
    assert asked <= 8


def test_pain_01_on_one_socket_a_dead_unit_of_ten_leaves_the_others_their_polls():
    async def answer(pdu, unit):
        return None if unit == 4 else own_address(unit, pdu)

    async def scenario():
        async with Gateway(answer) as gateway:
            link = one(*ten(f"tcp://127.0.0.1:{gateway.port}", 1.2))
            first = next(poll for poll in link.polls if poll.source == "m1")
            runner = await until_counted(link, 8, first)
            return kept(runner, "m4"), [unit for unit, _ in gateway.requests].count(4), gateway.connections

    share, asked, connections = run(scenario(), KERNEL_S)
    assert share >= 0.95
    assert asked <= 8
    assert connections == 1


# --- device identification, SunSpec, writing with a time to live


OBJECTS = {0: b"Maker", 1: b"Model 7", 2: b"V1.2", 5: b"Name"}


def identification(unit, pdu):
    """Tell one object an answer, so that more follows."""
    code, first = pdu[2], pdu[3]
    last = 2 if code == 1 else 0x7F
    number = min((n for n in OBJECTS if n >= first and n <= last), default=0)
    rest = [n for n in OBJECTS if number < n <= last]
    head = bytes((0x2B, 0x0E, code, 0x83, 0xFF if rest else 0, rest[0] if rest else 0, 1))
    return head + bytes((number, len(OBJECTS[number]))) + OBJECTS[number]


def test_a_device_says_who_it_is_by_2b_0e_over_as_many_answers_as_it_needs():
    names = {"maker": 0, "model": 1, "firmware": 2, "name": 5, "serial": 6}
    points = [point(name, number, "string", 43, identity="model") for name, number in names.items()]

    async def scenario(link, line):
        return await read_all(link), [poll.identity for poll in link.polls]

    found, identity = bus_test(scenario, identification, points=points, limits=PATIENT)
    assert found == {"maker": "Maker", "model": "Model 7", "firmware": "V1.2", "name": "Name", "serial": "bad:missing"}
    assert identity == [True, True]


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x2b",
        b"\x2b\x0d\x01\x01\x00\x00\x00",
        b"\x2b\x0e\x01\x01\x00\x00\x02\x00\x01A",
        b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x09A",
        b"\x2b\x0e\x01\x01\x00\x00\x01\x00\x01AB",
    ],
)
def test_identification_that_does_not_add_up_is_a_mismatch(pdu):
    from edge_agent.twin.identification import parse_objects

    with pytest.raises(WireError) as refusal:
        parse_objects(pdu[1:], "here")
    assert refusal.value.reason == "mismatch"


def sunspec_device(start):
    memory = dict(
        enumerate((0x5375, 0x6E53, 1, 4, 0, 0, 0, 0, 103, 5, 1234, 77, 0, 0x8000, 0xFFFF, 124, 2, 9, 9), start)
    )
    memory[start + 14] = 0xFFFE  # W_SF = -2
    memory |= dict(enumerate((0xFFFF, 0), start + 19))

    def answer(unit, pdu):
        first, count = struct.unpack(">HH", pdu[1:5])
        if pdu[0] == 6:
            memory[first] = count
            return pdu
        if not all(a in memory for a in range(first, first + count)):
            return bytes((pdu[0] | 0x80, 2))
        return registers_pdu(*(memory[a] for a in range(first, first + count)), function=pdu[0])

    return answer


SUNSPEC = (
    point("power", 2, "int16", 3, model=103, scale_point="sf", write=WriteRule((0, 100), verify="power")),
    point("none", 5, "int16", 3, model=103, scale_point="sf", sentinels=(0x8000,)),
    point("sf", 6, "int16", 3, model=103),
    point("other", 2, function=3, model=203),
)


@pytest.mark.parametrize("start", [40000, 0, 50000])
def test_sunspec_models_are_found_by_walking_the_chain(start):
    async def scenario(link, line):
        chain, *blocks = link.polls
        with pytest.raises(WireError, match="not walked yet"):
            await link.read(blocks[0])
        assert await link.read(chain) == []
        found = {}
        for poll in blocks:
            with contextlib.suppress(WireError):
                found |= values(await link.read(poll))
        await link.write("m", "power", 50.5)
        again = values(await link.read(blocks[0]))
        return found, again["power"], chain.identity

    found, again, identity = bus_test(scenario, sunspec_device(start), points=SUNSPEC, limits=PATIENT)
    assert found == {"power": 12.34, "none": "bad:sentinel", "sf": -2}
    assert again == 50.5
    assert identity is True


def test_a_device_without_the_marker_has_no_models():
    async def scenario(link, line):
        with pytest.raises(WireError, match="no SunSpec marker at 40000, 0, 50000"):
            await link.read(link.polls[0])

    bus_test(scenario, lambda unit, pdu: bytes((pdu[0] | 0x80, 2)), points=SUNSPEC, limits=PATIENT)


PULSE = Reverts("pulse", Seconds(60), Seconds(0.1), address=0x0200)
TIMER = Reverts("timer", Seconds(300), point="revert_s", always=True)
REVERTING = (
    point("relay", 0, "bool", 1, write=WriteRule((0, 1), reverts=PULSE)),
    point("limit", 5, "uint16", 3, write=WriteRule((0, 100), reverts=TIMER)),
    point("revert_s", 6, "uint16", 3),
    point("mode", 7, "uint16", 3, enum={"0": "off", "3": "on"}, write=WriteRule((0, 3), function=16)),
    point("lamp", 1, "bool", 1, write=WriteRule((0, 1), function=15)),
    point(
        "far", 8, "uint16", 3, write=WriteRule((0, 100), reverts=Reverts("timer", Seconds(99_999), point="revert_s"))
    ),
)


def test_a_write_that_shall_hold_for_a_time_is_taken_back_by_the_device_itself():
    async def scenario(link, line):
        await link.write("m", "relay", value=True, hold_s=2.5)
        await link.write("m", "limit", 40, hold_s=300.0)
        await link.write("m", "mode", "off")
        await link.write("m", "lamp", value=True)
        return [pdu.hex() for _, pdu in line.requests]

    sent = bus_test(scenario, lambda unit, pdu: pdu[:5], points=REVERTING, limits=PATIENT)
    assert sent == ["0502000019", "060006012c", "0600050028", "100007000102" + "0000", "0f0001000101" + "01"]


@pytest.mark.parametrize(
    ("name", "value", "hold_s", "wanted"),
    [
        ("limit", 40, None, "wanted one that says how long it shall hold"),
        ("limit", 40, 301.0, "wanted 1 to 300 s"),
        ("relay", False, 2.0, "which the device cannot take back"),
        ("relay", True, 0.01, "wanted 0.1 to 60 s"),
        ("mode", "on", 5.0, "which the device cannot take back"),
        ("mode", "broken", None, "wanted 0 to 3"),
        ("far", 40, 70_000.0, "does not fit"),
    ],
)
def test_a_hold_that_the_device_cannot_keep_is_refused_and_nothing_is_sent(name, value, hold_s, wanted):
    async def scenario(link, line):
        with pytest.raises(TrustError, match=wanted):
            await link.write("m", name, value, hold_s)
        return line.requests

    assert bus_test(scenario, lambda unit, pdu: pdu[:5], points=REVERTING, limits=PATIENT) == []
