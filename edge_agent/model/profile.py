"""A firmware profile: a page about one device model, written as TOML in firmware_profiles/.

The protocols differ in how a point is addressed and what an example looks like; all else is shared. The points of a
serial device are told apart by the key that only one kind of them has: `field`, `at`, `sentence` or `obis`.
"""

from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.model.checked import Hex, Name, Seconds
from edge_agent.model.framing import Framing, LineFraming

Register = Annotated[int, Meta(ge=0, le=0xFFFF)]
RegisterType = Literal[
    "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
    "bcd16", "bcd32", "bcd64", "string",
]  # fmt: skip
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
    """The longest that its answer is waited for; experience shortens it."""
    latency: Seconds | None = None
    """What it usually takes to begin its answer, for the arithmetic of the bus; 40 ms on a serial line when not
    given, 5 ms over TCP."""


class Reverts(msgspec.Struct, frozen=True):
    """How a device takes a write back by itself, so that it ends up safe even when the agent does not.

    It is used when a write says how long it shall hold (`sources.Link.write`).
    """

    by: Literal["timer", "pulse", "message"]
    """"timer": `point` holds a time to live and is written first. "pulse": what is written to `address` is the time
    itself. "message": the time travels in the message that writes."""
    longest: Seconds
    """The longest time that may be asked for."""
    tick: Seconds = Seconds(1)
    """What one count of the time means to the device."""
    point: Name | None = None
    address: Register | None = None
    always: bool = False
    """Whether a write that does not say how long it shall hold is refused."""


class WriteRule(msgspec.Struct, frozen=True):
    """How a point may be written at all. Policy narrows it further; without policy nothing is written.

    Of an enumeration the rule speaks of the raw number.
    """

    range: tuple[float, float]
    step: Annotated[float, Meta(gt=0)] | None = None
    """Values are whole steps from the lower end of the range; any when not given."""
    min_interval: Seconds = Seconds(1)
    """Least time between two writes."""
    daily_budget: Annotated[int, Meta(ge=1, le=100_000)] = 24
    """Most writes in a day."""
    persistence: Literal["volatile", "eeprom", "unknown"] = "unknown"
    """Whether a write wears the device out; unknown is to be treated as eeprom."""
    verify: Name | None = None
    """The point that shows whether the write was done; itself when not given."""
    tolerance: Annotated[float, Meta(ge=0)] = 0.0
    """By how much what is read back may differ from what was written."""
    settle: Seconds = Seconds(1)
    """How long after a write the device needs before it is read back."""
    reverts: Reverts | None = None
    function: Literal[5, 6, 15, 16] | None = None
    """For Modbus devices that take only this one; else 5 for a coil, 6 for one register and 16 for several."""

    def refusal(self, value: float) -> str:
        """Say why a number may not be written, or return an empty string."""
        low, high = self.range
        if not low <= value <= high:
            return f"got {value:g}, wanted {low:g} to {high:g}"
        # In decimals as written: 0.3 is three steps of 0.1.
        if self.step is not None and (Fraction(repr(value)) - Fraction(repr(low))) % Fraction(repr(self.step)):
            return f"got {value:g}, wanted whole steps of {self.step:g} from {low:g}"
        return ""


class Expected(msgspec.Struct, frozen=True):
    """What a device must answer to be the one a profile is about."""

    point: Name
    any_of: tuple[float | int | bool | str, ...] = ()
    begins_with: str | None = None


class FirmwareRange(msgspec.Struct, frozen=True):
    """The firmware a profile was written for: first and last version, both included.

    Numbers are compared as numbers, text by the numbers in it: "1.10" comes after "1.9".
    """

    point: Name
    first: float | int | str
    last: float | int | str


class Identity(msgspec.Struct, frozen=True):
    """[identity]: how a device shows that it is the one this profile is about.

    Read when the link opens, when the device answers again after a silence, and once a day. What is named here must
    be a point of the profile. Until it has been read, and when it does not fit, values are
    uncertain ("uncertain:firmware") and nothing is written.
    """

    expect: tuple[Expected, ...] = ()
    """All must hold."""
    firmware: FirmwareRange | None = None
    on_mismatch: Literal["read_only"] = "read_only"


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
    max_rate: Annotated[float, Meta(gt=0)] | None = None
    """The largest believable change, in units a second; of a counter, the largest rise. What jumps farther is bad
    until a second reading agrees with it. A counter that falls is doubted in the same way, whatever its rate."""
    drift: bool = True
    """Whether the statistics watch it. Never for text and identity."""
    identity: Literal["serial", "model", "firmware"] | None = None
    """Set on a point by which the device says who it is."""


