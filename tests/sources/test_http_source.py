import asyncio
import contextlib
import json
import ssl

import pytest
from peers import Authority

from edge_agent.model.checked import Seconds
from edge_agent.model.errors import ConfigError, LinkError, TrustError, WireError
from edge_agent.model.profile import PathPoint
from edge_agent.model.reading import Instant
from edge_agent.model.site import HttpAccess, HttpSettings, Source
from edge_agent.sources.http import MAX_BODY, links

POINTS = (
    PathPoint(name="power", path="$.apower", range=(-4000, 4000)),
    PathPoint(name="on", path="$.output", kind="state"),
)
NOW = Instant(1_795_622_400_000, 7_000_000_000, synced=True)
GOOD_BODY = b'{"apower": 0, "output": false}'


def source(url, points=POINTS, access=None, path="/rpc?id=0", **rest):
    settings = HttpSettings(name="plug", url=url, path=path, access=access or HttpAccess(), **rest)
    return Source(settings, "w:plug:plug", "plug", points)


def answer(body=GOOD_BODY, status="200 OK", headers=()):
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def server(script, tls=None):
    """A web server on loopback: `script(request, writer, gone)` for each request; yields its url and the requests.

    `await gone()` returns when the client has gone.
    """
    requests, running, writers = [], set(), []

    async def connected(reader, writer):
        running.add(asyncio.current_task())
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            await script(requests[-1], writer, lambda: reader.read(1))
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}", requests
    finally:
        listening.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await listening.wait_closed()


def saying(*answers):
    """Answer each request with the next of these bytes, and close."""
    waiting = list(answers)

    async def script(_request, writer, _gone):
        writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        await writer.drain()

    return script


def with_server(script, scenario, tls=None, clock=lambda: NOW, **rest):
    async def run():
        async with server(script, tls) as (url, requests):
            (link,) = links([source(url, **rest)], clock)
            await link.open()
            try:
                return await scenario(link, link.polls[0], requests)
            finally:
                await link.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


async def once(link, poll, _requests):
    return await link.read(poll)


def seen(readings):
    return {reading.point: (reading.value, reading.quality) for reading in readings}


def test_an_answer_becomes_readings():
    async def scenario(link, poll, requests):
        return await link.read(poll), requests

    found, requests = with_server(saying(answer()), scenario)
    assert seen(found) == {"power": (0.0, "good"), "on": (False, "good")}
    assert (found[0].anchor.source, found[0].anchor.detail, found[0].anchor.at) == ("plug", "GET /rpc?id=0", NOW)
    head = requests[0].decode().split("\r\n")
    assert head[0] == "GET /rpc?id=0 HTTP/1.1"
    assert head[1].startswith("Host: 127.0.0.1:")
    assert "Connection: close" in head


def test_every_point_of_an_answer_is_a_reading_with_its_reason():
    body = b'{"apower": 65535}'
    assert seen(with_server(saying(answer(body)), once)) == {"power": (None, "bad:range"), "on": (None, "bad:missing")}


@pytest.mark.parametrize(
    "bytes_",
    [
        answer(),
        answer(headers=["Transfer-Encoding: chunked"], body=b"5\r\n" + GOOD_BODY[:5] + b"\r\n%x\r\n" % (len(GOOD_BODY) - 5)
               + GOOD_BODY[5:] + b"\r\n0\r\n\r\n"),
        b"HTTP/1.0 200 OK\r\n\r\n" + GOOD_BODY,
        b"HTTP/1.1 200\r\n\r\n" + GOOD_BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
    ],
    ids=["length", "chunked", "until the end", "no reason", "continue"],
)  # fmt: skip
def test_whatever_way_an_answer_is_bounded(bytes_):
    assert seen(with_server(saying(bytes_), once)) == {"power": (0.0, "good"), "on": (False, "good")}


@pytest.mark.parametrize("chunked", [True, False])
def test_a_server_that_keeps_the_connection_open_is_not_waited_for(chunked):
    body = b"%x\r\n" % len(GOOD_BODY) + GOOD_BODY + b"\r\n0\r\n\r\n" if chunked else GOOD_BODY

    async def script(_request, writer, gone):
        writer.write(answer(body, headers=["Transfer-Encoding: chunked"] if chunked else []))
        await gone()  # until the client goes

    assert seen(with_server(script, once, timeout=Seconds(30)))["power"] == (0.0, "good")


def test_a_server_that_ends_the_connection_after_each_answer_loses_no_poll():
    async def scenario(link, poll, requests):
        return [seen(await link.read(poll))["power"] for _ in range(5)], len(requests)

    assert with_server(saying(answer()), scenario) == ([(0.0, "good")] * 5, 5)


