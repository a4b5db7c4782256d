import asyncio
import gc
import itertools
import re
import ssl
import struct
import traceback
from pathlib import Path

import pytest
from peers import CONNACK, Authority, Broker, Wire, fake_broker, free_port, packet, read_packet

from edge_agent.model.errors import ConfigError, LinkError
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session, endpoint

V5, V311 = BrokerAccess(protocol="5"), BrokerAccess(protocol="3.1.1")
BOTH = pytest.mark.parametrize("access", [V5, V311], ids=["5", "3.1.1"])


def run(test, seconds=15):
    asyncio.run(asyncio.wait_for(test, seconds), debug=True)


async def opened(url, access=V5, client_id="test", **options):
    session = Session(url, access, client_id, **options)
    await session.open()
    return session


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("mqtt://broker", ("broker", 1883, False)),
        ("mqtts://broker.example", ("broker.example", 8883, True)),
        ("mqtt://10.0.0.5:1884/", ("10.0.0.5", 1884, False)),
        ("mqtts://[::1]:9", ("::1", 9, True)),
    ],
)
def test_a_url_names_host_port_and_whether_there_is_tls(url, wanted):
    assert endpoint(url) == wanted


@pytest.mark.parametrize(
    "url",
    ["", "broker", "tcp://broker", "mqtt://", "mqtt://:1883", "mqtt://b:x", "mqtt://b:0", "mqtt://b:99999", "mqtt://b/topic",
     "mqtt://b?x=1", "mqtt://[::1"],
)  # fmt: skip
def test_a_bad_url_is_refused_and_shown(url):
    with pytest.raises(ConfigError, match=re.escape(f'got "{url}", wanted mqtt://host')):
        endpoint(url)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="password_file") as caught:
        endpoint("mqtt://me:secret@broker")
    assert "secret" not in str(caught.value)


@BOTH
def test_what_is_published_comes_back_through_a_subscription_in_order(broker, access):
    async def test():
        session = await opened(broker.url, access)
        await session.subscribe(["a/+", "b"])
        payloads = [b"%d" % i for i in range(50)]
        await asyncio.gather(*(session.publish("a/1", payload) for payload in payloads))
        assert [await session.next_message() for _ in payloads] == [("a/1", p, False) for p in payloads]
        await session.publish("b", b"", retain=True)
        assert (await session.next_message()).payload == b""
        await session.close()
        assert session.dropped == 0

    run(test())


@BOTH
def test_a_retained_message_says_so(broker, access):
    async def test():
        session = await opened(broker.url, access)
        await session.publish("a", b"\x00" * 300_000, retain=True)
        await session.subscribe(["a"])
        assert await session.next_message() == ("a", b"\x00" * 300_000, True)
        await session.close()

    run(test())


@BOTH
def test_a_killed_broker_ends_everything_that_waits_and_a_new_session_opens_after_its_restart(broker, access):
    async def test():
        session = await opened(broker.url, access)
        await session.subscribe(["a"])
        await session.publish("a", b"1")
        waiting = [asyncio.ensure_future(session.next_message()) for _ in range(2)]
        await asyncio.sleep(0)
        broker.kill()
        await session.lost.wait()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert outcomes[0].payload == b"1" or isinstance(outcomes[0], LinkError)
        assert isinstance(outcomes[1], LinkError)
        with pytest.raises(LinkError, match=r"127\.0\.0\.1"):
            await session.publish("a", b"2")
        with pytest.raises(LinkError, match="cannot connect"):
            await opened(broker.url, access)
        broker.restart()
        again = await opened(broker.url, access)
        await again.publish("a", b"3")
        await again.close()

    run(test())


def test_nothing_is_sent_or_kept_before_a_session_is_open():
    async def test():
        session = Session("mqtt://127.0.0.1:1", V5, "test")
        for call in (session.publish("a", b""), session.subscribe(["a"]), session.next_message()):
            with pytest.raises(LinkError, match="not opened"):
                await call
        await session.close()

    run(test())


