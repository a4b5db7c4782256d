"""The nouns of framing: a `Frame`, a `Fault`, and what every framer does.

A stream may begin anywhere and break anywhere: the same bytes give the same frames however they are cut up, and half
a frame is never one. What is not a frame is a `Fault` with its reason, for the counters:

    partial    the frame under way when the port was opened, without anything that would vouch for it
    gap        a frame that stopped in the middle: its rest did not come for too long
    cut        a frame in which another one began
    length     longer than the longest frame, or of a length that no frame has
    garbage    bytes that belong to no frame
    end        a frame that does not end as it must
    checksum   missing or wrong
"""

from typing import Final, NamedTuple, Protocol

EXCERPT: Final = 80
"""Characters of a frame that are shown to a person."""


class Frame(NamedTuple):
    """One whole frame. Of lines and sentences without their line end, marks and checksum."""

    data: bytes
    ends: int
    """Bytes of the stream up to its last one: with the time at which each byte came, this dates it."""


class Fault(NamedTuple):
    """Bytes that were dropped: why, and how they began, escaped, for a person."""

    reason: str
    excerpt: str


Found = list[Frame | Fault]


class Framer(Protocol):
    """Finds the frames in what a port says, from the moment it was opened: one framer for each time it is."""

    def feed(self, received: bytes) -> Found:
        """Return what became whole, in order. Keeps no more than one unfinished frame of the greatest length."""

    def quiet(self) -> Found:
        """Return what is known by now, the line having been silent for the framing's gap."""


def fault(reason: str, data: bytes | bytearray) -> Fault:
    """Return a fault about bytes."""
    begin = data[:EXCERPT].decode("latin-1")
    return Fault(reason, begin.encode("unicode_escape").decode()[:EXCERPT])


class Skipped:
    """Bytes between frames, told of as one fault for each run of them, or for each `most` of a long run."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin = bytearray()
        self._count = 0
        self.known = 0
        """How many of the next bytes a fault has told of already."""

    def add(self, data: bytes | bytearray, found: Found) -> None:
        """Take bytes that belong to no frame."""
        told = min(self.known, len(data))
        self.known -= told
        data = data[told:]
        while data:
            part = data[: self._most - self._count]
            self._begin += part[: EXCERPT - len(self._begin)]
            self._count += len(part)
            data = data[len(part) :]
            if self._count == self._most:
                self.end(found)

    def end(self, found: Found) -> None:
        """Tell of the run, a frame or silence having followed. Line ends alone are nothing to tell of."""
        if self._begin.strip(b"\r\n\0"):
            found.append(fault("garbage", self._begin))
        self._begin.clear()
        self._count = 0
