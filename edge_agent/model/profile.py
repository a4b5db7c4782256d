"""A firmware profile: a page about one device model, written as TOML in firmware_profiles/.

The three protocols differ in how a point is addressed and what an example looks like; all else is shared.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.model.checked import Name, Seconds

Register = Annotated[int, Meta(ge=0, le=0xFFFF)]
RegisterType = Literal["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"]
WordOrder = Literal["ABCD", "BADC", "CDAB", "DCBA"]


class Provenance(msgspec.Struct, frozen=True):
    """Where the facts of a profile come from."""

    source: str
    date: str
    """ISO date on which the source was read."""
    verified: bool
    """False when a fact was seen only in an excerpt; such a profile never makes a point writable."""


class BusLimits(msgspec.Struct, frozen=True):
    """What a device on a Modbus bus can bear."""

    max_registers: Annotated[int, Meta(ge=1, le=125)] = 125
    """Registers in one read. 125 is the protocol's own limit (Modbus Application Protocol 1.1b3, 6.3)."""
    max_gap: Annotated[int, Meta(ge=0, le=124)] = 0
    """Registers nobody asked for that a read may cross to join two points."""
    forbidden: tuple[tuple[Register, Register], ...] = ()
    """First and last address of ranges that no read may touch."""
    pause: Seconds = Seconds(0)
    """Silence between two requests to the device."""
    timeout: Seconds = Seconds(1)


class WriteRule(msgspec.Struct, frozen=True):
    """How a point may be written at all. Policy narrows it further; without policy nothing is written."""

    range: tuple[float, float]
    settle: Seconds = Seconds(1)
    """How long after a write the device needs before it is read back."""


class PointBase(msgspec.Struct, frozen=True, kw_only=True):
    """What every point says of itself, however it is read."""

    name: Name
    unit: str | None = None
    kind: Literal["gauge", "counter", "state"] = "gauge"
    range: tuple[float, float] | None = None
    """Outside it a value is bad: lowest and highest that the device can truly report."""
    deadband: Annotated[float, Meta(ge=0)] = 0.0
    """A change smaller than this leaves the twin as it is; the statistics see it."""
    alarm_above: float | None = None
    alarm_below: float | None = None
    """Where trouble begins: what a forecast of risk heads for."""
    drift: bool = True
    """Whether the statistics watch it. Never for text and identity."""
    identity: Literal["serial", "model", "firmware"] | None = None
    """Set on a point by which the device says who it is."""


class RegisterPoint(PointBase, frozen=True, kw_only=True):
    """A point in Modbus registers or coils. Addresses are those on the wire, from 0."""

    function: Literal[1, 2, 3, 4]
    address: Register
    type: RegisterType
    order: WordOrder = "ABCD"
    """Order of the bytes of a value over its registers; ABCD is big-endian throughout."""
    length: Annotated[int, Meta(ge=1, le=125)] = 1
    """Registers of a string; other types know their own."""
    scale: float = 1.0
    offset: float = 0.0
    """value = raw * scale + offset, both taken as the decimals they are written as."""
    sentinels: tuple[int, ...] = ()
    """Raw values, read as unsigned, by which the device says that it has no value."""
    every: Annotated[int, Meta(ge=1, le=100_000)] = 1
    """Read at each n-th poll: 1 for what moves, more for what does not."""
    write: WriteRule | None = None


class FieldPoint(PointBase, frozen=True, kw_only=True):
    """A point in a line `name,value[,value…]`: the name it stands behind, and which of its values."""

    field: str
    index: Annotated[int, Meta(ge=0, le=63)] = 0


class PathPoint(PointBase, frozen=True, kw_only=True):
    """A point in a JSON message, by path: `$.ENERGY.Power`, `$.list[0]`, `$` for the whole."""

    path: str


class RegisterExample(msgspec.Struct, frozen=True):
    """Registers as a device answered them, and what they mean."""

    function: Literal[1, 2, 3, 4]
    address: Register
    registers: tuple[Register, ...]
    values: dict[str, float | int | bool | str | None]


class TextExample(msgspec.Struct, frozen=True):
    """A line or message as a device sent it, and what it means."""

    text: str
    values: dict[str, float | int | bool | str | None]


class Framing(msgspec.Struct, frozen=True):
    """How frames are found in the bytes of a serial port."""

    kind: Literal["line"] = "line"
    checksum: Literal["none", "xor"] = "none"
    """"xor": two hex digits behind `*`, the exclusive or of all bytes before it."""
    max_length: Annotated[int, Meta(ge=8, le=4096)] = 256
    """Bytes of the longest frame; what is longer is dropped whole."""


class ProfileBase(msgspec.Struct, frozen=True, kw_only=True):
    """What every profile begins with."""

    name: Name
    title: str
    entity_type: Name
    provenance: Provenance


class ModbusProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="modbus"):
    """A device behind Modbus."""

    limits: BusLimits = BusLimits()
    points: tuple[RegisterPoint, ...]
    examples: tuple[RegisterExample, ...]


class SerialProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="serial"):
    """A device that talks on a serial port by itself."""

    framing: Framing = Framing()
    points: tuple[FieldPoint, ...]
    examples: tuple[TextExample, ...]


class MqttProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="mqtt"):
    """A device that publishes JSON."""

    points: tuple[PathPoint, ...]
    examples: tuple[TextExample, ...]


Point = RegisterPoint | FieldPoint | PathPoint
Profile = ModbusProfile | SerialProfile | MqttProfile