class CodedPoint(PointBase, frozen=True, kw_only=True):
    """What a raw number, in registers or in the bytes of a frame, means."""

    order: WordOrder = "ABCD"
    """Order of the bytes of a value; ABCD is big-endian throughout, DCBA little-endian."""
    scale: float = 1.0
    offset: float = 0.0
    """value = raw * scale * 10^(value of the scale point) + offset, taken as the decimals they are written as."""
    bits: tuple[Annotated[int, Meta(ge=0, le=63)], Annotated[int, Meta(ge=0, le=63)]] | None = None
    """Lowest and highest bit, counted from 0, of the part of the raw number that is meant: `[8, 15]` is the high
    byte of a register, `[3, 3]` with the type bool one flag. A signed type makes it two's complement."""
    enum: dict[str, str] = {}
    """Text of each raw number, such as `{ 0 = "off", 1 = "on" }`. A number that is not listed is bad."""
    flags: dict[str, str] = {}
    """Name of each bit, counted from 0: the value is the names of the bits that are set, such as
    "overload+door_open", and "" when none is. A bit without a name is called "bit9"."""
    sentinels: tuple[int, ...] = ()
    """Raw values, read as unsigned, by which the device says that it has no value."""


class RegisterPoint(CodedPoint, frozen=True, kw_only=True):
    """A point in Modbus registers or coils. Addresses are those on the wire, from 0."""

    function: Literal[1, 2, 3, 4, 43]
    """43 (2B/0E, device identification): `address` is the number of an object, such as 0 vendor, 1 product code,
    2 revision, and the type is string."""
    address: Register
    type: RegisterType
    length: Annotated[int, Meta(ge=1, le=125)] = 1
    """Registers of a string; other types know their own."""
    characters: Literal["both", "low", "high"] = "both"
    """Of a string: whether each register holds two characters, or one in its low or high byte."""
    scale_point: Name | None = None
    """A point of the same device that holds the power of ten (SunSpec): always read in the same request. Without it
    the value is bad."""
    every: Annotated[int, Meta(ge=1, le=100_000)] = 1
    """Read at each n-th poll: 1 for what moves, more for what does not. What tells identity is read once a day, or
    at each n-th poll when more than 1 is given."""
    model: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    """Of a SunSpec device: `address` counts from the first register (the ID) of this model, which is found by walking
    the chain of models."""
    write: WriteRule | None = None


class FieldPoint(PointBase, frozen=True, kw_only=True):
    """A point in a line `name,value[,value…]`: the name it stands behind, and which of its values."""

    field: str
    index: Annotated[int, Meta(ge=0, le=63)] = 0


class FramePoint(CodedPoint, frozen=True, kw_only=True):
    """A point in the bytes of a frame."""

    at: Annotated[int, Meta(ge=0, le=8191)]
    """Its first byte, counted from 0 at the start of the frame."""
    type: RegisterType | Literal["int8", "uint8"]
    length: Annotated[int, Meta(ge=1, le=250)] = 2
    """Bytes of a string; other types know their own."""
    begins: Hex = Hex()
    """Read from frames that begin with these bytes; from all when not given."""


class SentencePoint(PointBase, frozen=True, kw_only=True):
    """A point in an NMEA 0183 sentence, whoever the talker is."""

    sentence: Literal["RMC", "GGA"]
    says: Literal[
        "time", "valid", "latitude", "longitude", "speed", "course", "quality", "satellites", "hdop", "altitude",
    ]  # fmt: skip
    """RMC says time (UTC, seconds since 1970), valid, latitude, longitude, speed (knots) and course; GGA says
    latitude, longitude, quality (0: no fix), satellites, hdop and altitude (m). Latitude and longitude are degrees,
    north and east positive. Without a fix they, speed, course, hdop and altitude have no value."""
    scale: float = 1.0


class ObisPoint(PointBase, frozen=True, kw_only=True):
    """A point in a DSMR telegram."""

    obis: str
    """Such as "1.8.1", or with medium and channel "0-1:24.2.1" when it matters which."""
    type: Literal["number", "time", "hex", "text"] = "number"
    """time: `YYMMDDhhmmss` with S (summer, UTC+2) or W (winter, UTC+1), as UTC seconds since 1970. hex: two hex
    digits a character, as meters write their numbers. What has a time of its own before its value, such as gas,
    is dated by it."""
    fresh_for: Seconds = Seconds(7200)
    """How old its own time may be before it is stale: gas meters speak once in five minutes, older ones in an hour."""
    sent_in: str | None = None
    """The unit as the meter writes it; a value in another one is bad. `unit` when not given."""
    scale: float = 1.0


