"""Serial ports of the plant: pseudo-terminals that can be pulled out and put in again, under a name that stays."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from pathlib import Path

_CHUNK = 4096


class Port:
    """One adapter. `path` is what to open as a serial port, while it is plugged in.

    With `link` that is a symbolic link, as under /dev/serial/by-id: it stays when the terminal behind it is another.
    """

    def __init__(self, link: Path | None = None) -> None:
        self.path = "" if link is None else str(link)
        self._link = link
        self._ours: int | None = None
        self._theirs: int | None = None
        self._hear: Callable[[bytes], None] | None = None

    def plug(self) -> None:
        """Open the terminal. Their side stays open here too, or ours would fail whenever nobody listens."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        name = os.ttyname(self._theirs)
        if self._link is None:
            self.path = name
        else:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(name)
        self._listen()

    def unplug(self) -> None:
        """Be gone, as an adapter that was pulled out; may be called when it is."""
        if self._ours is not None and self._hear is not None:
            asyncio.get_running_loop().remove_reader(self._ours)
        for side in (self._ours, self._theirs):
            if side is not None:
                os.close(side)
        self._ours = self._theirs = None
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    @property
    def is_plugged(self) -> bool:
        """Whether it is there."""
        return self._ours is not None

    def on_bytes(self, hear: Callable[[bytes], None]) -> None:
        """Call `hear` with what somebody writes to the port."""
        self._hear = hear
        self._listen()

    def write(self, raw: bytes) -> None:
        """Put bytes on the line as they are. What nobody reads is lost, but for some KiB that the terminal keeps."""
        if self._ours is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ours, raw)

    def _listen(self) -> None:
        if self._ours is not None and self._hear is not None:
            asyncio.get_running_loop().add_reader(self._ours, self._read)

    def _read(self) -> None:
        assert self._ours is not None
        assert self._hear is not None
        with contextlib.suppress(OSError):
            self._hear(os.read(self._ours, _CHUNK))


def joined(one: Port, other: Port) -> None:
    """Carry what is written to either port to the other, as a cable does."""
    one.on_bytes(other.write)
    other.on_bytes(one.write)
