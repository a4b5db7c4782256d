"""Framers for frames that end with certain bytes: lines, NMEA sentences, DSMR telegrams."""

import re

from edge_agent.model.framing import ChecksumName, DelimiterFraming, DsmrFraming, LineFraming
from edge_agent.twin.checksum import checksum, holds, width
from edge_agent.twin.frames import Fault, Found, Frame, Skipped, fault

NMEA_LENGTH = 82
"""Characters of the longest sentence, with `$` and line end (NMEA 0183)."""
_DSMR_END = re.compile(rb"!([0-9A-Fa-f]{4})?\r?\n")


class EndedFramer:
    """Finds what lies between two ends: lines, and delimited frames without a start.

    Nothing marks where a frame begins, so that what is wrong is dropped up to the next end.
    """

    def __init__(self, framing: LineFraming | DelimiterFraming) -> None:
        self._framing = framing
        self._end = b"\n" if isinstance(framing, LineFraming) else bytes(framing.end)
        self._vouched = framing.checksum not in (None, "none")
        self._buffer = bytearray()
        self._skipping = self._first = not self._vouched
        """Whether the bytes up to the next end are dropped; whether they are those under way at opening."""
        self._taken = 0

    def feed(self, received: bytes) -> Found:
        """Return what became whole."""
        found: Found = []
        self._buffer += received
        while (at := self._buffer.find(self._end)) >= 0:
            size = at + len(self._end)
            self._taken += size
            self._ended(bytes(self._buffer[:at]), found)
            del self._buffer[:size]
        self._bound(found)
        return found

    def quiet(self) -> Found:
        """Forget a frame that stopped in the middle. When nothing was under way, the next byte begins one."""
        found: Found = []
        if self._framing.gap is None:
            return found
        if self._buffer and not self._skipping:
            found.append(fault("gap", self._buffer))
        self._taken += len(self._buffer)
        self._buffer.clear()
        self._skipping = self._first = False
        return found

    def _ended(self, body: bytes, found: Found) -> None:
        if self._first:
            found.append(Fault("partial", ""))
        elif not self._skipping:
            if len(self._stripped(body)) > self._framing.max_length:
                found.append(self._overlong(body))
            elif self._stripped(body):
                found.append(self._judged(body))
        self._first = self._skipping = False

    def _bound(self, found: Found) -> None:
        """Keep no more than the longest frame: what is longer will be dropped, whenever its end comes."""
        if self._skipping or len(self._stripped(bytes(self._buffer))) > self._framing.max_length + len(self._end) - 1:
            if not self._skipping:
                found.append(self._overlong(self._buffer))
            self._skipping = True
            # What might be the beginning of the end is kept.
            drop = max(0, len(self._buffer) - len(self._end) + 1)
            self._taken += drop
            del self._buffer[:drop]

    def _overlong(self, body: bytes | bytearray) -> Fault:
        # Cut at the longest frame, so that a fault reads the same however its bytes were cut up.
        return fault("length", body[: self._framing.max_length])

    def _stripped(self, body: bytes) -> bytes:
        return body.removesuffix(b"\r") if isinstance(self._framing, LineFraming) else body

    def _judged(self, body: bytes) -> Frame | Fault:
        framing = self._framing
        if isinstance(framing, LineFraming):
            body = body.removesuffix(b"\r")
            said = body
            if framing.checksum != "none":
                said, proven = unsealed(body, framing.checksum, framing.mark.encode())
                if not proven:
                    return fault("checksum", body)
            return Frame(said, self._taken) if is_text(said) else fault("garbage", body)
        whole = body + self._end
        if framing.checksum is not None and not holds(framing.checksum, whole):
            return fault("checksum", whole)
        return Frame(whole, self._taken)


class MarkedFramer:
    """Finds sentences and telegrams: text with a start that stands nowhere else, so that one always begins anew."""

    def __init__(self, framing: DsmrFraming | None) -> None:
        """Without a framing, of NMEA."""
        self._dsmr = framing
        self._start = b"$" if framing is None else b"/"
        self._stop = re.compile(rb"\$|\n" if framing is None else rb"/|![^\n/]{0,6}\n")
        self._most = NMEA_LENGTH if framing is None else framing.max_length
        self._buffer = bytearray()
        self._skipped = Skipped(self._most)
        self._taken = 0

    def feed(self, received: bytes) -> Found:
        """Return what became whole."""
        found: Found = []
        self._buffer += received
        while self._begun(found) and self._step(found):
            pass
        return found

    def quiet(self) -> Found:
        """Forget a frame that stopped in the middle."""
        found: Found = []
        if self._buffer:
            found.append(fault("gap", self._buffer))
            self._take(len(self._buffer))
        self._skipped.end(found)
        return found

    def _begun(self, found: Found) -> bool:
        """Drop what comes before the start of a frame; whether there is one."""
        at = self._buffer.find(self._start)
        self._skipped.add(self._take(len(self._buffer) if at < 0 else at), found)
        return at >= 0

    def _step(self, found: Found) -> bool:
        """Look at the frame that the buffer begins with; whether anything became of it."""
        stop = self._stop.search(self._buffer, 1)
        if (stop is None or stop.end() > self._most) and len(self._buffer) > self._most:
            self._skipped.end(found)
            found.append(fault("length", self._take(self._most)))
            return True
        if stop is None:
            return False
        self._skipped.end(found)
        if stop.group() == self._start:
            found.append(fault("cut", self._take(stop.start())))
        else:
            found.append(self._judged(bytes(self._take(stop.end()))))
        return True

    def _take(self, count: int) -> bytearray:
        taken = self._buffer[:count]
        self._taken += count
        del self._buffer[:count]
        return taken

    def _judged(self, whole: bytes) -> Frame | Fault:
        body, proven = self._sentence(whole) if self._dsmr is None else self._telegram(whole, self._dsmr)
        if not proven:
            return fault("checksum", whole)
        return Frame(body, self._taken) if is_text(body.translate(None, b"\r\n")) else fault("garbage", whole)

    def _sentence(self, whole: bytes) -> tuple[bytes, bool]:
        return unsealed(whole[1:].rstrip(b"\r\n"), "xor", b"*")

    def _telegram(self, whole: bytes, framing: DsmrFraming) -> tuple[bytes, bool]:
        end = _DSMR_END.search(whole)
        if end is None:
            return b"", False
        body = whole[: end.start()]
        if framing.checksum == "none":
            return body, True
        return body, end[1] is not None and int(end[1], 16) == checksum("crc16-arc", body + b"!")


def unsealed(body: bytes, kind: ChecksumName, mark: bytes) -> tuple[bytes, bool]:
    """Return the bytes before the last `mark`, and whether the hex digits behind it are their checksum."""
    said, found, digits = body.rpartition(mark)
    return said, bool(found) and digits.upper() == b"%0*X" % (2 * width(kind), checksum(kind, said))


def is_text(data: bytes) -> bool:
    """Whether bytes are printable ASCII."""
    text = data.decode("ascii", "replace")
    return text.isascii() and text.isprintable()
