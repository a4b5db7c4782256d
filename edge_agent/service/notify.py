"""What a service manager wants to hear: ready, still turning, reloading, stopping (systemd's sd_notify datagrams).

It is told of finished turns and not by a timer, so that an agent whose loop, disk or statistics hang is started
again. Where nobody asked to be told, nothing is sent.
"""

import contextlib
import os
import socket

READY, STOPPING = "READY=1", "STOPPING=1"
RELOADING = "RELOADING=1\nMONOTONIC_USEC={}"
"""What is being taken up began then; READY says that it is done. systemd from 253 on wants to know when."""
TURNED = "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"
"""Alive; and one that is not ready yet, because its log is full and upstream must take some first, is not given up."""


class ServiceManager:
    """The one who started this process, if it named a socket. `address` is its path, or begins with @ (abstract)."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)  # a manager that does not listen must not stop the plant's loop

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()

    def tell(self, state: str) -> None:
        """Send one state. A manager that is gone or busy is not waited for: the next turn tells it again."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(state.encode(), self._address)
