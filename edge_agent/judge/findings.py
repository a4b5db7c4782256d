"""From alarms to findings: those of one entity become one finding with several witnesses.

What a detector raises is an alarm of one variable. On its way into the world it joins the others of its entity, in
one of two parties: alarms that say what the process does, and alarms that say that readings fail. When most of what
one device gives fails at once, the finding speaks of the device and not of its variables. A comparison or a conflict
of two variables is a finding of its own.

A finding keeps the id of the alarm it began with, grows graver and never milder while it lasts, and ends with the last
of its witnesses. One that a person acknowledged is quiet until it changes: until it becomes graver, another witness
joins, or one of them is said anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_agent.judge.severity import at_least, weighed, worst
from edge_agent.judge.words import clock, listed
from edge_agent.model.checked import changed
from edge_agent.model.finding import SEVERITIES, Acknowledgement, Anomaly
from edge_agent.model.layout import local_name
from edge_agent.model.record import Entry, Fact
from edge_agent.model.world import World, home

DEVICE = "device"
FAILING = frozenset({"missing", "stuck", "still", DEVICE})
"""Kinds that say that readings fail."""
ALONE = frozenset({"difference", "conflict"})
"""Kinds of which each alarm is a finding of its own."""
MOST = 0.5
"""More than this share of a device's variables failing at once is the device; one wire carries them all."""

Alarms = Mapping[str, Anomaly]
"""By id."""


def alarms_of(findings: Mapping[str, Anomaly]) -> dict[str, Anomaly]:
    """Return the alarms that findings were made of, by id: what the statistics have said and still hold to."""
    alarms = [each for f in findings.values() for each in f.witnesses or (changed(f, acknowledged=None),)]
    return {alarm.id: alarm for alarm in alarms}


def group(
    alarms: Alarms, known: Mapping[str, Anomaly], world: World, at_ms: int, weight: Mapping[int, float]
) -> Alarms:
    """Return the findings that the open alarms come to, by id. `known` are those of the turn before.

    `weight` is the criticality (0..1) of each variable's entity.
    """
    parties: dict[tuple[str, str], list[Anomaly]] = {}
    for alarm in alarms.values():
        parties.setdefault(_party(alarm, world), []).append(alarm)
    standing = {_party(finding, world): finding for finding in known.values()}
    found = [_joined(party, standing.get(key), world, at_ms, weight) for key, party in parties.items()]
    return {finding.id: finding for finding in found}


def endings(before: Mapping[str, Anomaly], after: Mapping[str, Anomaly], at_ms: int) -> Iterator[Entry]:
    """Give an entry for each finding that ended with this turn: what it came to, and from when to when it lasted."""
    for key in before.keys() - after.keys():
        was = before[key]
        facts: dict[str, Fact] = {"finding": key, "severity": was.severity, "since": was.since_ms, "until": at_ms}
        yield Entry("ended", facts | {"sentence": was.sentence})


def acknowledge(findings: Alarms, asks: Iterable[Acknowledgement]) -> tuple[Alarms, tuple[Entry, ...]]:
    """Return the findings with those marked that a person says are known, and an entry for each that was asked for."""
    marked = dict(findings)
    entries = []
    for ask in asks:
        finding = marked.get(ask.finding)
        if finding is not None:
            marked[ask.finding] = changed(finding, acknowledged=ask.by)
        told = None if finding is None else finding.sentence
        entries.append(
            Entry("acknowledge", {"finding": ask.finding, "by": ask.by, "open": finding is not None, "sentence": told})
        )
    return marked, tuple(entries)


def loud(findings: Iterable[Anomaly]) -> list[Anomaly]:
    """Return the findings that nobody has acknowledged since they last changed, the gravest first."""
    heard = [finding for finding in findings if finding.acknowledged is None]
    return sorted(heard, key=lambda finding: (-SEVERITIES.index(finding.severity), finding.since_ms, finding.id))


def _party(alarm: Anomaly, world: World) -> tuple[str, str]:
    if alarm.kind in ALONE:
        return alarm.id.rpartition("/")[0], alarm.kind
    entity = home(world, world.variables[alarm.number].entity)
    return entity, "failing" if alarm.kind in FAILING else "process"


def _joined(
    party: Sequence[Anomaly], known: Anomaly | None, world: World, at_ms: int, weight: Mapping[int, float]
) -> Anomaly:
    ordered = sorted(party, key=lambda alarm: (alarm.since_ms, alarm.id))
    first = known or ordered[0]
    lead = max(ordered, key=lambda alarm: SEVERITIES.index(alarm.severity))
    since_ms = min(first.since_ms, ordered[0].since_ms)
    severity = weighed(lead.severity, (at_ms - since_ms) / 1000, max(weight[alarm.number] for alarm in party))
    device = _device(ordered, world)
    found = Anomaly(
        id=first.id,
        number=first.number,
        kind=lead.kind if device is None else DEVICE,
        severity=severity if known is None else worst(severity, known.severity),
        sentence=_agreed(lead, ordered, world) if device is None else device,
        since_ms=since_ms,
        score=max(alarm.score for alarm in party),
        confidence=max(alarm.confidence for alarm in party),
        anchors=tuple(dict.fromkeys(anchor for alarm in ordered for anchor in alarm.anchors)),
    )
    if len(ordered) > 1 or found != ordered[0]:
        found = changed(found, witnesses=tuple(ordered))
    quiet = known is not None and not _changed(known, found)
    return changed(found, acknowledged=known.acknowledged) if known is not None and quiet else found


def _changed(known: Anomaly, found: Anomaly) -> bool:
    """Whether there is news in a finding that stood before."""
    told = {alarm.id: alarm.sentence for alarm in alarms_of({known.id: known}).values()}
    said = alarms_of({found.id: found}).values()
    graver = known.severity != found.severity and at_least(found.severity, known.severity)
    return graver or any(told.get(alarm.id) != alarm.sentence for alarm in said)


def _agreed(lead: Anomaly, party: Iterable[Anomaly], world: World) -> str:
    """Return the sentence of the alarm that leads, and which other variables of the entity say so too."""
    others = [alarm.number for alarm in party if alarm.number != lead.number]
    names = list(dict.fromkeys(world.variables[number].name for number in others))
    return f"{lead.sentence}; {listed(names)} agree{'s' if len(names) == 1 else ''}" if names else lead.sentence


def _device(party: Sequence[Anomaly], world: World) -> str | None:
    """Return the sentence about a device that fails as a whole, or None when it does not."""
    failing = {alarm.number: alarm for alarm in party if alarm.kind in FAILING}
    sources = Counter(world.variables[number].source for number in failing)
    if not sources:
        return None
    source, count = sources.most_common(1)[0]
    given = sum(variable.source == source for variable in world.variables.values())
    if count < 2 or count <= MOST * given:  # noqa: PLR2004 - one variable is not several
        return None
    numbers = [number for number in failing if world.variables[number].source == source]
    entity = local_name(world.variables[numbers[0]].entity)
    names = listed([world.variables[number].name for number in numbers])
    since = clock(min(failing[number].since_ms for number in numbers))
    return f"{entity}: {count} of the {given} variables that {source} gives fail since {since}: {names}; the device, not the process"
