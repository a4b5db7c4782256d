"""What a service manager hears: from a real process, over the socket that systemd would have named."""

import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from peers import free_port
from sites import METER, written

from edge_agent.service.notify import READY, ServiceManager


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        yield heard


def test_it_hears_that_the_agent_is_ready_then_of_each_turn_then_of_a_reload_then_that_it_stops(tmp_path, manager):
    config = written(tmp_path, METER + '[sync]\ninterval = "100ms"\n', free_port())
    command = [sys.executable, "-m", "edge_agent.cli", "run", str(config), "--log-json"]
    environment = os.environ | {"NOTIFY_SOCKET": manager.getsockname()}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
        try:
            heard = [manager.recv(200) for _ in range(4)]
            agent.send_signal(signal.SIGHUP)
            while (reloading := manager.recv(200)).startswith(b"WATCHDOG=1"):
                pass
            reloaded = manager.recv(200)
            agent.send_signal(signal.SIGTERM)
            while (last := manager.recv(200)).startswith(b"WATCHDOG=1"):
                pass
            assert agent.wait(60) == 0
        finally:
            agent.kill()
    assert heard[0] == b"READY=1"
    assert {told.splitlines()[0] for told in heard[1:]} == {b"WATCHDOG=1"}
    assert reloading.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert reloaded == b"READY=1"
    assert last == b"STOPPING=1"


def test_an_abstract_address_is_one_too(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{tmp_path}")
        with closing(ServiceManager(f"@{tmp_path}")) as told:
            told.tell(READY)
        assert heard.recv(100) == b"READY=1"


def test_nobody_asked_nobody_listens_and_a_full_queue_stop_nothing(tmp_path, manager):
    for address in ("", str(tmp_path / "gone")):
        with closing(ServiceManager(address)) as told:
            told.tell(READY)
    with closing(ServiceManager(manager.getsockname())) as told:
        for _ in range(5000):
            told.tell(READY)
    assert manager.recv(100) == b"READY=1"


ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Take standard input for the terminal of this session, and run a command on it."""


def test_on_a_terminal_a_hang_up_takes_the_file_up_and_the_end_of_the_terminal_ends_the_agent(tmp_path):
    config = written(tmp_path, METER + '[sync]\ninterval = "100ms"\n', free_port())
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", ON_TERMINAL, sys.executable, "-m", "edge_agent.cli", "run", str(config)]
    agent = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    told = b""
    while b"READY" not in told:
        told += os.read(ours, 4096)
    config.write_text("# said\n" + config.read_text())
    agent.send_signal(signal.SIGHUP)
    while b"taken up, asked by signal: nothing but its text" not in told:
        told += os.read(ours, 4096)
    os.close(ours)
    assert agent.wait(60) == 0
