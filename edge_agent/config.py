"""From agent.toml and the profiles to a checked `Site`, offline, listing every problem and not the first.

Nothing connects here. A file that group or others may write is refused: it decides what the agent does.
"""

import codecs
import hashlib
import math
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from edge_agent.judge.rulebook import rulebook_problems
from edge_agent.model.action import Approver
from edge_agent.model.checked import Name, check, close_match, shown
from edge_agent.model.errors import ConfigError, EdgeAgentError, Problem, TrustError
from edge_agent.model.layout import PROFILE_FOLDERS, entity_id, local_name, variable_path
from edge_agent.model.profile import Point, Profile, RegisterPoint
from edge_agent.model.site import (
    FILES,
    AgentSettings,
    ApproverSettings,
    BrokerAccess,
    ComparisonSettings,
    DriftSettings,
    EntitySettings,
    FileSettings,
    HttpSettings,
    MetricsSettings,
    ModbusSettings,
    MqttSettings,
    PlaybookSettings,
    PolicySettings,
    RelationshipSettings,
    Settings,
    Site,
    Source,
    SourceSettings,
    SyncSettings,
    TlsAccess,
    TransitionSettings,
    UpstreamSettings,
)
from edge_agent.model.worked_in import each_device, is_for, worked_in
from edge_agent.seal.keys import PublicKey
from edge_agent.store.keys import load_public
from edge_agent.twin.rules import flaws

_LET_IN = (MqttSettings, ModbusSettings, HttpSettings)
"""The kinds of source that say how to be let in."""
Access = TypeVar("Access", bound=BrokerAccess | TlsAccess)

