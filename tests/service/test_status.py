"""Status: what a running agent says of itself, to whom, and what is said when none runs."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from peers import Authority, Broker, free_port
from sites import METER, written

from edge_agent.cli import asking
from edge_agent.cli.main import main
from edge_agent.cli.status import ask, in_words
from edge_agent.config import load
from edge_agent.model.errors import LinkError, StoreError
from edge_agent.mqtt import Message
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.receipts import Receipt, seal_receipt
from edge_agent.service.agent import Agent
from edge_agent.service.certificates import DAY_MS, Certificates
from edge_agent.service.clock import Clock
from edge_agent.service.status import telling

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[2] / "reference" / "status.schema.json").read_text()))


async def serving(agent, until, read):
    """Run an agent until `until(its status)`; return what `read()` gives meanwhile, in a thread."""
    stop = asyncio.Event()

    async def ask():
        while not until(agent.status()):  # noqa: ASYNC110 - a status is asked for
            await asyncio.sleep(0.02)
        found.append(await asyncio.to_thread(read))
        stop.set()

    found, ready = [], asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(agent.run(stop, ready.set))
        await ready.wait()
        group.create_task(ask())
    return found[0]


def test_a_running_agent_tells_its_owner_everything_in_the_documents_form(tmp_path, capsys):
    path = written(tmp_path, f'[upstream]\nurl = "mqtt://127.0.0.1:{free_port()}"\n' + METER, free_port())
    sock = tmp_path / "data" / "status.sock"

    def read():
        mode = stat.S_IMODE(sock.stat().st_mode)
        return mode, main(["status", str(path), "--json"]), main(["status", str(path)])

    agent = Agent(load(path))
    try:
        met = lambda s: s["upstream"]["last_error"] and s["buses"][0]["last_error"] and s["twin"]["version"]  # noqa: E731
        assert asyncio.run(serving(agent, met, read)) == (0o600, 0, 0)
    finally:
        agent.close()
    assert not sock.exists()
    as_json, *lines = capsys.readouterr().out.splitlines()
    found = json.loads(as_json)
    SCHEMA.validate(found)
    assert (found["world"], found["agent"]["config"]) == ("w", agent.site.digest)
    assert found["upstream"]["waiting"]["records"] == found["twin"]["version"] - found["upstream"]["delivered"] > 0
    assert found["upstream"]["waiting"]["oldest_s"] >= 0
    assert found["upstream"]["waiting"]["bytes"] > 0
    assert "refused" in found["upstream"]["last_error"]["text"]
    assert [poll["source"] for poll in found["buses"][0]["polls"]] == ["meter"] * len(found["buses"][0]["polls"])
    assert found["buses"][0]["polls"][0]["failed"] >= 1
    text = "\n".join(lines)
    for said in ("NOT CONNECTED", "records wait in", "good never", "last error", "0 squashed"):
        assert said in text


@pytest.mark.parametrize(("first", "lacks"), [(1, False), (2, True), (3, True)])
def test_how_far_the_mirror_has_signed_and_what_it_lacks_is_told(tmp_path, first, lacks):
    mirror = PrivateKey.from_seed(b"\x07" * 32)
    (tmp_path / "mirror.pub").write_bytes(mirror.public.to_text("mirror"))
    keys = f'release = "mirror"\nmirror_key = "{tmp_path / "mirror.pub"}"\n'
    path = written(tmp_path, f'[upstream]\nurl = "mqtt://127.0.0.1:{free_port()}"\n{keys}' + METER, free_port())
    agent = Agent(load(path))
    try:
        assert agent.status()["upstream"]["receipts"] == {"first": None, "seq": None, "fault": None, "counts": {}}
        asyncio.run(agent.turn_once(0.1))
        receipt = seal_receipt(Receipt("w", first, 2, agent.ledger.digest_of(2)), mirror)
        agent.upstream.receipts.take(Message("edge/v1/w/ack", receipt, retain=False), time.monotonic())
        found = agent.status()
    finally:
        agent.close()
    SCHEMA.validate(found)
    assert found["upstream"]["receipts"] == {"first": first, "seq": 2, "fault": None, "counts": {"taken": 1}}
    told = "\n".join(in_words(found))
    assert "the mirror has signed up to record 2" in told
    assert (f"it lacks records before {first}" in told) is lacks


def test_without_an_agent_it_says_so_and_what_to_do(tmp_path, capsys):
    path = written(tmp_path, METER)
    assert main(["status", str(path)]) == 1
    told = capsys.readouterr().out
    assert "no agent is running here" in told
    assert "edge-agent run agent.toml" in told
    (tmp_path / "data").mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "data" / "status.sock"))
    dead.close()
    assert main(["status", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    SCHEMA.validate(found)
    assert "no agent is running here" in found["reason"]


def test_a_socket_that_never_answers_and_one_that_talks_nonsense_are_told(tmp_path, monkeypatch, capsys):
    path = written(tmp_path, METER)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(asking, "_PATIENCE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "data" / "status.sock"))
        hung.listen()
        assert main(["status", str(path)]) == 1
        assert "an agent is there and does not answer" in capsys.readouterr().out


async def connected(path):
    """Connect to a socket whose name is too long for the system."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def test_a_folder_with_a_name_too_long_for_a_socket_serves_and_more_than_eight_at_once_are_turned_away(tmp_path):
    path = tmp_path / ("long" * 40) / "status.sock"
    path.parent.mkdir()

    async def test():
        async with telling(path, lambda: {"n": "x" * 1_000_000}):
            idle = [await connected(path) for _ in range(8)]
            reader, writer = await connected(path)
            assert await reader.read() == b""
            writer.close()
            reader, writer = idle.pop()
            assert json.loads(await reader.read()) == {"n": "x" * 1_000_000}
            for each in (writer, *(w for _, w in idle)):
                each.close()
        assert not path.exists()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_socket_that_cannot_be_made_is_a_store_error(tmp_path):
    async def test():
        async with telling(tmp_path / "nowhere" / "status.sock", dict):
            pass

    with pytest.raises(StoreError, match=r"status\.sock: cannot make the socket: "):
        asyncio.run(test())


