"""The framer for frames of bytes: of a fixed length, of a length that they say, or up to an end.

A start may stand in the payload of a frame too. So when what a start promised does not come true, the search goes on
at the byte after it, in the bytes that are there already: a false start never takes a true frame with it. Without
anything that tells a true frame from a false one (no start, or no checksum) a frame begins after a silence only.
"""

from edge_agent.model.framing import DelimiterFraming, FixedFraming, LengthFraming
from edge_agent.twin.checksum import holds
from edge_agent.twin.frames import Fault, Found, Frame, Skipped, fault

_NOT_YET = -1
_NEVER = 0


class BinaryFramer:
    """Finds frames by their start; or, when `needs_silence`, after each gap."""

    def __init__(self, framing: DelimiterFraming | FixedFraming | LengthFraming) -> None:
        self._framing = framing
        self._most = framing.length if isinstance(framing, FixedFraming) else framing.max_length
        self._by_silence = needs_silence(framing)
        self._lost = self._by_silence
        """Whether nothing is believed until the next silence."""
        self._first = True
        self._buffer = bytearray()
        self._skipped = Skipped(max(self._most, 64))
        self._taken = 0

    def feed(self, received: bytes) -> Found:
        """Return what became whole."""
        found: Found = []
        self._buffer += received
        self._scan(found)
        return found

    def quiet(self) -> Found:
        """Give up the frame that was awaited, and find those that may lie in its bytes."""
        found: Found = []
        if self._by_silence:
            if self._buffer:
                found.append(fault("gap", self._take(len(self._buffer))))
            self._lost = self._first = False
        elif self._buffer:
            found.append(fault("gap", self._buffer))
            while self._buffer:
                self._skipped.known = len(self._buffer)
                self._skipped.add(self._take(1), found)
                self._scan(found)
            self._skipped.known = 0
        self._skipped.end(found)
        return found

    def _scan(self, found: Found) -> None:
        while self._begun(found):
            size = self._measured()
            if size == _NOT_YET or size > len(self._buffer):
                return
            wrong = "length" if size == _NEVER else self._wrong(bytes(self._buffer[:size]))
            self._skipped.end(found)
            if not wrong:
                self._skipped.known = 0
                found.append(Frame(bytes(self._take(size)), self._taken))
                continue
            found.append(fault(wrong, self._buffer[: size or len(self._framing.start) or 1]))
            self._skipped.known = max(self._skipped.known, size, 1)
            self._skipped.add(self._take(1), found)
            self._lost = self._by_silence

    def _begun(self, found: Found) -> bool:
        """Drop what comes before a start; whether the buffer now begins with one."""
        if self._lost:
            if self._buffer and self._first:
                found.append(Fault("partial", ""))
                self._first = False
            self._take(len(self._buffer))
            return False
        start = self._framing.start
        at = self._buffer.find(start)
        if at < 0:
            # The bytes at the end may be the beginning of a start.
            at = len(self._buffer) - next(n for n in range(len(start), -1, -1) if self._buffer.endswith(start[:n]))
        self._skipped.add(self._take(at), found)
        return bool(self._buffer) and self._buffer.startswith(start)

    def _measured(self) -> int:
        """Return how long the frame is that the buffer begins with; `_NOT_YET` known, or `_NEVER` one."""
        framing = self._framing
        if isinstance(framing, FixedFraming):
            return framing.length
        if isinstance(framing, DelimiterFraming):
            at = self._buffer.find(framing.end, len(framing.start))
            if at < 0:
                return _NOT_YET if len(self._buffer) <= self._most else _NEVER
            size = at + len(framing.end)
            return size if size <= self._most else _NEVER
        return self._told(framing)

    def _told(self, framing: LengthFraming) -> int:
        """Return the length that the frame says it has."""
        head = framing.length_at + (2 if framing.length_type == "uint16" else 1)
        if len(self._buffer) < head:
            return _NOT_YET
        order = "big" if framing.length_order == "high_first" else "little"
        said = int.from_bytes(self._buffer[framing.length_at : head], order)  # type: ignore[arg-type]
        size = said + framing.length_adds
        known = not framing.lengths or said in framing.lengths
        return size if known and head <= size <= self._most else _NEVER

    def _wrong(self, frame: bytes) -> str:
        """Say why a frame is none, or return an empty string."""
        if not frame.endswith(self._framing.end):
            return "end"
        rule = self._framing.checksum
        return "" if rule is None or holds(rule, frame) else "checksum"

    def _take(self, count: int) -> bytearray:
        taken = self._buffer[:count]
        self._taken += count
        del self._buffer[:count]
        return taken


def needs_silence(framing: DelimiterFraming | FixedFraming | LengthFraming) -> bool:
    """Whether only a silence tells where a frame begins."""
    ended = isinstance(framing, DelimiterFraming)
    return not ended and (not framing.start or framing.checksum is None)