@BOTH
def test_a_broker_that_hangs_after_connect_is_given_up(access):
    async def hang(reader, _writer):
        await reader.read(-1)

    async def test():
        async with fake_broker(hang) as url:
            with pytest.raises(LinkError, match=r"no CONNACK within 0\.2 s") as caught:
                await Session(url, access, "test").open(timeout_s=0.2)
            assert caught.value.reason == "timeout"

    run(test())


def test_a_server_that_never_answers_the_tls_handshake_is_given_up():
    async def hang(reader, _writer):
        await reader.read(-1)

    async def test():
        async with fake_broker(hang) as url:
            with pytest.raises(LinkError, match="TLS"):
                await Session(url.replace("mqtt:", "mqtts:"), V5, "test").open(timeout_s=0.2)

    run(test())


def test_giving_up_while_opening_leaves_nothing_behind():
    async def hang(reader, writer):
        assert await reader.read(1) == b"\x10"
        seen.set()
        assert await reader.read(-1)
        gone.set()

    seen, gone = asyncio.Event(), asyncio.Event()

    async def test():
        async with fake_broker(hang) as url:
            session = Session(url, V5, "test")
            opening = asyncio.ensure_future(session.open())
            await seen.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await gone.wait()
            assert session.loss is not None

    run(test())


def test_a_name_that_does_not_resolve_is_named():
    async def test():
        with pytest.raises(LinkError, match=r"cannot resolve no-such-host\.invalid"):
            await opened("mqtt://no-such-host.invalid")

    run(test())