MIN_INTERVAL_S = 0.05
"""A beat shorter than this costs more in signatures and fsyncs than it tells."""
_TABLES = {
    "agent": AgentSettings,
    "sync": SyncSettings,
    "upstream": UpstreamSettings,
    "metrics": MetricsSettings,
    "drift": DriftSettings,
    "policy": PolicySettings,
}
_LISTS = {
    "sources": SourceSettings,
    "entities": EntitySettings,
    "relationships": RelationshipSettings,
    "transitions": TransitionSettings,
    "comparisons": ComparisonSettings,
    "playbooks": PlaybookSettings,
    "approvers": ApproverSettings,
}
_ONE_OF = (("username", "username_file", "username_env"), ("password_file", "password_env"))
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential=` names; a file may be written `$CREDENTIALS_DIRECTORY/name`."""
_MAX_FILE_BYTES = 4 * 1024 * 1024


class Examined(NamedTuple):
    """What was found in a configuration. There is a site only when there is no problem."""

    site: Site | None
    sources: tuple[Source, ...]
    """Those that are sound in themselves, also when there is no site."""
    problems: list[Problem]


def load(path: Path) -> Site:
    """Return the checked configuration. Raises ConfigError with all problems."""
    found = examine(path)
    if found.site is None:
        raise ConfigError(found.problems)
    return found.site


def examine(path: Path) -> Examined:
    """Look through a whole configuration: a table that is wrong does not hide what is wrong in the others."""
    problems: list[Problem] = []
    text = _read(path, problems)
    raw = _parse(path, text, problems)
    if raw is None:
        return Examined(None, (), problems)
    place = f"{path.name}: "
    settings: Settings | None = check(raw, Settings, place, problems)
    sound = settings or _what_holds(raw)
    sources = tuple(_sources(sound, path, problems))
    problems.extend(_clashes(sound, sources, place))
    problems.extend(_unknown_timezone(sound, place))
    roster = tuple(_roster(sound, place, problems))
    if settings is not None:
        # Only then: what refers to a table that is wrong would be told as referring to nothing.
        problems.extend(_loose_ends(settings, sources, place))
        problems.extend(rulebook_problems(settings, sources, place))
    problems.extend(_limits(sound, path, place))
    if settings is None or problems:
        return Examined(None, sources, problems)
    settings, sources = _anchored(settings, sources, path)
    return Examined(Site(settings, sources, hashlib.sha256(text).hexdigest(), roster), sources, problems)


def data_dir_of(path: Path) -> Path:
    """Return where the agent of a configuration keeps things, whatever else is wrong in it.

    Raises ConfigError, with all problems, when it does not say so.
    """
    raw = _parse(path, _read(path, []), [])
    agent = None if raw is None else raw.get("agent")
    data_dir = agent.get("data_dir") if isinstance(agent, dict) else None
    if not isinstance(data_dir, str):
        raise ConfigError(examine(path).problems)
    return Path(_located(data_dir, path))


def _what_holds(raw: dict[str, Any]) -> Settings:
    """Return the tables that are sound, to look for further problems in them; never to be run."""
    tables = {name: check(raw.get(name), kind, "", []) for name, kind in _TABLES.items()}
    lists = {
        name: tuple(noun for each in raw[name] if (noun := check(each, kind, "", [])) is not None)
        for name, kind in _LISTS.items()
        if isinstance(raw.get(name), list)
    }
    nameless: dict[str, Any] = {"agent": AgentSettings(Name("unnamed"), "."), "sources": ()}
    return Settings(**nameless | {name: noun for name, noun in tables.items() if noun is not None} | lists)


def load_profile(name: str, beside: Path | None = None) -> Profile:
    """Return a profile by name, or by path when `name` ends in .toml (relative to the folder `beside`).

    Raises ConfigError, with the close match when there is no such profile.
    """
    path = _profile_path(name, beside)
    if path is None:
        known = profile_names()
        hint = close_match(name, known) or "profiles: " + ", ".join(known)
        raise ConfigError([Problem("profile", shown(name), "the name of a profile, or the path of one", hint)])
    problems: list[Problem] = []
    ours = path.parent in PROFILE_FOLDERS  # as safe as the code beside it: a umask of 002 is no reason to refuse it
    raw = read_toml(path, problems, others_may_write=ours)
    profile: Profile | None = None if raw is None else check(raw, Profile, f"{path.name}: ", problems)
    if profile is None or problems:
        raise ConfigError(problems)
    return profile


def read_toml(path: Path, problems: list[Problem], *, others_may_write: bool = False) -> dict[str, Any] | None:
    """Return what a TOML file says, or None after adding to `problems` why it does not."""
    return _parse(path, _read(path, problems, others_may_write=others_may_write), problems)


def profile_names() -> list[str]:
    """Return the names of the profiles that came with the agent."""
    return sorted({path.stem for folder in PROFILE_FOLDERS for path in folder.glob("*.toml")})


def _profile_path(name: str, beside: Path | None) -> Path | None:
    if name.endswith(".toml"):
        path = (beside or Path()) / name
        return path if path.is_file() else None
    return next((f / f"{name}.toml" for f in PROFILE_FOLDERS if (f / f"{name}.toml").is_file()), None)


def _read(path: Path, problems: list[Problem], *, others_may_write: bool = False) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not others_may_write and not path.is_dir():
            found = f"mode {mode:04o}"
            problems.append(Problem(path.name, found, "a file only its owner may write", f"chmod go-w {path}"))
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        problems.append(Problem(str(path), error.strerror or str(error), "a readable file", _instead(path, error)))
        return b""
    if len(text) > _MAX_FILE_BYTES:
        problems.append(Problem(path.name, f"more than {_MAX_FILE_BYTES} bytes", "a configuration"))
        return b""
    return text


def _instead(path: Path, error: OSError) -> str:
    """Return what helps where a file cannot be read: to be somebody else, or another file there."""
    if isinstance(error, PermissionError):
        return "sudo, or as a user who may read it"
    try:
        folder = path if path.is_dir() else path.parent
        there = sorted(each.name for each in folder.iterdir() if each.suffix == ".toml" and each != path)
    except OSError as none:
        return f"{path.parent}: {none.strerror}"
    if "agent.toml" in there:
        there = ["agent.toml"]
    return f"did you mean {folder / there[0]}?" if len(there) == 1 else f"ls -l {folder}"


def _parse(path: Path, text: bytes, problems: list[Problem]) -> dict[str, Any] | None:
    if not text:
        if not problems:
            problems.append(
                Problem(path.name, "an empty file", "TOML", "reference/install/agent.toml is one to begin with")
            )
        return None
    try:
        # Windows editors put a byte-order mark in front; TOML itself allows their line ends.
        lines = text.decode("utf-8-sig")
        return tomllib.loads(lines)
    except UnicodeDecodeError as error:
        problems.append(_not_utf_8(path, text, error.start))
    except tomllib.TOMLDecodeError as error:
        problems.append(_not_toml(path, lines, str(error)))
    except (ValueError, RecursionError) as error:  # digits, or tables in tables, beyond what Python takes
        problems.append(Problem(path.name, str(error), "TOML"))
    return None


def _not_utf_8(path: Path, text: bytes, place: int) -> Problem:
    """Say in which line what is not UTF-8 stands, or that all of it is in another code."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem(path.name, "text in UTF-16", "TOML in UTF-8", 'save it as "UTF-8"')
    line = text.count(b"\n", 0, place) + 1
    return Problem(f"{path.name}: line {line}", f"the byte 0x{text[place]:02x}", "TOML in UTF-8", 'save it as "UTF-8"')


def _not_toml(path: Path, text: str, told: str) -> Problem:
    """Say which line is not TOML, and show it."""
    where = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", told)
    if where is None:
        return Problem(path.name, "a text that ends too early", "TOML", told)
    what, line, column = where[1], int(where[2]), int(where[3])
    written = text.split("\n")[line - 1]
    if "\0" in written:
        hint = "it is in UTF-16, or was cut off by a loss of power: write it anew"
        return Problem(f"{path.name}: line {line}", "NUL bytes", "TOML in UTF-8", hint)
    hint = f"{what[:1].lower()}{what[1:]}, column {column}"
    if any(quote in written for quote in "“”„"):
        hint += '; straight quotes are wanted: "'
    return Problem(f"{path.name}: line {line}", shown(written.strip()), "TOML", hint)


def _sources(settings: Settings, path: Path, problems: list[Problem]) -> Iterator[Source]:
    """Work the profiles in; a source whose profile is missing or wrong is left out after its problem was noted."""
    types: dict[str, Name] = {e.id: e.type for e in settings.entities}
    for written in settings.sources:
        place = f"{path.name}: sources.{written.name}"
        profile = None
        if written.profile is not None:
            try:
                profile = load_profile(written.profile, path.parent)
            except ConfigError as error:
                problems.extend(_moved(problem, place) for problem in error.problems)
                continue
            if not is_for(profile, written):
                protocol, kind = (type(each).__struct_config__.tag for each in (profile, written))
                problems.append(Problem(f"{place}.profile", f"a profile for {protocol}", f"one for {kind}"))
                continue
            problems.extend(_unverified_writes(profile, place))
            problems.extend(_identity_points(profile, place))
        for each in each_device(written, place, problems):
            local = each.entity or each.name
            entity_type = types.setdefault(local, profile.entity_type if profile else Name("device"))
            yield worked_in(each, profile, entity_id(settings.agent.world_id, entity_type, local), entity_type)


def _unverified_writes(profile: Profile, place: str) -> Iterator[Problem]:
    """Refuse to write by facts that were only seen in an excerpt: the next register may be a destructive one."""
    for point in profile.points:
        if not profile.provenance.verified and isinstance(point, RegisterPoint) and point.write is not None:
            found = f"a writable point {point.name} in {profile.name}"
            yield Problem(f"{place}.profile", found, "verified facts behind what is written")


def _identity_points(profile: Profile, place: str) -> Iterator[Problem]:
    """Find what [identity] names and the profile does not read."""
    firmware = profile.identity.firmware
    known = [str(point.name) for point in profile.points]
    for name in [each.point for each in profile.identity.expect] + ([] if firmware is None else [firmware.point]):
        if name not in known:
            where = f"{place}.profile.{profile.name}.identity"
            yield Problem(where, shown(name), "a point of the profile", close_match(name, known))


def _moved(problem: Problem, place: str) -> Problem:
    if problem.place == "profile":
        return Problem(f"{place}.profile", problem.got, problem.wanted, problem.hint)
    return problem


def _roster(settings: Settings, place: str, problems: list[Problem]) -> Iterator[Approver]:
    """Read the approvers' keys; one that may not be used is left out after its problem was noted."""
    seen: dict[str, str] = {}
    for written in settings.approvers:
        where = f"{place}approvers.{written.name}.key"
        try:
            key = PublicKey.from_text(written.key.encode())
        except TrustError as error:
            problems.append(Problem(where, shown(written.key), "a line `ssh-ed25519 AAAA…`", str(error)))
            continue
        if key.keyid in seen:
            problems.append(Problem(where, f"the key of {seen[key.keyid]}", "a key of its own for each approver"))
        seen[key.keyid] = written.name
        yield Approver(written.name, key.keyid, key.raw, written.role, float(written.max_risk), written.revoked)


def _unknown_timezone(settings: Settings, place: str) -> Iterator[Problem]:
    name = settings.drift.timezone
    if name == "UTC":
        return
    import zoneinfo  # a MiB of calendars, which most do without

    try:
        known = bool(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # not there, not a name, or a folder
        known = False
    if not known:
        hint = close_match(name, zoneinfo.available_timezones()) or "Debian has them in the package tzdata"
        yield Problem(f"{place}drift.timezone", shown(name), 'a time zone of this system, or "UTC"', hint)


def _clashes(settings: Settings, sources: Sequence[Source], place: str) -> Iterator[Problem]:
    # One table may stand for several sources, and one that is wrong for none.
    names = Counter(s.name for s in settings.sources) | Counter(s.name for s in sources)
    for name, count in names.items():
        if count > 1:
            yield Problem(f"{place}sources.{name}", f"{count} sources of this name", "one name for each source")
    for name, count in Counter(e.id for e in settings.entities).items():
        if count > 1:
            yield Problem(f"{place}entities.{name}", f"{count} entities of this id", "one id for each entity")
    owners: dict[str, tuple[Source, Point]] = {}
    for source in sources:
        where = f"{place}sources.{source.name}"
        if not source.points:
            yield Problem(where, "no points", "a profile, or points of its own")
        for point in source.points:
            variable = variable_path(source.entity, point.name)
            owner, known = owners.setdefault(variable, (source, point))
            if owner is not source:
                yield from _shared(variable, (owner, known), (source, point), f"{where}.points.{point.name}")
            elif known is not point:
                yield Problem(f"{where}.points.{point.name}", f"{variable} twice", "one point of this name")


def _shared(variable: str, first: tuple[Source, Point], second: tuple[Source, Point], where: str) -> Iterator[Problem]:
    """Let two sources give one variable when both are said to describe that entity, in one unit; trust decides."""
    (one, point), (other, twin) = first, second
    found = f"{variable} from {one.name} and from {other.name}"
    if one.settings.entity is None or other.settings.entity is None:
        yield Problem(where, found, "one reading for each variable, or `entity` in both: then the trust model decides")
    elif (point.unit, point.kind) != (twin.unit, twin.kind):
        said = f"{found}, in {point.unit or 'no unit'} ({point.kind}) and {twin.unit or 'no unit'} ({twin.kind})"
        yield Problem(where, said, "one unit and kind")


def _loose_ends(settings: Settings, sources: Iterable[Source], place: str) -> Iterator[Problem]:
    sources = list(sources)
    entities = {e.id for e in settings.entities} | {local_name(s.entity) for s in sources}
    variables = {variable_path(s.entity, p.name) for s in sources for p in s.points}
    for i, edge in enumerate(settings.relationships):
        for end, name in (("from", edge.src), ("to", edge.dst)):
            if name not in entities:
                where = f"{place}relationships[{i}].{end}"
                yield Problem(where, shown(name), "an entity or a source", close_match(name, entities))
    for i, rule in enumerate(settings.transitions):
        where = f"{place}transitions[{i}]"
        if rule.entity not in entities:
            yield Problem(f"{where}.entity", shown(rule.entity), "an entity", close_match(rule.entity, entities))
        if rule.when.variable not in variables:
            hint = close_match(rule.when.variable, variables)
            yield Problem(f"{where}.when.variable", shown(rule.when.variable), "a variable, `entity.point`", hint)
        if isinstance(rule.when.value, float) and not math.isfinite(rule.when.value):
            yield Problem(f"{where}.when.value", shown(rule.when.value), "a finite number")
    yield from _comparisons(settings, sources, place)
    if not settings.sources:
        yield Problem(f"{place}sources", "none", "at least one [[sources]]")
    yield from _state_machines(settings, entities, place)


def _state_machines(settings: Settings, entities: Iterable[str], place: str) -> Iterator[Problem]:
    starts: dict[str, str] = {e.id: e.state for e in settings.entities if e.state is not None}
    for name in sorted({t.entity for t in settings.transitions}.intersection(entities) - starts.keys()):
        yield Problem(f"{place}entities.{name}.state", "nothing", "the state its transitions start from")
    for flaw in flaws(settings.transitions, starts):
        yield Problem(f"{place}transitions[{flaw.place}].{flaw.field}", flaw.found, flaw.wanted)


def _comparisons(settings: Settings, sources: Iterable[Source], place: str) -> Iterator[Problem]:
    points = {variable_path(s.entity, p.name): p for s in sources for p in s.points}
    for i, pair in enumerate(settings.comparisons):
        where = f"{place}comparisons[{i}]"
        for end, name in (("variable", pair.variable), ("with", pair.with_)):
            if name not in points:
                yield Problem(f"{where}.{end}", shown(name), "a variable, `entity.point`", close_match(name, points))
        if pair.variable == pair.with_:
            yield Problem(f"{where}.with", shown(pair.with_), "another variable")
        units = [points[name].unit for name in (pair.variable, pair.with_) if name in points]
        if len(set(units)) > 1:
            yield Problem(where, f"{units[0]} and {units[1]}", "two variables of one unit")
        if pair.within is not None and not 0 < pair.within < math.inf:
            yield Problem(f"{where}.within", shown(pair.within), "a finite number above 0")


def _limits(settings: Settings, path: Path, place: str) -> Iterator[Problem]:
    if settings.sync.interval < MIN_INTERVAL_S:
        yield Problem(f"{place}sync.interval", f"{settings.sync.interval:g} s", f"at least {MIN_INTERVAL_S * 1000:g}ms")
    shortest, longest = settings.sync.limits_s
    if not 0 < shortest <= longest:
        yield Problem(f"{place}sync.longest", f"{longest:g} s", f"at least sync.shortest, {shortest:g} s")
    if settings.upstream is not None:
        yield from _files(settings.upstream, path, f"{place}upstream")
        yield from _mirror(settings.upstream, path, f"{place}upstream")
    for source in settings.sources:
        if isinstance(source, _LET_IN):
            yield from _files(source.access, path, f"{place}sources.{source.name}.access")
        if isinstance(source, FileSettings) and not Path(_located(source.path, path)).is_file():
            yield Problem(f"{place}sources.{source.name}.path", shown(source.path), "a readable file")


def _mirror(upstream: UpstreamSettings, path: Path, place: str) -> Iterator[Problem]:
    if upstream.mirror_key is None:
        if upstream.release == "mirror":
            yield Problem(
                f"{place}.mirror_key",
                "nothing",
                'the public key of the mirror whose receipts release = "mirror" waits for',
            )
        return
    where = Path(_located(upstream.mirror_key, path))
    try:
        if where.is_file():  # else it was told already
            load_public(where)
    except EdgeAgentError as error:
        yield Problem(f"{place}.mirror_key", str(error), "an OpenSSH ed25519 public key")


def _anchored(settings: Settings, sources: tuple[Source, ...], path: Path) -> tuple[Settings, tuple[Source, ...]]:
    """Make what is named on disk absolute: it stands beside agent.toml, wherever the agent is started."""
    agent = settings.agent
    settings = replace(settings, agent=replace(agent, data_dir=_located(agent.data_dir, path)))
    if settings.upstream is not None:
        settings = replace(settings, upstream=_absolute(settings.upstream, path))
    found = []
    for source in sources:
        written = source.settings
        if isinstance(written, _LET_IN):
            written = replace(written, access=_absolute(written.access, path))
        if isinstance(written, FileSettings):
            written = replace(written, path=_located(written.path, path))
        found.append(replace(source, settings=written))
    return settings, tuple(found)


def _absolute(access: Access, path: Path) -> Access:
    named = {field: getattr(access, field, None) for field in FILES}
    return replace(access, **{field: _located(name, path) for field, name in named.items() if name is not None})


def _located(name: str, path: Path) -> str:
    """Return where a file that the configuration at `path` names stands.

    What systemd will hand over stays as it is written where there is no systemd: `check` on another machine.
    """
    folder = os.environ.get(_CREDENTIALS)
    if name.startswith(f"${_CREDENTIALS}/") and folder is not None:
        name = folder + name.removeprefix(f"${_CREDENTIALS}")
    return name if name.startswith(f"${_CREDENTIALS}/") else str(path.absolute().parent / name)


def _files(access: BrokerAccess | TlsAccess, path: Path, place: str) -> Iterator[Problem]:
    for field in FILES:
        name = getattr(access, field, None)
        where = None if name is None else _located(name, path)
        if where is not None and not where.startswith(f"${_CREDENTIALS}/") and not Path(where).is_file():
            yield Problem(f"{place}.{field}", shown(name), "a readable file")
    for fields in _ONE_OF:
        given = [field for field in fields if getattr(access, field, None) is not None]
        if len(given) > 1:
            yield Problem(f"{place}.{given[1]}", " and ".join(given), "one of them")
    if access.key_file is not None and access.cert_file is None:
        yield Problem(f"{place}.cert_file", "nothing", "the certificate of key_file")