def held(authority, tmp_path, days):
    cert, _ = authority.issue(f"client{days}", days=days)
    return Certificates(str(cert)), cert


@pytest.mark.parametrize(("days", "text"), [(10, "holds until"), (-3, "has expired on"), (90, None)])
def test_a_certificate_that_ends_soon_or_has_ended_is_warned_of_once(tmp_path, caplog, days, text):
    certificates, _ = held(Authority(tmp_path), tmp_path, days)
    now = Clock()()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            certificates.look()
            certificates.warn(now)
    assert len(caplog.records) == (text is not None)
    if text is not None:
        assert f'the client\'s certificate "CN=client{days}" {text}' in caplog.text
    assert round(certificates.held[0].days(now.at_ms)) == days


def test_one_that_ends_while_the_agent_runs_is_warned_of_again_and_a_new_file_is_seen(tmp_path, caplog):
    authority = Authority(tmp_path)
    certificates, cert = held(authority, tmp_path, 90)
    now = Clock()()
    certificates.look()
    with caplog.at_level(logging.WARNING):
        for day in (0, 65, 66, 91, 92):
            certificates.warn(now._replace(at_ms=now.at_ms + day * DAY_MS))
    assert [record.message.rpartition(" ")[0].split('" ')[1].split(" ")[0] for record in caplog.records] == [
        "holds",
        "has",
    ]
    cert.write_bytes(authority.issue("renewed", days=400)[0].read_bytes())
    certificates.look()
    assert certificates.held[0].certificate.subject == "CN=renewed"
    cert.write_text("nothing")
    certificates.look()
    assert certificates.held == []