class PathPoint(PointBase, frozen=True, kw_only=True):
    """A point in a JSON message, by path: `$.ENERGY.Power`, `$.list[0]`, `$` for the whole."""

    path: str
    topic: str | None = None
    """MQTT: the topic it comes on, when it is not the main one; may hold `{device}`, and `{topic}` for the main."""
    scale: float = 1.0
    offset: float = 0.0
    """value = number * scale + offset, taken as the decimals they are written as."""
    values: dict[str, float | int | bool | str] = {}
    """What each text means, such as `{ ON = true, OFF = false }`; true, false and numbers are written as in JSON.
    What is not listed is bad."""


class ColumnPoint(PointBase, frozen=True, kw_only=True):
    """A point in a column of a CSV file, by the column's name in the first row."""

    column: str


SerialPoint = FieldPoint | FramePoint | SentencePoint | ObisPoint
Point = RegisterPoint | SerialPoint | PathPoint | ColumnPoint


class RegisterExample(msgspec.Struct, frozen=True):
    """Registers as a device answered them, and what they mean."""

    function: Literal[1, 2, 3, 4]
    address: Register
    registers: tuple[Register, ...]
    values: dict[str, float | int | bool | str | None]
    model: int | None = None
    """Of a SunSpec device: the model that `address` counts in."""


class TextExample(msgspec.Struct, frozen=True):
    """A line, telegram or message as a device sent it, and what it means."""

    text: str
    values: dict[str, float | int | bool | str | None]
    topic: str | None = None
    """MQTT: as the points write it, when it is not the main one."""


class FrameExample(msgspec.Struct, frozen=True):
    """A frame as a device sent it, and what it means."""

    bytes: Hex
    values: dict[str, float | int | bool | str | None]


class SerialAsk(msgspec.Struct, frozen=True):
    """What is sent to a device so that it says something, such as its firmware."""

    send: Hex
    every: Seconds = Seconds(86_400)
    """It is sent after opening, and then so often."""


class MqttAsk(msgspec.Struct, frozen=True):
    """What is published so that a device says something, such as its firmware."""

    topic: str
    """May hold `{device}` and `{topic}`."""
    send: str
    every: Seconds = Seconds(86_400)


class Availability(msgspec.Struct, frozen=True):
    """How a broker tells that a device has gone: its last will, and what it says when it is back."""

    topic: str
    """May hold `{device}` and `{topic}`."""
    path: str = "$"
    """Where it stands in a JSON message; plain text is taken as a whole."""
    online: tuple[str, ...] = ("online", "Online", "true")
    offline: tuple[str, ...] = ("offline", "Offline", "false")


class ProfileBase(msgspec.Struct, frozen=True, kw_only=True):
    """What every profile begins with."""

    name: Name
    title: str
    entity_type: Name
    provenance: Provenance
    identity: Identity = Identity()


class ModbusProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="modbus"):
    """A device behind Modbus."""

    limits: BusLimits = BusLimits()
    points: tuple[RegisterPoint, ...]
    examples: tuple[RegisterExample, ...]


class SerialProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="serial"):
    """A device that talks on a serial port by itself."""

    framing: Framing = LineFraming()
    asks: tuple[SerialAsk, ...] = ()
    points: tuple[SerialPoint, ...]
    examples: tuple[TextExample | FrameExample, ...]


class MqttProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="mqtt"):
    """A device that publishes to a broker: JSON, plain numbers or plain text."""

    topic: str | None = None
    """The main topic, such as "zigbee2mqtt/{device}"; agent.toml may name another."""
    time: str | None = None
    """Path of the device's own time of what it says: ISO 8601 with its zone, or seconds or milliseconds since
    1970. A message that is not newer than the last is dropped."""
    availability: Availability | None = None
    asks: tuple[MqttAsk, ...] = ()
    points: tuple[PathPoint, ...]
    examples: tuple[TextExample, ...]


class HttpProfile(ProfileBase, frozen=True, kw_only=True, tag_field="protocol", tag="http"):
    """A device that answers HTTP GET with JSON."""

    path: str | None = None
    """What is asked for, with its query, such as "/rpc/Shelly.GetStatus"; agent.toml may name another."""
    time: str | None = None
    """As of an MQTT device."""
    points: tuple[PathPoint, ...]
    examples: tuple[TextExample, ...]


Profile = ModbusProfile | SerialProfile | MqttProfile | HttpProfile
