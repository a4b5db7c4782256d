"""What messages of one device on a broker say of its points, and of when.

A message need not hold every point: what it does not hold has not been read. Nothing is dated anew for being told
again: a device's own time dates its message; a retained message without one is of an unknown time, so that its values
are uncertain; and what was heard already is dated as it was then, or not taken.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from edge_agent.model.checked import shown
from edge_agent.model.errors import Problem, WireError
from edge_agent.model.profile import Availability, PathPoint
from edge_agent.model.reading import GOOD, Anchor, Instant, Reading, bad, uncertain
from edge_agent.model.site import MqttSettings, Source
from edge_agent.model.strict_json import Json
from edge_agent.twin.dating import Dating
from edge_agent.twin.paths import MISSING, Path, compile_path, find, own_time_ms, parse_message, path_value
from edge_agent.twin.topics import filled, is_device, is_filter, matches

_TOPICS = 1000
"""Topics of one source of which it is remembered what was heard last."""
_TOPIC_CHARACTERS = 80


class Ear(NamedTuple):
    """What is heard on one topic."""

    topic: str
    points: Sequence[tuple[PathPoint, Path]]
    tells_availability: bool = False


class Heard(NamedTuple):
    """The last message on a topic, in short."""

    digest: int
    session: int
    at: Instant


class Device:
    """One source, and what is remembered of it while the agent runs."""

    def __init__(self, source: Source, settings: MqttSettings, ears: Sequence[Ear], time: Path | None) -> None:
        self.ears = ears
        self._name, self._stale_s, self._time = source.name, settings.stale_after, time
        self._names = [point.name for point in source.points]
        self._availability = settings.availability
        self._gone = False
        self._dating = Dating()
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._session = 0
        self._tells_again = False

    @property
    def topics(self) -> list[str]:
        """The filters it listens to, that of its first point first."""
        return [ear.topic for ear in self.ears]

    def wants(self, topic: str) -> bool:
        """Whether a message on this topic may tell of it."""
        return any(matches(ear.topic, topic) for ear in self.ears)

    def connected(self, *, after_loss: bool) -> None:
        """Note that a session begins, in which the broker will send anew what it retains.

        `after_loss`: the one before was lost, so that all values are bad; what is known is worth telling again.
        """
        self._session += 1
        self._tells_again = after_loss

    def take(self, topic: str, payload: bytes, at: Instant, *, retained: bool, dropped: Counter[str]) -> list[Reading]:
        """Return what a message says; nothing when it is not news. Raises WireError when it is no message."""
        harmless = "".join(c if c.isprintable() else "?" for c in topic)[:_TOPIC_CHARACTERS]
        last, digest = self._heard.get(topic), hash(payload)
        known = retained and last is not None and last.digest == digest
        if retained and last is not None and (last.session == self._session or (known and not self._tells_again)):
            return []
        if known and last is not None:
            at = last.at
        self._remember(topic, Heard(digest, self._session, at))
        try:
            message = parse_message(payload)
        except WireError as error:
            raise WireError(f"{harmless}: {error}", error.reason) from error
        anchor = Anchor(self._name, harmless, at)
        ears = [ear for ear in self.ears if matches(ear.topic, topic)]
        told = [self._availability_told(message, anchor, dropped) for ear in ears if ear.tells_availability]
        readings = [reading for each in told for reading in each]
        found = [
            (point, where)
            for ear in ears
            for point, path in ear.points
            if (where := find(path, message)) is not MISSING
        ]
        if found:
            readings += self._dated(topic, message, anchor, found, retained=retained, dropped=dropped)
        return readings

    def _remember(self, topic: str, heard: Heard) -> None:
        self._heard[topic] = heard
        self._heard.move_to_end(topic)
        if len(self._heard) > _TOPICS:
            self._heard.popitem(last=False)

    def _availability_told(self, message: Json, anchor: Anchor, dropped: Counter[str]) -> list[Reading]:
        assert self._availability is not None
        said = availability(self._availability, message)
        if said is None:
            dropped["unknown availability"] += 1
            return []
        self._gone = not said
        return [Reading(anchor, name, None, bad("offline")) for name in self._names] if self._gone else []

    def _dated(
        self,
        topic: str,
        message: Json,
        anchor: Anchor,
        found: Sequence[tuple[PathPoint, Json]],
        *,
        retained: bool,
        dropped: Counter[str],
    ) -> list[Reading]:
        own_ms = None if self._time is None else own_time_ms(self._time, message)
        date = self._dating.date(topic, own_ms, anchor.at, self._stale_s)
        if date.verdict == "older" or (date.verdict == "known" and not retained):
            dropped["told before" if date.verdict == "known" else "older than known"] += 1
            return []
        if retained and self._gone:
            dropped["retained of a device that has gone"] += 1
            return []
        doubt = uncertain("stale") if retained and own_ms is None else date.quality
        anchor = Anchor(anchor.source, anchor.detail, date.at)
        readings = []
        for point, where in found:
            value, quality = path_value(point, where)
            readings.append(Reading(anchor, point.name, value, doubt if quality == GOOD else quality))
        return readings


def availability(rule: Availability, message: Json) -> bool | None:
    """Return whether a message says that a device is there; None when it says neither."""
    where = find(compile_path(rule.path), message) if isinstance(message, (dict, list)) else message
    said = str(where).lower() if isinstance(where, bool) else where
    return True if said in rule.online else False if said in rule.offline else None


def device(source: Source, settings: MqttSettings, place: str, problems: list[Problem]) -> Device:
    """Return what listens to a source; what is wrong with its topics and paths is added to the problems."""
    if settings.device is not None and not is_device(settings.device):
        problems.append(Problem(f"{place}.device", shown(settings.device), "a name without + and #"))
    main = None if settings.topic is None else _topic(settings.topic, settings, None, f"{place}.topic", problems)
    ears: dict[str, list[tuple[PathPoint, Path]]] = {}
    for point in source.points:
        if not isinstance(point, PathPoint):
            continue
        where = f"{place}.points.{point.name}"
        if point.topic is None and settings.topic is None:
            problems.append(Problem(f"{place}.topic", "nothing", "a topic, here or in the profile"))
            break
        topic = main if point.topic is None else _topic(point.topic, settings, main, f"{where}.topic", problems)
        path = _path(point.path, f"{where}.path", problems)
        if topic is not None and path is not None:
            ears.setdefault(topic, []).append((point, path))
    listening = [Ear(topic, points) for topic, points in ears.items()]
    if settings.availability is not None:
        _path(settings.availability.path, f"{place}.availability.path", problems)
        topic = _topic(settings.availability.topic, settings, main, f"{place}.availability.topic", problems)
        listening += [] if topic is None else [Ear(topic, (), tells_availability=True)]
    time = None if settings.time is None else _path(settings.time, f"{place}.time", problems)
    return Device(source, settings, listening, time)


def _topic(template: str, settings: MqttSettings, main: str | None, place: str, problems: list[Problem]) -> str | None:
    try:
        topic = filled(template, settings.device, main)
    except ValueError as error:
        problems.append(Problem(place, shown(template), str(error)))
        return None
    if not is_filter(topic):
        problems.append(Problem(place, shown(topic), "a topic, with + for one level and # for all at its end"))
        return None
    return topic


def _path(text: str, place: str, problems: list[Problem]) -> Path | None:
    try:
        return compile_path(text)
    except ValueError as error:
        problems.append(Problem(place, shown(text), str(error).removeprefix("wanted ")))
        return None
