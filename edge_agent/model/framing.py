"""How frames are found in the bytes of a serial port, as a profile or agent.toml writes it.

Bytes are counted from 0 at the start of a frame; where it is said, negative numbers count from its end, -1 being the
last byte. A frame is everything from its first start byte to its last byte: start, end and checksum are part of it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.model.checked import Hex, Seconds

ChecksumName = Literal[
    "sum8", "sum8-inverted", "sum8-negated", "sum16", "xor",
    "crc8", "crc8-maxim",
    "crc16-modbus", "crc16-arc", "crc16-ccitt-false", "crc16-xmodem", "crc16-kermit", "crc16-x25",
]  # fmt: skip
"""sum8: the low byte of the sum; inverted: 255 less it; negated: what makes the sum of all 0 (Modbus ASCII, Intel
hex). sum16: the low two bytes. The CRCs are those of the catalogue of parametrised CRC algorithms: crc8 is
CRC-8/SMBUS, crc16-arc is what DSMR meters use, crc16-ccitt-false is CRC-16/IBM-3740."""

MaxLength = Annotated[int, Meta(ge=8, le=8192)]
Position = Annotated[int, Meta(ge=-8192, le=8191)]


class Checksum(msgspec.Struct, frozen=True):
    """Where in a frame its checksum stands and what it covers."""

    kind: ChecksumName
    over: tuple[Position, Position]
    """First and last byte that it covers, both included; negative from the end of the frame."""
    at: Position
    """Its first byte; negative from the end of the frame."""
    order: Literal["high_first", "low_first"] = "high_first"
    """Of two bytes."""
    form: Literal["binary", "hex"] = "binary"
    """"hex": written as two or four hex digits, high first."""


class NoValue(msgspec.Struct, frozen=True):
    """Bytes by which a device says that it has nothing to say, such as zeros in all that it measures."""

    at: Annotated[int, Meta(ge=0, le=8191)]
    bytes: Hex


class FramingBase(msgspec.Struct, frozen=True, kw_only=True):
    """What every framing says."""

    settle: Seconds = Seconds(0)
    """What comes so soon after the port was opened is dropped: for a device that starts anew when it is (DTR), or
    whose sensor must warm up."""


class LineFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="line"):
    """Printable ASCII up to a line feed; a carriage return before it is dropped. Points are `field`s."""

    checksum: ChecksumName | Literal["none"] = "none"
    """Two or four hex digits behind `mark`, over all bytes before it."""
    mark: Annotated[str, Meta(min_length=1, max_length=1)] = "*"
    max_length: MaxLength = 256
    """Bytes of the longest line; what is longer is dropped whole."""
    gap: Seconds | None = None
    """Silence within a line that shows that its rest will never come."""


class DelimiterFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="delimiter"):
    """A frame ends with certain bytes, and may begin with certain ones. Points stand `at` bytes."""

    end: Hex
    start: Hex = Hex()
    checksum: Checksum | None = None
    """Without it, and without `start`, what was under way when the port was opened is dropped."""
    max_length: MaxLength = 256
    gap: Seconds | None = Seconds(0.5)
    """Silence within a frame that shows that its rest will never come."""
    no_value: NoValue | None = None


class FixedFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="fixed"):
    """Every frame has the same length. Points stand `at` bytes.

    Without `start` a frame begins after a silence of `gap`.
    """

    length: Annotated[int, Meta(ge=1, le=8192)]
    start: Hex = Hex()
    end: Hex = Hex()
    checksum: Checksum | None = None
    gap: Seconds | None = Seconds(0.5)
    no_value: NoValue | None = None


class LengthFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="length"):
    """A frame says itself how long it is. Points stand `at` bytes.

    Without `start` a frame begins after a silence of `gap`.
    """

    length_at: Annotated[int, Meta(ge=0, le=63)]
    """Where the length stands."""
    length_type: Literal["uint8", "uint16"] = "uint8"
    length_order: Literal["high_first", "low_first"] = "high_first"
    length_adds: Annotated[int, Meta(ge=-64, le=64)] = 0
    """Bytes of the frame that the length does not count, such as those before it."""
    lengths: tuple[Annotated[int, Meta(ge=0, le=8192)], ...] = ()
    """What the length may be, when only some are known to occur: the fewer, the sooner garbage is known for what it
    is. Any when not given."""
    start: Hex = Hex()
    end: Hex = Hex()
    checksum: Checksum | None = None
    max_length: MaxLength = 256
    gap: Seconds | None = Seconds(0.5)
    no_value: NoValue | None = None


class NmeaFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="nmea"):
    """NMEA 0183: `$`, talker and sentence, fields, `*` and a checksum. Points are `sentence`s."""

    gap: Seconds | None = Seconds(0.5)


class DsmrFraming(FramingBase, frozen=True, kw_only=True, tag_field="kind", tag="dsmr"):
    """A DSMR P1 telegram: `/` to `!` and its CRC. Points are `obis` codes."""

    checksum: Literal["crc16-arc", "none"] = "crc16-arc"
    """"none": meters before DSMR 4 send none."""
    max_length: MaxLength = 4096
    gap: Seconds | None = Seconds(1)


Framing = LineFraming | DelimiterFraming | FixedFraming | LengthFraming | NmeaFraming | DsmrFraming
