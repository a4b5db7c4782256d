"""A device that talks on a serial port: one checksummed line a value, on one side of a pseudo-terminal.

    #id,boiler-line,1.2*XX
    flow,12.031*XX
    inlet_temp,62.84*XX

The first line is written once, at the start and again after each silence. `XX` is the exclusive or of all bytes
before the `*`, two hex digits. What nobody reads is lost, as on a real line; the terminal itself keeps up to 4 KiB.
"""

import contextlib
import functools
import operator
import os
import tty
from collections.abc import Mapping


class SerialPlant:
    """One device on a pseudo-terminal. `path` is the side to open as a serial port, while it is started."""

    def __init__(self) -> None:
        self.path = ""
        self._ours: int | None = None
        self._theirs: int | None = None

    def start(self) -> None:
        """Open the pseudo-terminal. Their side stays open here too, or ours would fail whenever nobody listens."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)

    def say(self, values: Mapping[str, float]) -> None:
        """Write one line for each value."""
        self.write(b"".join(checksummed(f"{name},{value:.3f}") for name, value in values.items()))

    def write(self, line: bytes) -> None:
        """Put bytes on the line as they are; for a device that talks nonsense, too."""
        assert self._ours is not None
        with contextlib.suppress(BlockingIOError):  # full: nobody reads
            os.write(self._ours, line)

    def stop(self) -> None:
        """Close both sides; may be called when they are not open."""
        for side in (self._ours, self._theirs):
            if side is not None:
                os.close(side)
        self._ours = self._theirs = None


def checksummed(text: str) -> bytes:
    """Return a line as the device writes it: `text`, `*`, the exclusive or of its bytes in hex, newline."""
    body = text.encode("ascii")
    return body + b"*%02X\n" % functools.reduce(operator.xor, body, 0)
