"""What it costs to find and understand what devices say, beside the least a program could do with the same bytes.

    python tests/benchmarks/frames.py

Every figure is CPU time for one frame or message on this machine; the rival, in the same run, believes every byte:
no checksum, no bounds, no dates.
"""

import json
import time
from collections import Counter

from edge_agent.model.checked import Hex
from edge_agent.model.framing import Checksum, FixedFraming, LengthFraming, LineFraming
from edge_agent.model.profile import FieldPoint, FramePoint, PathPoint
from edge_agent.model.reading import Instant
from edge_agent.model.site import MqttSettings, Source
from edge_agent.twin.checksum import xor
from edge_agent.twin.framing import framer
from edge_agent.twin.published import device
from edge_agent.twin.spoken import hearer

COUNT = 20_000
T0_MS = 1_795_622_400_000


def main():
    """Print a line for each kind."""
    for name, ours, rival in (
        ("line with checksum, 1 value", lines, bare_lines),
        ("frame of 10 bytes with checksum, 2 values", frames, bare_frames),
        ("MQTT message with its own time, 2 values", messages, bare_messages),
    ):
        mine, theirs = cpu_us(ours), cpu_us(rival)
        print(f"{name}: {mine:.1f} us, bare {theirs:.1f} us, ratio {mine / theirs:.1f}")
    share = cpu_us(worst_garbage) * 115_200 / 10 / 1e4
    print(f"nothing but false starts, CRC over 254 bytes at each: {share:.0f} % of a core at 115200 baud")


def cpu_us(work):
    """Return the CPU time of one of the things that `work` does."""
    begin = time.process_time()
    done = work()
    return 1e6 * (time.process_time() - begin) / done


LINE = b"flow,12.5*%02X\r\n" % xor(b"flow,12.5")
DUST = b"\xaa\xc0\x01\x02\x03\x04\x05\x06\x15\xab"
MESSAGE = b'{"temperature": 21.5, "humidity": 40, "battery": 99, "linkquality": 120, "last_seen": %d}'


def lines():
    framing = LineFraming(checksum="xor")
    return understood(framing, (FieldPoint(name="flow", field="flow"),), LINE)


def frames():
    framing = FixedFraming(length=10, start=Hex(b"\xaa\xc0"), end=Hex(b"\xab"), checksum=Checksum("sum8", (2, 7), 8))
    points = [FramePoint(name=f"p{at}", at=at, type="uint16", order="DCBA", scale=0.1) for at in (2, 4)]
    return understood(framing, points, DUST)


def understood(framing, points, said):
    finder, hear = framer(framing), hearer(framing, points)
    for _ in range(COUNT):
        (frame,) = finder.feed(said)
        assert len(hear(frame.data)) == len(points)
    return COUNT


def messages():
    settings = MqttSettings(name="m", url="mqtt://h", topic="t", time="$.last_seen")
    points = (PathPoint(name="temperature", path="$.temperature"), PathPoint(name="humidity", path="$.humidity"))
    listening = device(Source(settings, "w:s:m", "s", points), settings, "", [])
    now, dropped = Instant(T0_MS + 1000 * COUNT, 10**15, synced=True), Counter()
    for i in range(COUNT):
        payload = MESSAGE % (T0_MS + 1000 * i)
        assert len(listening.take("t", payload, now, retained=False, dropped=dropped)) == 2
    return COUNT


def worst_garbage():
    checksum = Checksum("crc16-arc", (0, -3), -2)
    finder = framer(
        LengthFraming(start=Hex(b"BM"), length_at=2, length_type="uint16", length_adds=4, checksum=checksum)
    )
    for _ in range(COUNT // 64):
        finder.feed(b"BM\0\xfa" * 16)
    return COUNT // 64 * 64


def bare_lines():
    for _ in range(COUNT):
        name, value = LINE.split(b"*")[0].split(b",")
        assert name, float(value)
    return COUNT


def bare_frames():
    for _ in range(COUNT):
        assert (DUST[2] + 256 * DUST[3]) / 10 < (DUST[4] + 256 * DUST[5]) / 10
    return COUNT


def bare_messages():
    for i in range(COUNT):
        found = json.loads(MESSAGE % (T0_MS + 1000 * i))
        assert found["temperature"] < found["humidity"]
    return COUNT


if __name__ == "__main__":
    main()