@pytest.mark.parametrize(
    ("bytes_", "reason", "words"),
    [
        (answer(status="500 Internal Server Error"), "refused", "got status 500, wanted 200"),
        (answer(status="401 Unauthorized"), "refused", "got status 401"),
        (answer(status="204 No Content", body=b""), "refused", "got status 204"),
        (answer(status="302 Found", headers=["Location: http://192.0.2.1/"]), "refused", "a redirect (302), which is never"),
        (answer(b"<html>please log in</html>"), "type", None),
        (answer(b""), "garbage", "got 0 bytes"),
        (answer(b"{"), "garbage", "broken JSON"),
        (answer(b"\xff"), "garbage", "not UTF-8"),
        (answer(b'{"apower": NaN, "output": true}'), "garbage", "got NaN"),
        (answer(b'{"apower": 1, "apower": 2}'), "garbage", "a key twice"),
        (answer(b"[" * 1000), "garbage", "more than 16 levels"),
        (answer(b"[" + b"0," * 100_000 + b"0]"), "garbage", "more than 10000 elements"),
        (answer(b'{"apower": ' + b"9" * 10_000 + b"}"), "garbage", "10000 digits"),
        (answer(b"x" * (MAX_BODY + 1)), "garbage", "more than 262144 bytes"),
        (answer(b"x" * (MAX_BODY + 100_000)), "garbage", "more than 262144 bytes"),
        (answer(headers=["Content-Length: 1000"]), "garbage", "970 bytes are missing"),
        (answer(headers=["Content-Length: -1"]), None, None),
        (answer(headers=["Transfer-Encoding: chunked"], body=b"zz\r\n"), "garbage", "an answer that is none"),
        (answer(headers=["Transfer-Encoding: chunked"], body=b"5\r\nab"), "garbage", "an answer that is none"),
        (b"", "garbage", "an answer that is none"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "garbage", "an answer that is none"),
        (b"\0" * 100_000, "garbage", "an answer that is none"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}", "garbage", "an answer that is none"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_good_is_a_wire_error_or_bad_and_never_a_value(bytes_, reason, words):
    async def scenario(link, poll, _requests):
        try:
            return seen(await link.read(poll))
        except WireError as error:
            return error.reason, str(error)

    found = with_server(saying(bytes_), scenario)
    if words is None:
        assert found in (
            {"power": (None, "bad:missing"), "on": (None, "bad:missing")},
            {"power": (0.0, "good"), "on": (False, "good")},
        )
    else:
        assert found[0] == reason
        assert words in found[1]
        assert found[1].startswith("http://127.0.0.1:")
        assert len(found[1]) < 250


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_slow_drip_does_not_move_the_deadline(head):
    async def script(_request, writer, gone):
        writer.write(head)
        dripping = asyncio.create_task(gone())
        while not dripping.done():
            writer.write(b"x")
            await asyncio.wait({dripping}, timeout=0.01)

    async def scenario(link, poll, _requests):
        with pytest.raises(LinkError, match=r"no whole answer within 0\.2 s") as refusal:
            await link.read(poll)
        return refusal.value.reason

    assert with_server(script, scenario, timeout=Seconds(0.2)) == "timeout"


def test_a_body_that_never_ends_is_given_up_at_its_cap():
    async def script(_request, writer, _gone):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async def scenario(link, poll, _requests):
        with pytest.raises(WireError, match="more than 262144 bytes"):
            await link.read(poll)

    with_server(script, scenario, timeout=Seconds(30))


def test_a_read_that_is_given_up_lets_go_of_the_connection():
    hung = asyncio.Queue()

    async def script(_request, _writer, gone):
        await hung.put("asked")
        await gone()
        await hung.put("gone")

    async def scenario(link, poll, _requests):
        reading = asyncio.create_task(link.read(poll))
        assert await hung.get() == "asked"
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        return await hung.get()

    assert with_server(script, scenario, timeout=Seconds(30)) == "gone"


def test_nobody_there_is_a_link_error():
    async def run():
        async with server(saying(answer())) as (url, _):
            (link,) = links([source(url)], lambda: NOW)
            with pytest.raises(LinkError, match="not open"):
                await link.read(link.polls[0])
            await link.open()
        with pytest.raises(LinkError) as refusal:
            await link.read(link.polls[0])
        await link.close()
        return refusal.value.reason

    assert asyncio.run(run()) == "link"


def test_what_lets_us_in_is_sent_and_never_shown(tmp_path):
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer s3cret\nX-Site: boiler\n\n")

    async def scenario(link, poll, requests):
        with pytest.raises(WireError) as refusal:
            await link.read(poll)
        return requests[0], str(refusal.value), repr(link.polls), link.bus

    asked, *shown = with_server(saying(answer(status="403 No")), scenario, access=HttpAccess(headers_file=str(path)))
    assert b"\r\nAuthorization: Bearer s3cret\r\nX-Site: boiler\r\n\r\n" in asked
    assert "s3cret" not in "".join(shown)


@pytest.mark.parametrize(
    "text", ["s3cret", "A: b\ns3cret\n", ": s3cret", "A:", "A: s3cret\x01", "A b: s3cret", "A: b\n" * 9000]
)
def test_a_file_of_headers_that_holds_something_else_is_refused_without_its_content(tmp_path, text):
    path = tmp_path / "headers"
    path.write_text(text)
    (link,) = links([source("http://127.0.0.1:1", access=HttpAccess(headers_file=str(path)))], lambda: NOW)
    with pytest.raises(LinkError, match="not of the form") as refusal:
        asyncio.run(link.open())
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_server_proves_who_it_is_and_so_do_we(tmp_path, trusted):
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    context.load_cert_chain(*authority.issue("server"))
    context.verify_mode = ssl.CERT_REQUIRED
    cert_file, key_file = map(str, authority.issue("gateway"))
    ca_file = str(authority.ca_file) if trusted else None
    access = HttpAccess(ca_file=ca_file, cert_file=cert_file, key_file=key_file)

    async def scenario(link, poll, _requests):
        try:
            return seen(await link.read(poll))["power"]
        except LinkError as error:
            return str(error)

    found = with_server(saying(answer()), scenario, tls=context, access=access, timeout=Seconds(30))
    assert found == (0.0, "good") if trusted else "CERTIFICATE_VERIFY_FAILED" in found


# --- the device's own time


def timed(*times):
    return saying(*[answer(json.dumps({"apower": i, "output": False, "t": t}).encode()) for i, t in enumerate(times)])


def test_pain_5_an_answer_out_of_a_cache_is_not_new_and_at_last_is_stale():
    own = NOW.at_ms // 1000 - 5
    moments = iter([NOW, NOW, Instant(NOW.at_ms + 60_000, NOW.mono_ns + 60_000_000_000, synced=True), NOW])

    async def scenario(link, poll, _requests):
        found = [await link.read(poll) for _ in range(4)]
        return found, dict(link.dropped)

    found, dropped = with_server(timed(own, own, own, own - 1), scenario, clock=lambda: next(moments), time="$.t")
    assert seen(found[0])["power"] == (0.0, "good")
    assert found[0][0].anchor.at.at_ms == NOW.at_ms - 5000
    assert found[1] == []
    assert seen(found[2]) == {"power": (None, "bad:stale"), "on": (None, "bad:stale")}
    assert found[3] == []
    assert dropped["older than known"] == 1


# --- configuration


def test_a_poll_is_due_as_often_as_it_is_written():
    (link,) = links([source("http://host", poll=Seconds(2), timeout=Seconds(3))], lambda: NOW)
    (poll,) = link.polls
    assert (link.bus, poll.source, poll.period_s, poll.timeout_s) == ("http://host", "plug", 2.0, 3.0)
    assert (poll.unit, poll.detail, poll.points) == ("/rpc?id=0", "GET /rpc?id=0", ("power", "on"))


def test_nothing_is_ever_written():
    (link,) = links([source("http://host")], lambda: NOW)
    with pytest.raises(TrustError, match=r"plug\.on: got a write of True"):
        asyncio.run(link.write("plug", "on", value=True))


@pytest.mark.parametrize(
    "url", ["http://host", "https://host", "http://host:8080/", "http://[::1]:80", "http://192.0.2.1"]
)
def test_what_may_be_a_url(url):
    assert len(links([source(url)], lambda: NOW)) == 1


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("ftp://host", 'got "ftp://host", wanted http://host[:80]'),
        ("http://", "wanted http://host[:80]"),
        ("http://host:0", "wanted http://host[:80]"),
        ("http://host:x", "wanted http://host[:80]"),
        ("http://[", "wanted http://host[:80]"),
        ("http://host/status", "what is asked for is `path`"),
        ("http://host?x", "what is asked for is `path`"),
        ("http://host#x", "wanted http://host[:80]"),
        ("http://user:s3cret@host", "got a url with a user"),
        ("http://h\u00f6st", "wanted http://host[:80]"),
    ],
)
def test_what_may_not_be_a_url_is_a_problem_in_words(url, wanted):
    with pytest.raises(ConfigError) as refusal:
        links([source(url)], lambda: NOW)
    assert wanted in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("path", ["status", "", "/a b", "/a\r\nX: y", "/\u00e9", "/a#b", "http://other/"])
def test_a_path_cannot_say_anything_else_to_the_server(path):
    with pytest.raises(ConfigError, match="wanted a path such as /status"):
        links([source("http://host", path=path)], lambda: NOW)


def test_every_problem_is_listed():
    bad = (PathPoint(name="p", path="apower"),)
    with pytest.raises(ConfigError) as refusal:
        links([source("http:", bad, path="x", time="t"), source("http://host:0")], lambda: NOW)
    assert [problem.place for problem in refusal.value.problems] == [
        "sources.plug.url",
        "sources.plug.path",
        "sources.plug.points.p.path",
        "sources.plug.time",
        "sources.plug.url",
    ]
