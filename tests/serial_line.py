"""An RS-485 line for tests: a pty whose other end speaks Modbus RTU as slowly, and as badly, as a test says."""

import asyncio
import contextlib
import os
import pty
import struct
import tty

from pymodbus.framer import FramerAscii, FramerRTU

CRC = FramerRTU.compute_CRC


def rtu(unit, pdu):
    frame = bytes((unit,)) + pdu
    return frame + CRC(frame).to_bytes(2, "big")


def ascii_(unit, pdu):
    frame = bytes((unit,)) + pdu
    return b":" + (frame + bytes((FramerAscii.compute_LRC(frame),))).hex().upper().encode() + b"\r\n"


def registers_pdu(*values, function=4):
    return bytes((function, 2 * len(values))) + struct.pack(f">{len(values)}H", *values)


def request_size(frame):
    """Return how long an RTU request is, or None while that cannot be known."""
    if len(frame) < 2:
        return None
    if frame[1] in (15, 16):
        return None if len(frame) < 7 else 9 + frame[6]
    return 7 if frame[1] == 43 else 8


class SerialLine:
    """`answer(unit, pdu)` returns a PDU, raw bytes as a bytearray, None, or a list of (delay in seconds, either).

    With `baud` every byte takes the time it would take, ten bits each; requests are simulated too.
    """

    def __init__(self, answer, baud=None, encode=rtu):
        self.answer = answer
        self.requests = []
        self._baud, self._encode = baud, encode
        self._buffer = b""
        self._free_at = 0.0
        self._handles = set()
        self._ours = None
        self.path = ""

    def __enter__(self):
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._heard)
        return self

    def __exit__(self, *_):
        self.unplug()

    def unplug(self):
        """Be gone, as an adapter that was pulled out."""
        for handle in self._handles:
            handle.cancel()
        if self._ours is not None:
            asyncio.get_running_loop().remove_reader(self._ours)
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = None

    def say(self, raw, after_s=0.0):
        """Put bytes on the line after a while, at its speed."""
        loop = asyncio.get_running_loop()
        start = max(loop.time() + after_s, self._free_at)
        self._free_at = start + self._takes_s(len(raw))
        self._handles.add(loop.call_at(self._free_at, self._write, bytes(raw)))

    def _write(self, raw):
        if self._ours is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ours, raw)

    def _takes_s(self, count):
        return 10 * count / self._baud if self._baud else 0.0

    def _heard(self):
        try:
            self._buffer += os.read(self._ours, 4096)
        except OSError:
            return
        while (end := self._end_of_request()) is not None:
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            self._take(frame)

    def _end_of_request(self):
        if self._encode is ascii_:
            end = self._buffer.find(b"\r\n")
            return None if end < 0 else end + 2
        size = request_size(self._buffer)
        return size if size is not None and len(self._buffer) >= size else None

    def _take(self, frame):
        raw = bytes.fromhex(frame[1:-2].decode()) if self._encode is ascii_ else frame
        unit, pdu = raw[0], raw[1 : -1 if self._encode is ascii_ else -2]
        self.requests.append((unit, pdu))
        answers = self.answer(unit, pdu)
        if not isinstance(answers, list):
            answers = [(0.0, answers)]
        for delay_s, answer in answers:
            if answer is not None:
                raw = answer if isinstance(answer, bytearray) else self._encode(unit, answer)
                self.say(raw, self._takes_s(len(frame)) + delay_s)


@contextlib.asynccontextmanager
async def cable():
    """Yield the paths of two serial ports that are joined."""
    ends = [pty.openpty() for _ in range(2)]
    loop = asyncio.get_running_loop()
    for ours, theirs in ends:
        tty.setraw(theirs)
        os.set_blocking(ours, False)

    def carry(source, sink):
        with contextlib.suppress(OSError):
            os.write(sink, os.read(source, 4096))

    loop.add_reader(ends[0][0], carry, ends[0][0], ends[1][0])
    loop.add_reader(ends[1][0], carry, ends[1][0], ends[0][0])
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for ours, theirs in ends:
            loop.remove_reader(ours)
            os.close(ours)
            os.close(theirs)
