"""A device that talks on a serial port: one checksummed line a value, on one side of a pseudo-terminal.

    #id,line-sensor,1.4.0*XX
    flow,90.031*XX
    inlet_temp,62.84*XX

`XX` is the exclusive or of all bytes before the `*`, two hex digits. What nobody reads is lost, as on a real line,
but for some KiB that the terminal itself keeps.
"""

import contextlib
import functools
import operator
import os
import tty
from collections.abc import Mapping

_IDENTITY = "#id,line-sensor,1.4.0"


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
        """Write who it is, and one line for each value."""
        lines = [_IDENTITY, *(f"{name},{value:.3f}" for name, value in values.items())]
        self.write(b"".join(map(checksummed, lines)))

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
