"""Asking the agent that runs on this machine, on the sockets of its data folder."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from edge_agent.model.errors import LinkError

_PATIENCE_S = 5.0
_MOST_BYTES = 16 * 1024 * 1024
_HINT = "systemctl start edge-agent, or edge-agent run agent.toml; `edge-agent log verify` reads what is on disk"


def lines_from(path: Path, folder: Path, hint: str = "", *, patient: bool = False) -> Iterator[bytes]:
    """Give the lines that are said on a socket of the data folder.

    All of it must come within `_PATIENCE_S`, for one that drips is as good as one that is silent; with `patient` that
    goes for the first line alone. Raises LinkError, saying what to do.
    """
    try:
        yield from _lines(path, patient=patient)
    except PermissionError as error:
        raise LinkError(f"{path}: this user may not ask (sudo edge-agent …, or as the agent's user)") from error
    except (FileNotFoundError, ConnectionError) as error:
        raise LinkError(f"{folder}: no agent is running here ({_HINT}{hint})") from error
    except OSError as error:
        raise no_answer(path, error) from error


def no_answer(path: Path, error: Exception) -> LinkError:
    """Return what to say of an agent that is there and says nothing of use."""
    return LinkError(f"{path}: an agent is there and does not answer: {error} (journalctl -u edge-agent)")


def _lines(path: Path, *, patient: bool) -> Iterator[bytes]:
    end_s = time.monotonic() + _PATIENCE_S
    with _connected(path) as asking:
        text = b""
        while len(text) < _MOST_BYTES and (part := asking.recv(65536)):
            *lines, text = (text + part).split(b"\n")
            yield from lines
            asking.settimeout(None if patient and lines else max(0.001, end_s - time.monotonic()))
            patient = patient and not lines
    if text:
        yield text


def _connected(path: Path) -> socket.socket:
    """Connect to a socket whose name may be too long for the system (unix(7))."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        asking.settimeout(_PATIENCE_S)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            asking.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError:
        asking.close()
        raise
    return asking
