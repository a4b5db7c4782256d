"""What a person configures, checked: the tables of agent.toml, and the `Site` made of them and the profiles."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.model.action import Approver
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


class MetricsSettings(msgspec.Struct, frozen=True):
    """[metrics]: figures for Prometheus at http://127.0.0.1:<port>/metrics, this machine alone. Off without it."""

    port: Annotated[int, Meta(ge=1, le=65535)]


SourceClass = Literal[
    "hardware_sensor", "system_of_record", "primary_api", "observability_pipeline", "derived_inference", "human_note"
]
TRUST_WEIGHTS: dict[str, float] = {
    "hardware_sensor": 0.95,
    "system_of_record": 0.92,
    "primary_api": 0.88,
    "observability_pipeline": 0.8,
    "derived_inference": 0.65,
    "human_note": 0.55,
}
"""Of the reference's authority_trust_model, 1.0.0."""
_TRUST_BY_KIND: dict[str, SourceClass] = {"http": "primary_api", "file": "system_of_record"}
"""What else there is speaks for the sensor itself."""


class SourceBase(msgspec.Struct, frozen=True, kw_only=True):
    """[[sources]]: what every kind of source says."""

    name: Name
    profile: str | None = None
    entity: Name | None = None
    """The entity it describes, by local id; its own name when not given."""
    trust: SourceClass | None = None
    """What kind of source it is to the trust model; by its kind when not given."""


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


class HttpAccess(TlsAccess, frozen=True, kw_only=True):
    """How to be let in by a web server."""

    headers_file: str | None = None
    """Lines such as `Authorization: Bearer …`, sent with each request and shown to nobody."""


class HttpSettings(SourceBase, frozen=True, kw_only=True, tag_field="kind", tag="http"):
    """A device that answers HTTP GET with JSON."""

    url: str
    """http://host[:80] or https://host[:443]."""
    path: str | None = None
    """What is asked for, with its query; the profile's, or "/", when not given."""
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
    """"stop": its values grow stale. "repeat": from the first row again, its times moved on by the length of the
    file."""
    stale_after: Seconds = Seconds(30)
    """Silence after which its values are bad."""
    points: tuple[ColumnPoint, ...] = ()


FILES = ("ca_file", "cert_file", "key_file", "username_file", "password_file", "mirror_key", "headers_file")
"""Keys of `access` and of [upstream] that name a file which says how to be let in."""

SourceSettings = ModbusSettings | SerialSettings | MqttSettings | HttpSettings | FileSettings


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
    """Without a break. It begins anew when the agent starts, for nobody looked meanwhile; `reload` breaks nothing."""
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
    """`entity.point`, such as "room.temperature"; the very source that has the name, for two are held side by side."""
    with_: str = msgspec.field(name="with")
    """The other one: a redundant sensor, or the setpoint."""
    within: float | None = None
    """How far apart they may be; when not given, their difference is watched for drift."""
    lasting: Seconds = msgspec.field(name="for", default=Seconds(0))
    """How long they may be further apart."""


class FieldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[trust.fields]]: who is the authority for a point of this name, the first before the others."""

    field: Name
    authorities: tuple[SourceClass, ...]


class TrustSettings(msgspec.Struct, frozen=True):
    """[trust]: whom to believe when several sources give one variable."""

    half_life: Seconds = Seconds(14 * 86_400)
    """In which the trust in a value that nothing confirms decays by a factor e."""
    min_trust: Annotated[float, Meta(ge=0, le=1)] = 0.25
    tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Share of the value by which two sources may differ and still agree; or their deadband, when that is more."""
    patience: Seconds = Seconds(10)
    """How long they must disagree: they are not read at one instant."""
    fields: tuple[FieldSettings, ...] = ()


class DriftSettings(msgspec.Struct, frozen=True):
    """[drift]: how sure the statistics must be, in words a person uses."""

    false_alarm_every: Seconds = Seconds(30 * 86400)
    """At most one false alarm of all variables together in this time."""
    warmup: Annotated[int, Meta(ge=20, le=100_000)] = 120
    """Readings before there is an opinion."""
    season: Seconds = Seconds(86400)
    """The period in which the plant repeats itself; "0s" when it does not."""
    timezone: str = "UTC"
    """In whose midnights the plant's days begin, such as "Europe/Berlin": by them weekdays are told apart."""
    largest: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The largest difference of two that should agree, as a share of the second one's range (what can be set).

    For comparisons that give no `within`.
    """


class TriggerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What sets a playbook off: an anomaly on a variable, a state an entity is in, or a risk. One of the three."""

    anomaly: str | None = None
    """The name of a detector, such as "shift", or "any"; on `variable`, of at least `severity`."""
    variable: str | None = None
    """Where several sources give it, that of the most trusted: it has the name, and its alarms are meant."""
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    entity: Name | None = None
    state: Name | None = None
    """While `entity` is in this state."""
    risk_above: Annotated[float, Meta(ge=0, lt=1)] | None = None
    """While the risk, now or ahead, is greater."""


class StepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One write of a playbook."""

    point: str
    """`entity.point`, such as "pump.valve"."""
    value: float | bool | str
    expect: float | bool | str
    """What must stand there right before; anything else stops the action."""
    hold: Seconds | None = None
    """After how long the device takes it back by itself. Where a profile says that the device can, this is wanted."""
    for_good: bool = False
    """Write for good although the device could take it back by itself."""


class UndoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One write of an inverse."""

    point: str
    value: float | bool | str


class CriterionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold: a variable, a comparison and a value."""

    variable: str
    is_: Literal["above", "below", "equal"] = msgspec.field(name="is")
    value: float | bool | str


class PlaybookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[playbooks]]: what may be done about a trouble, once somebody has approved it."""

    name: Name
    summary: str
    on: TriggerSettings
    steps: tuple[StepSettings, ...]
    criteria: tuple[CriterionSettings, ...] = ()
    """What must come of it, within `deadline` of the writes."""
    deadline: Seconds = Seconds(10)
    on_failure: Literal["restore", "inverse", "leave"] = "restore"
    """"restore": write what stood there before. "inverse": write what `inverse` says. "leave": write nothing."""
    inverse: tuple[UndoSettings, ...] = ()
    risk: Annotated[float, Meta(ge=0, le=1)]
    """What doing it puts at risk."""
    if_it_fails: str
    """For whoever approves: what happens then, in words."""
    role: Literal["operator", "supervisor"] = "operator"
    """The least role that may approve it."""


class PointPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """[[policy.points]]: a point that may be written, and within which bounds."""

    point: str
    range: tuple[float, float]
    step: Annotated[float, Meta(gt=0)] | None = None
    """The largest change from what stands there."""
    min_interval: Seconds = Seconds(60)
    """Between two actions that write it."""
    daily_writes: Annotated[int, Meta(ge=1, le=100_000)] = 24
    """Inverses count; restarts do not clear it."""


class InterlockSettings(CriterionSettings, frozen=True, kw_only=True):
    """[[policy.interlocks]]: what must hold, with good quality, or nothing is written.

    Where several sources tell of the same thing, none of them may say otherwise, whichever is believed.
    """

    reason: str
    """Why, for whoever is refused."""


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True):
    """[policy]: without it nothing is written."""

    points: tuple[PointPolicy, ...] = ()
    """What may be written at all; with none of them nothing is."""
    interlocks: tuple[InterlockSettings, ...] = ()
    actions_per_hour: Annotated[int, Meta(ge=1, le=1000)] = 4
    two_approvers_above: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Of a playbook's `risk`: above it two distinct operators must approve."""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.5
    request_ttl: Seconds = Seconds(900)
    """How long a request waits for its approval."""


class ApproverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[[approvers]]: who may approve, with which key. One person may have several keys, and counts once."""

    name: Name
    key: str
    """`ssh-ed25519 AAAA… comment`, as in authorized_keys."""
    role: Literal["operator", "supervisor"] = "operator"
    max_risk: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """The greatest risk of a playbook that this person may approve."""
    revoked: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """agent.toml as a whole."""

    agent: AgentSettings
    sync: SyncSettings = SyncSettings()
    upstream: UpstreamSettings | None = None
    metrics: MetricsSettings | None = None
    sources: tuple[SourceSettings, ...]
    entities: tuple[EntitySettings, ...] = ()
    relationships: tuple[RelationshipSettings, ...] = ()
    transitions: tuple[TransitionSettings, ...] = ()
    comparisons: tuple[ComparisonSettings, ...] = ()
    drift: DriftSettings = DriftSettings()
    trust: TrustSettings = TrustSettings()
    playbooks: tuple[PlaybookSettings, ...] = ()
    policy: PolicySettings | None = None
    approvers: tuple[ApproverSettings, ...] = ()


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

    @property
    def trust(self) -> SourceClass:
        """What kind of source it is to the trust model."""
        kind = str(type(self.settings).__struct_config__.tag)
        return self.settings.trust or _TRUST_BY_KIND.get(kind, "hardware_sensor")


def named(sources: Iterable[Source]) -> Mapping[tuple[str, str], tuple[Source, Point]]:
    """Return which source has the name of each variable, by entity and point: where several give one, the most trusted.

    What is said of `entity.point` is said of that source's: read there, held against limits, and written there.
    """
    found: dict[tuple[str, str], tuple[Source, Point]] = {}
    for source in sorted(sources, key=lambda source: -TRUST_WEIGHTS[source.trust]):
        for point in source.points:
            found.setdefault((source.entity, point.name), (source, point))
    return found


class Site(msgspec.Struct, frozen=True):
    """The whole configuration, checked and with profiles worked in."""

    settings: Settings
    sources: tuple[Source, ...]
    digest: str
    """SHA-256 of the file's bytes, hex: which configuration this was."""
    roster: tuple[Approver, ...] = ()
    """The approvers, their keys read."""

    @property
    def world_id(self) -> str:
        """The gateway's name."""
        return self.settings.agent.world_id