def test_tls_with_the_right_authority_and_a_client_certificate(tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("client")
    access = BrokerAccess(ca_file=str(authority.ca_file), cert_file=str(cert), key_file=str(key))

    async def test():
        session = await opened(broker.url, access)
        assert ssl.DER_cert_to_PEM_cert(session.server_certificate).encode() == served[0].read_bytes()
        await session.subscribe(["a"])
        sent = [bytes([i]) * 60_000 for i in range(20)]
        await asyncio.gather(*(session.publish("a", payload) for payload in sent))
        assert [(await session.next_message()).payload for _ in sent] == sent
        await session.close()
        with pytest.raises(LinkError, match=r"before it accepted: does it want a client certificate\?"):
            await opened(broker.url, BrokerAccess(ca_file=str(authority.ca_file)))

    served = authority.issue("server")
    with Broker(tmp_path, tls=served, client_ca=authority.ca_file) as broker:
        run(test())


@pytest.mark.parametrize(
    ("served", "text"),
    [
        ({"name": "wrong-name", "hosts": ("elsewhere.example",)}, "mismatch"),
        ({"name": "expired", "days": -1}, "expired"),
        ({"name": "stranger"}, "certificate"),
    ],
)
def test_a_server_certificate_that_does_not_hold_is_refused_with_its_reason(tmp_path, served, text):
    trusted = Authority(tmp_path)
    signer = Authority(tmp_path, "other") if served["name"] == "stranger" else trusted

    async def test():
        with pytest.raises(LinkError, match=f"the certificate does not hold: .*{text}"):
            await opened(broker.url, BrokerAccess(ca_file=str(trusted.ca_file)))

    with Broker(tmp_path, tls=signer.issue(**served)) as broker:
        run(test())


def test_a_missing_credential_file_is_named(tmp_path):
    async def test():
        with pytest.raises(LinkError, match=r"credentials.*nowhere"):
            await opened("mqtt://127.0.0.1:1", BrokerAccess(username="u", password_file=str(tmp_path / "nowhere")))
        with pytest.raises(LinkError, match="credentials"):
            await opened("mqtts://127.0.0.1:1", BrokerAccess(ca_file=str(tmp_path / "nowhere")))

    run(test())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_refused_by_the_broker_and_the_right_one_is_read_from_its_file(tmp_path, protocol):
    secret = tmp_path / "secret"
    access = BrokerAccess(protocol=protocol, username="agent", password_file=str(secret))

    async def test():
        secret.write_text("wrong\n")
        with pytest.raises(LinkError, match=r"the broker refused: (Not auth|Bad user)") as caught:
            await opened(broker.url, access)
        assert caught.value.reason == "refused"
        secret.write_text("right\n")
        await (await opened(broker.url, access)).close()

    with Broker(tmp_path, users={"agent": "right"}) as broker:
        run(test())


def test_user_and_password_come_from_the_environment_or_a_file_and_are_never_repeated(tmp_path, monkeypatch):
    name, secret = tmp_path / "name", tmp_path / "secret"
    name.write_text("agent\n")
    from_files = BrokerAccess(username_file=str(name), password_file=str(secret))
    from_environment = BrokerAccess(username_env="BROKER_USER", password_env="BROKER_PASSWORD")
    monkeypatch.setenv("BROKER_USER", "agent")

    async def refused(access, text):
        with pytest.raises(LinkError, match=text) as caught:
            await opened(broker.url, access)
        told = "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in told

    async def test():
        await refused(from_environment, "credentials: the environment has no BROKER_PASSWORD")
        monkeypatch.setenv("BROKER_PASSWORD", "wrong hunter2")
        await refused(from_environment, "the broker refused")
        monkeypatch.setenv("BROKER_PASSWORD", "right")
        await (await opened(broker.url, from_environment)).close()
        secret.write_bytes(b"hunter2\xff")
        await refused(from_files, "secret: wanted text in UTF-8")
        secret.write_bytes(b"hunter2" * 10_000)
        await refused(from_files, "secret: wanted at most 65535 bytes")
        secret.write_text("right\n")
        await (await opened(broker.url, from_files)).close()

    with Broker(tmp_path, users={"agent": "right"}) as broker:
        run(test())


def test_a_link_cut_in_mid_packet_loses_the_session_and_no_part_of_a_message_is_seen(broker):
    async def test():
        async with Wire(broker.port) as wire:
            session, sender = await opened(wire.url), await opened(broker.url, client_id="sender")
            await session.subscribe(["a"])
            wire.cut_after(50_000, "client")
            await sender.publish("a", b"x" * 100_000)
            with pytest.raises(LinkError):
                await session.next_message()
            wire_free = await opened(broker.url, client_id="other")
            await wire_free.close()
            await sender.close()

    run(test())


def test_a_session_that_was_left_open_when_its_program_failed_ends_without_a_word(broker):
    left = []

    async def fails():
        session = Session(broker.url, BrokerAccess(), "left")
        await session.open()
        left.append(session)

    run(fails())
    client = left.pop()._client
    sock = client.sock
    client._reset_sockets()  # what paho does when a client is collected
    assert sock.fileno() == -1


def test_a_publish_that_is_cut_off_fails_and_is_not_sent_again(broker):
    async def test():
        async with Wire(broker.port) as wire:
            session = await opened(wire.url)
            wire.cut_after(50_000, "broker")
            with pytest.raises(LinkError):
                await session.publish("a", b"x" * 1_000_000)
            await wire.cut()
            await wire.heal()
            assert wire.connections == 1

    run(test())


def answering(welcome, answers):
    """A script: welcome, then for each packet whatever `answers(command, body)` gives."""

    async def script(reader, writer):
        await read_packet(reader)
        writer.write(welcome)
        while True:
            writer.write(answers(*await read_packet(reader)))
            await writer.drain()

    return script


def test_a_broker_that_acknowledges_nothing_ends_the_session():
    def only_pong(command, _body):
        return b"\xd0\x00" if command == 0xC0 else b""

    async def test():
        async with fake_broker(answering(CONNACK["5"], only_pong)) as url:
            session = await opened(url, answer_s=0.3)
            with pytest.raises(LinkError, match=r"no PUBACK or SUBACK within 0\.3 s"):
                await session.publish("a", b"x")
            assert session.loss.reason == "timeout"

    run(test())


@pytest.mark.parametrize(
    ("access", "welcome"),
    [(V311, CONNACK["3.1.1"]), (V5, CONNACK["5"]), (V5, b"\x20\x06\x00\x00\x03\x13\x00\x00")],
    ids=["3.1.1", "5", "5 and told not to ping"],
)
def test_a_broker_that_falls_silent_is_noticed(access, welcome):
    async def test():
        async with fake_broker(answering(welcome, lambda *_: b"")) as url:
            session = await opened(url, access, keepalive_s=1)
            with pytest.raises(LinkError, match="Keep alive"):
                await session.next_message()

    run(test())


def test_a_stalled_link_is_noticed(broker):
    async def test():
        async with Wire(broker.port) as wire:
            session = await opened(wire.url, keepalive_s=1)
            wire.stall()
            with pytest.raises(LinkError, match="Keep alive"):
                await session.publish("a", b"x" * 3_000_000)
            await wire.heal()

    run(test())


def test_a_refused_message_raises_and_the_session_goes_on():
    replies = iter([0x97, 0x00])

    def puback(_command, body):
        topic_length = struct.unpack(">H", body[:2])[0]
        return packet(0x40, body[2 + topic_length : 4 + topic_length] + bytes([next(replies), 0]))

    async def test():
        async with fake_broker(answering(CONNACK["5"], puback)) as url:
            session = await opened(url)
            with pytest.raises(LinkError, match="the broker refused: Quota exceeded") as caught:
                await session.publish("a", b"1")
            assert caught.value.reason == "refused"
            await session.publish("a", b"2")
            await session.close()

    run(test())


@pytest.mark.parametrize(("access", "suback"), [(V5, b"\x00\x00\x87"), (V311, b"\x00\x80")])
def test_a_refused_subscription_raises(access, suback):
    def answer(_command, body):
        return packet(0x90, body[:2] + (b"\x00" if access is V5 else b"") + suback[1:])

    async def test():
        async with fake_broker(answering(CONNACK[access.protocol], answer)) as url:
            session = await opened(url, access)
            with pytest.raises(LinkError, match="the broker refused"):
                await session.subscribe(["a", "b"])
            await session.close()

    run(test())


def test_the_window_the_broker_asks_for_is_kept():
    unanswered, most = [], 0

    async def script(reader, writer):
        nonlocal most
        await read_packet(reader)
        writer.write(b"\x20\x06\x00\x00\x03\x21\x00\x03")  # ReceiveMaximum 3
        for n in itertools.count(1):
            command, body = await read_packet(reader)
            assert command == 0x32
            unanswered.append(body[3:5])
            most = max(most, len(unanswered))
            if len(unanswered) == 3 or n == 10:
                writer.write(b"".join(packet(0x40, mid) for mid in reversed(unanswered)))
                unanswered.clear()

    async def test():
        async with fake_broker(script) as url:
            session = await opened(url)
            await asyncio.gather(*(session.publish("a", b"x") for _ in range(10)))
            assert most == 3
            session._lose("enough")

    run(test())


async def hostile(url, access=V5, **options):
    """Return the loss of a session with a hostile broker."""
    session = await opened(url, access, **options)
    await session.lost.wait()
    return str(session.loss)


def resident_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


@BOTH
def test_a_huge_message_ends_the_session_and_memory_stays_flat(access):
    async def flood(reader, writer):
        await read_packet(reader)
        writer.write(CONNACK[access.protocol] + b"\x30\x80\x80\x80\x4b")  # 75 * 128**3 bytes: 150 MiB
        for _ in range(150):
            writer.write(chunk)
            await writer.drain()

    chunk = bytes(1024 * 1024)

    async def test():
        async with fake_broker(flood) as url:
            before = resident_kib()
            assert re.search("got a packet of 157286400 bytes, wanted at most 1048576", await hostile(url, access))
            assert resident_kib() - before < 16 * 1024

    run(test())


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (packet(0x34, b"\x00\x01a\x00\x01\x00x"), "QoS 2"),
        (packet(0x30, b"\x00\x02\xff\xfe\x00x"), "UnicodeDecodeError"),
        (packet(0x30, b"\x00\x09a"), "ended"),
        (packet(0x10, b""), "ended"),
        (b"\x30\xff\xff\xff\xff\xff\x01", "ended"),
        (packet(0xE0, b"\x8b\x00"), "the broker ended the connection: Server shutting down"),
        (packet(0xE0, b"\x8b\x08\x1f\x00\x05a\x1b[2J"), "Server shutting down"),
        (b"", "closed the connection"),
    ],
)
def test_what_breaks_the_protocol_becomes_the_loss(sent, text):
    async def script(reader, writer):
        await read_packet(reader)
        writer.write(CONNACK["5"] + sent)

    async def test():
        async with fake_broker(script) as url:
            found = await hostile(url)
            assert text in found
            assert found.isprintable()

    run(test())