def test_both_certificates_of_a_tls_session_are_in_the_status(tmp_path, capsys):
    authority = Authority(tmp_path)
    cert, key = authority.issue("gateway", days=20)
    with Broker(tmp_path, tls=authority.issue("server", days=300), client_ca=authority.ca_file) as broker:
        files = f'ca_file = "{authority.ca_file}"\ncert_file = "{cert}"\nkey_file = "{key}"\n'
        path = written(tmp_path, f'[upstream]\nurl = "{broker.url}"\n{files}' + METER, free_port())
        agent = Agent(load(path))
        try:
            done = lambda s: s["upstream"]["delivered"] > 0  # noqa: E731
            assert asyncio.run(serving(agent, done, lambda: main(["status", str(path)]))) == 0
        finally:
            agent.close()
    told = capsys.readouterr().out
    assert "the client's" not in told
    assert "client's certificate until" in told
    assert "(SOON, 20 days)" in told
    assert "server's certificate until" in told
    assert "(300 days)" in told
    assert "connected for" in told


def test_turns_and_what_became_of_due_polls_are_told_and_watched_on_a_small_terminal(tmp_path):
    path = written(tmp_path, METER, free_port())

    def read():
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 40, 0, 0))
        words = [sys.executable, "-m", "edge_agent.cli", "status", str(path), "--watch", "--every", "0.05"]
        env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {
            "NO_COLOR": "1",
            "TERM": "xterm",
        }
        watching = subprocess.Popen(words, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        told = b""
        while told.count(b"turn, ms") < 3:
            told += os.read(master, 65536)
        watching.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while part := os.read(master, 65536):
                told += part
        os.close(master)
        return told.decode(), watching.wait(30)

    agent = Agent(load(path))
    try:
        told, code = asyncio.run(serving(agent, lambda s: s["turns"]["count"] and s["buses"][0]["last_error"], read))
        found = agent.status()
    finally:
        agent.close()
    SCHEMA.validate(json.loads(json.dumps(found)))
    assert code == 0
    assert told.startswith("\033[?1049h")
    assert told.rstrip().endswith("\033[?1049l"), "the terminal is as it was"
    shown = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", told).replace("\r", "")
    assert max(map(len, shown.splitlines())) <= 40
    assert "0.0% of what was due" in re.sub(r"\s+", " ", shown)
    assert found["turns"]["last_s"] <= found["turns"]["most_s"]
    assert {(poll["kept"], poll["latency_s"]) for poll in found["buses"][0]["polls"]} == {(0.0, None)}


def test_watching_in_a_pipe_is_one_document_after_the_other_until_nobody_reads(tmp_path):
    path = written(tmp_path, METER)
    words = [sys.executable, "-m", "edge_agent.cli", "status", str(path), "--watch", "--every", "0.05"]
    with subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        for _ in range(3):
            SCHEMA.validate(json.loads(watching.stdout.readline()))
        watching.stdout.close()
        assert watching.wait(30) == 0
        assert watching.stderr.read() == b""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", 'got "", wanted its status'),
        (b"\x1b[31mhello", 'got "?[31mhello", wanted its status'),
        (b"\xff\x00\x91" * 20 + b"\n}", "wanted its status"),
        (b"[" * 100_000, "wanted its status"),
        (b"[1, 2]", "got version None of the status, wanted 3"),
        (b'{"v": 99}', "got version 99 of the status, wanted 3"),
        (b'{"v": 3}', "something missing or wrong"),
        (b'{"v": 3, "agent": [], "twin": 1, "clock": "x", "memory": null}', "something missing or wrong"),
    ],
)
def test_what_is_no_status_is_said_to_be_none(tmp_path, capsys, said, told):
    path = written(tmp_path, METER)
    (tmp_path / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "data" / "status.sock"))
        listening.listen()

        def answer():
            asking, _ = listening.accept()
            with asking, contextlib.suppress(OSError):
                asking.sendall(said)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer)
            assert main(["status", str(path)]) == 1
    heard = capsys.readouterr().out
    assert told in heard
    assert "journalctl" in heard
    assert heard.count("\n") == 1


def test_an_agent_that_only_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE_S", 0.5)
    (tmp_path / "status.sock").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "status.sock"))
        listening.listen()
        asked = threading.Event()

        def drip():
            asking, _ = listening.accept()
            with asking, contextlib.suppress(OSError):
                while not asked.wait(0.1):
                    asking.sendall(b" ")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(drip)
            with pytest.raises(LinkError, match="does not answer: timed out"):
                ask(tmp_path)
            asked.set()
