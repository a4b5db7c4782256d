"""From a source as it is written and its profile to a `Source`: what the doors and the twin are built from."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from edge_agent.model.checked import Name, shown
from edge_agent.model.errors import Problem
from edge_agent.model.layout import is_name
from edge_agent.model.profile import (
    ColumnPoint,
    HttpProfile,
    ModbusProfile,
    MqttProfile,
    Point,
    PointBase,
    Profile,
    RegisterPoint,
    SerialProfile,
)
from edge_agent.model.site import FileSettings, HttpSettings, MqttSettings, SerialSettings, Source, SourceSettings


def each_device(written: SourceSettings, place: str, problems: list[Problem]) -> Iterator[SourceSettings]:
    """Return the sources that one table stands for: one for each of its devices."""
    if not isinstance(written, MqttSettings) or not written.devices:
        yield written
        return
    both = [key for key in ("device", "entity") if getattr(written, key) is not None]
    problems.extend(Problem(f"{place}.{key}", f"`{key}` beside `devices`", "one of them") for key in both)
    for entity, device in written.devices.items():
        name = f"{written.name}-{entity}"
        if not is_name(entity) or not is_name(name):
            problems.append(Problem(f"{place}.devices.{shown(entity)}", shown(name), "a name for a source"))
            continue
        yield replace(written, name=Name(name), entity=Name(entity), device=device, devices={})


def is_for(profile: Profile, written: SourceSettings) -> bool:
    """Whether a profile can serve a kind of source; a file may hold what any device said."""
    protocol, kind = (type(each).__struct_config__.tag for each in (profile, written))
    return protocol == kind or isinstance(written, FileSettings)


def worked_in(written: SourceSettings, profile: Profile | None, entity: str, entity_type: str) -> Source:
    """Return a source with what its profile says of it; what is written in agent.toml counts more."""
    profile_points: tuple[Point, ...] = () if profile is None else profile.points
    if profile is not None and not profile.provenance.verified:
        profile_points = tuple(map(_read_only, profile_points))
    extra: dict[str, Any] = {}
    if profile is not None:
        extra = {"identity": profile.identity, "profile": profile.name}
    if isinstance(profile, ModbusProfile):
        extra["limits"] = profile.limits
    if isinstance(profile, (SerialProfile, MqttProfile)):
        extra["asks"] = profile.asks
    if isinstance(written, FileSettings):
        profile_points = tuple(map(_as_column, profile_points))
        extra.pop("identity", None)  # a file is not a device
        extra.pop("limits", None)
        extra.pop("asks", None)
    if isinstance(written, SerialSettings):
        framing = written.framing
        if framing is None and isinstance(profile, SerialProfile):
            framing = profile.framing
        extra |= {} if framing is None else {"framing": framing}
    if isinstance(written, MqttSettings) and isinstance(profile, MqttProfile):
        written = _with_profile(written, profile, ("topic", "time", "availability"))
    if isinstance(written, HttpSettings) and isinstance(profile, HttpProfile):
        written = _with_profile(written, profile, ("path", "time"))
    return Source(written, entity, entity_type, (*profile_points, *written.points), **extra)


def _with_profile(written: Any, profile: Profile, fields: tuple[str, ...]) -> Any:
    return replace(written, **{f: getattr(profile, f) for f in fields if getattr(written, f) is None})


def _read_only(point: Point) -> Point:
    """Return a point that cannot be written: what nobody has verified may be the register beside it."""
    return replace(point, write=None) if isinstance(point, RegisterPoint) else point


def _as_column(point: Point) -> ColumnPoint:
    return ColumnPoint(column=point.name, **{field: getattr(point, field) for field in PointBase.__struct_fields__})
