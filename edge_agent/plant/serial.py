"""A device that talks on a serial port by itself, built from its profile, on a pseudo-terminal.

    #id,line-sensor,1.4.0*XX
    flow,90.031*XX
    inlet_temp,62.84*XX

What nobody reads is lost, as on a real line, but for some KiB that the terminal itself keeps.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from edge_agent.model.profile import SerialProfile
from edge_agent.model.reading import Value
from edge_agent.plant.faults import Trouble
from edge_agent.plant.port import Port
from edge_agent.plant.spoken import at_first, frames

_ERROR = b"ERROR 17\r\n"


class SerialPlant:
    """One device. `path` is the port to open, while it is plugged in; `link` a name for it that stays."""

    def __init__(self, profile: SerialProfile, link: Path | None = None) -> None:
        self.port = Port(link)
        self.trouble = Trouble(profile.points)
        self._profile = profile
        self._values: dict[str, Value] = at_first(profile)

    @property
    def path(self) -> str:
        """The side to open as a serial port."""
        return self.port.path

    def start(self) -> None:
        """Plug it in."""
        self.port.plug()

    def say(self, values: Mapping[str, Value]) -> None:
        """Write who it is, and what it measures; of what is not in `values` the last counts."""
        self._values |= values
        for frame in frames(self._profile, self._values):
            self._write(frame)

    def stop(self) -> None:
        """Unplug it; may be called when it is not plugged in."""
        self.port.unplug()

    def _write(self, frame: bytes) -> None:
        if self.trouble.has("busy"):
            return
        if self.trouble.has("exception"):
            frame = _ERROR
        if self.trouble.has("wrong-length"):
            frame = frame[: len(frame) // 2] + frame[len(frame) // 2 + 1 :]
        for delay_s, piece in self.trouble.pieces(frame):
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, self.port.write, piece)
            else:
                self.port.write(piece)
