"""The figures for Prometheus: true, in the form of OpenMetrics 1.0, to this machine alone, and only when asked for."""

import asyncio
import json
import logging
import re
import socket

import pytest
from peers import free_port
from sites import METER, written

from edge_agent.config import examine, load
from edge_agent.service import metrics
from edge_agent.service.agent import Agent
from edge_agent.service.metrics import TYPE, openmetrics, reply

SAMPLE = re.compile(
    r'(edge_agent_[a-z_]+)(?:\{([a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*)\})? (\S+)'
)
SUFFIX = {"counter": "_total", "info": "_info", "gauge": ""}


def parsed(text):
    """Return every sample by name and labels, having checked what OpenMetrics 1.0 asks of the lines."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    found, families, name, kind = {}, set(), "", ""
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families
            families.add(name)
        elif line.startswith("# UNIT "):
            assert line.split(" ")[2] == name
            assert name.endswith("_" + line.split(" ")[3])
        elif line.startswith("# HELP "):
            assert line.split(" ")[2] == name
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == name + SUFFIX[kind]
            assert (match[1], match[2]) not in found
            found[match[1], match[2]] = float(match[3])
    return found


async def asked(port, head):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    try:
        return await reader.read()
    finally:
        writer.close()


def with_metrics(tmp_path, port):
    return written(
        tmp_path, f"[metrics]\nport = {port}\n[upstream]\nurl = 'mqtt://127.0.0.1:{free_port()}'\n" + METER, free_port()
    )


async def while_it_runs(agent, do):
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(agent.run(stop, ready.set))
        await ready.wait()
        while not agent.status()["turns"]["count"]:  # noqa: ASYNC110 - a status is asked for
            await asyncio.sleep(0.02)
        found = await do()
        stop.set()
    return found


def test_a_running_agent_serves_what_its_status_says(tmp_path):
    port = free_port()
    agent = Agent(load(with_metrics(tmp_path, port)))

    async def scraped():
        while True:
            try:
                got = await asked(port, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            return got, agent.status()

    try:
        got, status = asyncio.run(while_it_runs(agent, scraped))
    finally:
        agent.close()
    head, _, body = got.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert f"Content-Type: {TYPE}" in head
    found = parsed(body)
    assert found["edge_agent_turns_total", None] == status["turns"]["count"] >= 1
    assert found["edge_agent_turn_duration_seconds", 'of="last"'] == status["turns"]["last_s"] > 0
    assert found["edge_agent_record_sequence", None] == status["twin"]["version"]
    assert found["edge_agent_upstream_connected", None] == 0
    assert found["edge_agent_waiting_records", None] >= 1
    failed = [
        value
        for (name, labels), value in found.items()
        if name == "edge_agent_polls_total" and 'result="failed"' in labels
    ]
    assert sum(failed) >= 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /metrics?x HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: [::1]:9\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example:9464\r\n\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"\xff\xfe\r\n\r\n", 400),
        (b"", 400),
    ],
)
def test_only_a_request_for_the_figures_by_this_machine_gets_them(head, status):
    got = reply(head, lambda: "x\n# EOF\n")
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert got.endswith(b"# EOF\n") == (status == 200)
    length = int(re.search(rb"Content-Length: (\d+)", got)[1])
    assert len(got.partition(b"\r\n\r\n")[2]) == length


def test_head_is_answered_without_a_body():
    assert reply(b"HEAD /metrics HTTP/1.1\r\n\r\n", lambda: "abc").endswith(
        b"Content-Length: 3\r\nConnection: close\r\n\r\n"
    )


def test_what_is_not_known_is_left_out_and_what_comes_from_outside_is_escaped(tmp_path):
    agent = Agent(load(written(tmp_path, METER)))
    try:
        status = json.loads(json.dumps(agent.status()))
    finally:
        agent.close()
    status["buses"][0]["bus"] = 'a"b\\c\nd'
    found = parsed(openmetrics(status))
    names = {name for name, _ in found}
    assert "edge_agent_turn_duration_seconds" not in names
    assert "edge_agent_upstream_connected" not in names
    assert "edge_agent_poll_age_seconds" not in names
    assert found["edge_agent_bus_up", r'bus="a\"b\\c\nd"'] == 1


def test_a_port_that_is_taken_is_said_once_and_served_when_it_is_free(monkeypatch, caplog):
    monkeypatch.setattr(metrics, "AGAIN_S", 0.05)

    async def test():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            serving = asyncio.create_task(metrics.serve_metrics(port, dict))
            while not caplog.records:  # noqa: ASYNC110 - the log is looked at
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        while True:
            try:
                return await asked(port, b"GET / HTTP/1.1\r\n\r\n")
            except ConnectionError:
                await asyncio.sleep(0.02)
            finally:
                assert not serving.done()

    with caplog.at_level(logging.WARNING):
        assert b"404" in asyncio.run(asyncio.wait_for(test(), 60))
    assert [record.message.split(":")[0] for record in caplog.records] == ["metrics"]


def test_it_is_off_by_default_and_check_says_where_it_is(tmp_path):
    assert load(written(tmp_path, METER)).settings.metrics is None
    assert load(with_metrics(tmp_path, 9464)).settings.metrics.port == 9464
    for wrong in ("port = 0", "port = 70000", 'port = 9464\nhost = "0.0.0.0"', ""):
        problems = examine(written(tmp_path, f"[metrics]\n{wrong}\n" + METER)).problems
        assert [p.place.partition("metrics")[1] for p in problems] == ["metrics"], problems
