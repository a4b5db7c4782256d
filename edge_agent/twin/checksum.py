"""Checksums of serial devices: sums, exclusive or, and the CRCs as a table of their parameters.

Names and parameters of the CRCs follow the catalogue of parametrised CRC algorithms (reveng.sourceforge.io); the
tests hold each against the check value published there, its result for the bytes "123456789".
"""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from edge_agent.model.framing import Checksum, ChecksumName


class Crc(NamedTuple):
    """The parameters of a cyclic redundancy check. `reflected` ones take each byte lowest bit first."""

    bits: int
    polynomial: int
    start: int
    reflected: bool
    flipped: int
    """Combined with the result by exclusive or."""


CRCS: Final[Mapping[str, Crc]] = {
    "crc8": Crc(8, 0x07, 0x00, reflected=False, flipped=0x00),
    "crc8-maxim": Crc(8, 0x31, 0x00, reflected=True, flipped=0x00),
    "crc16-modbus": Crc(16, 0x8005, 0xFFFF, reflected=True, flipped=0x0000),
    "crc16-arc": Crc(16, 0x8005, 0x0000, reflected=True, flipped=0x0000),
    "crc16-ccitt-false": Crc(16, 0x1021, 0xFFFF, reflected=False, flipped=0x0000),
    "crc16-xmodem": Crc(16, 0x1021, 0x0000, reflected=False, flipped=0x0000),
    "crc16-kermit": Crc(16, 0x1021, 0x0000, reflected=True, flipped=0x0000),
    "crc16-x25": Crc(16, 0x1021, 0xFFFF, reflected=True, flipped=0xFFFF),
}


def xor(data: bytes) -> int:
    """Return the exclusive or of all bytes."""
    return functools.reduce(operator.xor, data, 0)


_SUMS: Mapping[str, Callable[[bytes], int]] = {
    "sum8": lambda data: sum(data) & 0xFF,
    "sum8-inverted": lambda data: ~sum(data) & 0xFF,
    "sum8-negated": lambda data: -sum(data) & 0xFF,
    "sum16": lambda data: sum(data) & 0xFFFF,
    "xor": xor,
}


def width(kind: ChecksumName) -> int:
    """Return how many bytes a checksum has."""
    return CRCS[kind].bits // 8 if kind in CRCS else 2 if kind == "sum16" else 1


def checksum(kind: ChecksumName, data: bytes) -> int:
    """Return the checksum of the bytes."""
    return _crc(CRCS[kind], data) if kind in CRCS else _SUMS[kind](data)


def holds(rule: Checksum, frame: bytes) -> bool:
    """Whether a frame's checksum is the one that its bytes ask for; a frame too short to have one has none."""
    first, last = (_index(each, frame) for each in rule.over)
    begin, size = _index(rule.at, frame), width(rule.kind) * (2 if rule.form == "hex" else 1)
    if not 0 <= first <= last < len(frame) or not 0 <= begin <= len(frame) - size:
        return False
    found, wanted = frame[begin : begin + size], checksum(rule.kind, frame[first : last + 1])
    if rule.form == "hex":
        return found.upper() == b"%0*X" % (size, wanted)
    return found == wanted.to_bytes(size, "big" if rule.order == "high_first" else "little")


def _index(position: int, frame: bytes) -> int:
    return position if position >= 0 else len(frame) + position


def _crc(crc: Crc, data: bytes) -> int:
    table, value = _table(crc), crc.start
    if crc.reflected:
        for byte in data:
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    else:
        shift, mask = crc.bits - 8, (1 << crc.bits) - 1
        for byte in data:
            value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value ^ crc.flipped


@functools.cache
def _table(crc: Crc) -> tuple[int, ...]:
    """Return what each value of the byte that leaves does to the rest."""
    return tuple(_remainder(crc, byte) for byte in range(256))


def _remainder(crc: Crc, byte: int) -> int:
    if crc.reflected:
        mirrored = int(f"{crc.polynomial:0{crc.bits}b}"[::-1], 2)
        for _ in range(8):
            byte = byte >> 1 ^ (mirrored if byte & 1 else 0)
        return byte
    top, mask = 1 << crc.bits - 1, (1 << crc.bits) - 1
    value = byte << crc.bits - 8
    for _ in range(8):
        value = (value << 1 ^ (crc.polynomial if value & top else 0)) & mask
    return value