def test_more_than_the_inbox_holds_drops_the_oldest_and_counts_it():
    async def script(reader, writer):
        await read_packet(reader)
        sent = [packet(0x30, b"\x00\x01a\x00%d" % n) for n in range(10)]
        writer.write(CONNACK["5"] + b"".join(sent) + packet(0xE0, b""))
        await reader.read(-1)

    async def test():
        async with fake_broker(script) as url:
            session = await opened(url, inbox=3)
            await session.lost.wait()
            assert [(await session.next_message()).payload for _ in range(3)] == [b"7", b"8", b"9"]
            assert session.dropped == 7
            with pytest.raises(LinkError):
                await session.next_message()

    run(test())


@BOTH
def test_a_slow_reader_makes_the_broker_wait(broker, access):
    async def test():
        slow, sender = await opened(broker.url, access), await opened(broker.url, client_id="sender")
        await slow.subscribe(["a"])
        await asyncio.gather(*(sender.publish("a", b"%d" % n) for n in range(100)))
        assert len(slow._inbox) <= 20
        assert [(await slow.next_message()).payload for _ in range(100)] == [b"%d" % n for n in range(100)]
        assert slow.dropped == 0
        await asyncio.gather(slow.close(), sender.close())

    run(test())


@BOTH
def test_the_will_is_published_after_a_cut_and_not_after_a_goodbye(broker, access):
    async def test():
        watcher = await opened(broker.url, client_id="watcher")
        await watcher.subscribe(["state"])
        async with Wire(broker.port) as wire:
            polite = await opened(wire.url, access, will=("state", b"polite is gone"))
            await polite.close()
            await opened(wire.url, access, will=("state", b"cut off"))
            await wire.cut()
        assert (await watcher.next_message()).payload == b"cut off"
        await watcher.close()

    run(test())


@BOTH
def test_a_closed_session_leaves_no_reader_no_timer_and_no_socket(broker, access):
    async def test():
        loop = asyncio.get_running_loop()
        session = await opened(broker.url, access)
        sock = session._client.sock
        descriptor = sock.fileno()
        await session.close()
        await session.close()
        assert sock.fileno() == -1
        assert not loop.remove_reader(descriptor)
        assert not loop.remove_writer(descriptor)
        assert all(timer.cancelled() for timer in loop._scheduled if timer._callback == session._tick)
        del session, sock
        gc.collect()  # what was not closed would warn here, and a warning is an error

    run(test())


def test_a_cancelled_publish_does_not_disturb_the_next(broker):
    async def test():
        session = await opened(broker.url)
        first = asyncio.ensure_future(session.publish("a", b"1"))
        await asyncio.sleep(0)
        first.cancel()
        await session.publish("a", b"2")
        await session.close()

    run(test())


def test_nobody_listens():
    async def test():
        with pytest.raises(LinkError, match=r"cannot connect.*refused"):
            await opened(f"mqtt://127.0.0.1:{free_port()}")

    run(test())
