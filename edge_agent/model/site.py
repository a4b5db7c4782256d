"""What a person configures, checked: the tables of agent.toml, and the `Site` made of them and the profiles."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.model.checked import Name, Seconds, Size
from edge_agent.model.framing import Framing, LineFraming
from edge_agent.model.profile import (
    Availability,
    BusLimits,
    ColumnPoint,
    Identity,
    MqttAsk,
    PathPoint,
    Point,
    RegisterPoint,
    SerialAsk,
    SerialPoint,
)

EnvName = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


Mode = Literal["full", "incremental", "delta_only"]


class AgentSettings(msgspec.Struct, frozen=True):
    """[agent]: who this gateway is and where it keeps things."""

    world_id: Name
    data_dir: str


class SyncSettings(msgspec.Struct, frozen=True):
    """[sync]: the beat of the loop and the snapshots."""

    interval: Seconds = Seconds(1)
    mode: Mode = "incremental"
    """"full": every reading stands as it was read, and each turn keeps a snapshot. "delta_only": no risk, no plan."""
    shortest: Seconds | None = None
    longest: Seconds | None = None
    """Between which the next turn is recommended; from one beat to sixty when not given."""
    snapshot_every: Seconds = Seconds(900)
    snapshots_kept: Annotated[int, Meta(ge=2, le=64)] = 8

    @property
    def limits_s(self) -> tuple[float, float]:
        """The shortest and the longest interval that is recommended."""
        shortest = self.interval if self.shortest is None else self.shortest
        return shortest, 60 * shortest if self.longest is None else self.longest


class BrokerAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How to be let in by an MQTT broker."""

    protocol: Literal["5", "3.1.1"] = "5"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    username: str | None = None
    username_file: str | None = None
    username_env: EnvName | None = None
    password_file: str | None = None
    password_env: EnvName | None = None
    """The name of an environment variable; a secret itself is never written here."""


class BufferSettings(msgspec.Struct, frozen=True):
    """upstream.buffer: the bound of what is kept on disk."""

    max_bytes: Size = Size(256 * 1024 * 1024)


class UpstreamSettings(BrokerAccess, frozen=True, kw_only=True):
    """[upstream]: where records go."""

    url: str
    """mqtt://host[:1883] or mqtts://host[:8883]."""
    buffer: BufferSettings = BufferSettings()
    release: Literal["broker", "mirror"] = "broker"
    """When a record counts as delivered: the broker has acknowledged it, or the mirror has signed for it."""
    mirror_key: str | None = None
    """The mirror's public key, an OpenSSH line in a file: its receipts are heard."""


class SourceBase(msgspec.Struct, frozen=True, kw_only=True):
    """[[sources]]: what every kind of source says."""

    name: Name
    profile: str | None = None
    entity: Name | None = None
    """The entity it describes, by local id; its own name when not given."""


class TlsAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Who is trusted at the other end, and who we are."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class ModbusSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="modbus"):
    """One unit on a Modbus bus."""

    url: str
    """tcp://host[:502], tls://host[:802], rtu:///dev/…[?baud=9600&parity=N&stop=1&bits=8], ascii:///dev/…,
    rtu+tcp://host:port or ascii+tcp://host:port."""
    unit: Annotated[int, Meta(ge=0, le=255)] = 1
    poll: Seconds = Seconds(1)
    access: TlsAccess = TlsAccess()
    """For tls:// alone."""
    points: tuple[RegisterPoint, ...] = ()


class SerialSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="serial"):
    """A device that talks on a serial port."""

    url: str
    """serial:///dev/serial/by-id/…[?baud=9600&parity=N&stop=1&bits=8]."""
    framing: Framing | None = None
    stale_after: Seconds = Seconds(30)
    """Silence after which its values are bad: a device that speaks by itself cannot miss a poll."""
    points: tuple[SerialPoint, ...] = ()


class MqttSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="mqtt"):
    """A device that publishes to a broker on site."""

    url: str
    """mqtt://host[:1883] or mqtts://host[:8883]."""
    access: BrokerAccess = BrokerAccess()
    topic: str | None = None
    """The main topic, with + for one level and # for all at its end; may hold `{device}`. The profile's when not
    given."""
    device: str | None = None
    """What stands for `{device}` in topics."""
    devices: dict[str, str] = {}
    """Several devices alike, by the name of the entity each becomes: `{ attic = "0x00158d0001" }`. Each is a source
    of its own, `<source>-<entity>`."""
    time: str | None = None
    """Path of the device's own time in a message. The profile's when not given."""
    availability: Availability | None = None
    """How the broker tells that a device has gone. The profile's when not given."""
    stale_after: Seconds = Seconds(30)
    """Silence after which its values are bad: a device that speaks by itself cannot miss a poll."""
    points: tuple[PathPoint, ...] = ()


class HttpAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How to be let in by a web server."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    headers_file: str | None = None
    """Lines such as `Authorization: Bearer …`, sent with each request and shown to nobody."""


class HttpSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="http"):
    """A device that answers HTTP GET with JSON."""

    url: str
    """http://host[:80][/path] or https://host[:443][/path]."""
    access: HttpAccess = HttpAccess()
    poll: Seconds = Seconds(10)
    timeout: Seconds = Seconds(5)
    """For one answer as a whole, however slowly it drips."""
    time: str | None = None
    """Path of the device's own time in an answer. The profile's when not given."""
    points: tuple[PathPoint, ...] = ()


class FileSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """A CSV file, played back. A profile of any kind names its points after the columns."""

    path: str
    time_column: str = "timestamp"
    time_form: Literal["iso", "s", "ms"] = "iso"
    """ISO 8601 (UTC when it has no zone), or seconds or milliseconds since 1970."""
    speed: Annotated[float, Meta(gt=0, le=1_000_000)] | Literal["full"] = 1.0
    """How many seconds of the file pass in one; "full": as fast as they are taken."""
    at_end: Literal["stop", "repeat"] = "stop"
    """"stop": its values stay, as old as they are. "repeat": from the first row again."""
    points: tuple[ColumnPoint, ...] = ()


SourceSettings = ModbusSettings | SerialSettings | MqttSettings


class EntitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[entities]]: what is known of a thing beyond its readings."""

    id: Name
    type: Name
    labels: tuple[str, ...] = ()
    criticality: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """How much trouble of this thing weighs in the risk."""
    state: Name | None = None
    """Where its state machine starts, when [[transitions]] name it."""


class RelationshipSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[relationships]]: an edge between two entities."""

    src: Name = msgspec.field(name="from")
    relation: Name
    dst: Name = msgspec.field(name="to")


class ConditionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A structured condition: no code is ever evaluated."""

    variable: str
    """`entity.point`, such as "pump.bearing_temp"."""
    is_: Literal["above", "below", "equal", "not"] = msgspec.field(name="is")
    value: float | bool | str
    lasting: Seconds = msgspec.field(name="for", default=Seconds(0))
    hysteresis: Annotated[float, Meta(ge=0)] = 0.0
    """By how much a value must come back before the condition counts as broken."""


class TransitionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[transitions]]: when an entity passes from one state to another."""

    entity: Name
    src: Name = msgspec.field(name="from")
    dst: Name = msgspec.field(name="to")
    when: ConditionSettings


class ComparisonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[comparisons]]: two variables that should agree."""

    variable: str
    """`entity.point`, such as "room.temperature"."""
    with_: str = msgspec.field(name="with")
    """The other one: a redundant sensor, or the setpoint."""
    within: float | None = None
    """How far apart they may be; when not given, their difference is watched for drift."""
    lasting: Seconds = msgspec.field(name="for", default=Seconds(0))
    """How long they may be further apart."""


class DriftSettings(msgspec.Struct, frozen=True):
    """[drift]: how sure the statistics must be, in words a person uses."""

    false_alarm_every: Seconds = Seconds(30 * 86400)
    """At most one false alarm of a variable in this time."""
    warmup: Annotated[int, Meta(ge=20, le=100_000)] = 120
    """Readings before there is an opinion."""
    largest: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The largest difference of two that should agree, as a share of the first one's range."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """agent.toml as a whole."""

    agent: AgentSettings
    sync: SyncSettings = SyncSettings()
    upstream: UpstreamSettings | None = None
    sources: tuple[SourceSettings, ...]
    entities: tuple[EntitySettings, ...] = ()
    relationships: tuple[RelationshipSettings, ...] = ()
    transitions: tuple[TransitionSettings, ...] = ()
    comparisons: tuple[ComparisonSettings, ...] = ()
    drift: DriftSettings = DriftSettings()


class Source(msgspec.Struct, frozen=True):
    """A source with its profile worked in: what the doors and the twin are built from."""

    settings: SourceSettings
    entity: str
    """Full id of the entity it describes."""
    entity_type: str
    points: tuple[Point, ...]
    limits: BusLimits = BusLimits()
    framing: Framing = LineFraming()
    asks: tuple[SerialAsk, ...] | tuple[MqttAsk, ...] = ()
    profile: str | None = None
    identity: Identity = Identity()

    @property
    def name(self) -> str:
        """Its name in agent.toml."""
        return self.settings.name


class Site(msgspec.Struct, frozen=True):
    """The whole configuration, checked and with profiles worked in."""

    settings: Settings
    sources: tuple[Source, ...]
    digest: str
    """SHA-256 of the file's bytes, hex: which configuration this was."""

    @property
    def world_id(self) -> str:
        """The gateway's name."""
        return self.settings.agent.world_id
