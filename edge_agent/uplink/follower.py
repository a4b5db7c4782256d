"""Follows one gateway's chain from outside and believes nothing that does not verify. Pure: envelopes in, changes out.

What does not fit is told apart: what we have already is passed over, what leaves records out is a `Gap` to be
asked for, and what the gateway's own key signed but cannot be true, or what somebody else signed, is a lie and is
raised. Whatever is raised or returned as a gap leaves the follower as it was.

One that begins at a snapshot has not seen what stands before it. Records from there are taken late, when they come:
nothing in the world changes by them, their audit entries are told, and where they join what is known, `past` grows.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.finding import Anomaly
from edge_agent.model.layout import variable_path
from edge_agent.model.reading import Value
from edge_agent.model.record import ZERO_DIGEST, Entry, Snapshot
from edge_agent.model.world import Delta, Entity, Variable, World
from edge_agent.seal.canonical import split
from edge_agent.seal.digest import Digests, entity_digests, root_digest
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import Span, Stretch, ground_of, span_of, unseal_stretch
from edge_agent.twin.diff import apply, diff
from edge_agent.uplink.place import Place

_REMEMBERED = 4096
"""Digests of so many records are kept, to tell a repetition from a fork: 32 bytes each."""
_APART = 8
"""So many stretches apart from the present are remembered until somebody asks for them. The first ones, for it is the
oldest records that a gateway waits for; the others come again."""


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A variable has a new value, quality or time of reading."""

    path: str
    """`entity.name`, as it is called on site."""
    value: Value
    unit: str | None
    quality: str
    at_ms: int
    """Wall time of the reading that brought the value."""
    seq: int
    """The record that says so; for every change."""


@dataclass(frozen=True, slots=True)
class EntityChange:
    """An entity's head is new, different, or gone (None)."""

    id: str
    now: Entity | None
    seq: int


@dataclass(frozen=True, slots=True)
class VariableChange:
    """A variable is defined, defined differently, or gone (None)."""

    path: str
    now: Variable | None
    seq: int


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding was opened, has developed, or was closed (None)."""

    id: str
    now: Anomaly | None
    seq: int


@dataclass(frozen=True, slots=True)
class AuditTold:
    """An entry of the audit trail."""

    entry: Entry
    at_ms: int
    """Wall time of its record."""
    seq: int


@dataclass(frozen=True, slots=True)
class DetailMissed:
    """What happened in between is not known: `first` to `last` came as one. The state after them is verified.

    `why` is "squashed" (the gateway had to, and the audit entries are still all there) or "snapshot" (the audit
    entries were missed too, unless they are still told: late ones have a `seq` up to `last`).
    """

    first: int
    last: int
    why: str
    seq: int


Change = ValueChange | EntityChange | VariableChange | FindingChange | AuditTold | DetailMissed


class Gap(NamedTuple):
    """Records that must be had before the one that was taken can be verified."""

    first: int
    last: int


class Follower:
    """The twin of one gateway, verified up to record `seq`. It begins before the first record, knowing nothing.

    `counts` tells `records`, `duplicates`, `late` (before what we began with), `snapshots` (taken over) and `gaps`.
    """

    @classmethod
    def at(cls, place: Place) -> "Follower":
        """Return one that goes on from where another one was."""
        world, found = place.snapshot.world, cls(place.snapshot.world.world_id, place.keys.keys[0])
        found.world, found.keys, found.lied = world, place.keys, place.lied
        found._entity_digests = entity_digests(world)
        found._records = OrderedDict({world.version: place.snapshot.head})
        found._since, found._before = place.since, place.before
        return found

    def __init__(self, world_id: str, key: PublicKey) -> None:
        self.world = World(world_id, 0, 0, {}, {}, {}, {})
        self.gap: Gap | None = None
        """What is missing as far as is known."""
        self.lied = False
        """The gateway's own key signed what cannot be true. No snapshot moves the follower any more: a fork would
        be healed unseen. Whom to believe is for a person to decide, who then begins with a new follower."""
        self.counts: Counter[str] = Counter()
        self.keys = Keyring(key)
        """The gateway's keys, as far as they are known: from the one that was given."""
        self._entity_digests: Digests = {}
        self._records = OrderedDict({0: ZERO_DIGEST})
        """Digests of the last records by number; the last one is that of record `seq`."""
        self._since, self._before = 1, ZERO_DIGEST
        """From which record on each was verified, and the digest of the one before it."""
        self._late: Span | None = None
        """What was verified of the records before `_since`, as far as it is one stretch."""
        self._apart: list[Span] = []

    @property
    def seq(self) -> int:
        """The last record that was verified; 0 when there is none."""
        return self.world.version

    @property
    def head(self) -> bytes:
        """The digest of record `seq` (32 bytes)."""
        return self._records[self.seq]

    @property
    def place(self) -> Place:
        """What another follower can go on from."""
        snapshot = Snapshot(self.world, self.head, self.state, "place")
        return Place(snapshot, self._since, self._before, self.keys, self.lied)

    @property
    def past(self) -> Span:
        """The records up to `seq` each of which was verified; `seq` + 1 to `seq` when it is none but a snapshot."""
        return Span(self._since, self.seq, self._before, self.head)

    def take_apart(self) -> list[Span]:
        """Return stretches that were verified too, and between which and the present something is missing.

        All that came since the last call, the one that may still grow each time.
        """
        apart = [*self._apart, *([] if self._late is None else [self._late])]
        self._apart.clear()
        return apart

    @property
    def state(self) -> bytes:
        """The digest of the world (32 bytes): equal to what record `seq` says."""
        return root_digest(self.world.world_id, self._entity_digests)

    def take(self, envelope: bytes) -> list[Change] | Gap:
        """Take a record or a squashed range, and return what it changes; nothing when it is a repetition.

        Returns the gap when records before it are missing: give it again when they were taken. Raises TrustError
        or WireError when it is not the gateway's, contradicts what was verified before, or does not lead to the
        state that it claims; UnknownKeyError when it may only be that the gateway's key was replaced.
        """
        span = span_of(envelope)
        if span.first < self._since and span.last <= self.seq:
            return self._taken_late(envelope)
        if span.last <= self.seq:
            return self._repeated(envelope, span)
        stretch = unseal_stretch(envelope, self.keys)
        where = _where(stretch.first, stretch.last)
        self._check_world(where, stretch.world_id)
        if stretch.first > self.seq + 1:
            self.counts["gaps"] += self.gap is None
            self.gap = Gap(self.seq + 1, max(stretch.first - 1, self.gap.last if self.gap else 0))
            return Gap(self.seq + 1, stretch.first - 1)
        self._check_chain(where, stretch)
        try:
            world = apply(ground_of(stretch, self.world), stretch.delta, stretch.last, stretch.at_ms)
            digests = entity_digests(world, (self.world, self._entity_digests))
        except (WireError, KeyError) as error:  # KeyError: a finding about a variable that is gone
            raise self._lie(f"{where}: its delta cannot be applied: {error}") from error
        if root_digest(world.world_id, digests) != stretch.state:
            raise self._lie(f"{where}: its delta does not lead to the state digest that it claims")
        self.keys = self.keys.after(stretch)
        return self._advanced(stretch, world, digests)

    def take_snapshot(self, payload: bytes, *, jump: bool = False) -> list[Change]:
        """Take a snapshot, behind the rotations of the gateway's key if there were any.

        It moves the follower forward when it knows nothing, or has a gap to be healed. Otherwise it is only compared,
        because the records up to it say more; `jump` gives them up. Raises TrustError or WireError when it is not
        the gateway's or contradicts what was verified.
        """
        *rotations, envelope = split(payload) or [b""]
        self._learn(rotations)
        try:
            snapshot = unseal_snapshot(envelope, self.keys)
        except KeyError as error:
            raise self._lie(f"snapshot: a finding is about variable {error}, which is not defined") from error
        seq = snapshot.world.version
        where = f"snapshot at record {seq}"
        self._check_world(where, snapshot.world.world_id)
        self._check_same(where, seq, snapshot.head)
        if seq == self.seq and snapshot.state != self.state:
            raise self._lie(f"{where}: its world is not the one that this record led to")
        if self.lied or seq <= self.seq or not (jump or self.seq == 0 or self.gap is not None):
            return []
        return self._jumped(snapshot)

    def _learn(self, rotations: list[bytes]) -> None:
        """Follow the gateway to its newest key; what it was when we passed that record cannot change any more."""
        keys = self.keys.extended(rotations)
        for rotation in keys.rotations[len(self.keys.rotations) :]:
            where = f"rotation in record {rotation.seq}"
            self._check_world(where, rotation.world_id)
            if 0 < rotation.seq <= self.seq:
                raise self._lie(f"{where}: a fork of the chain: no key was replaced there when we verified it")
        self.keys = keys

    def _repeated(self, envelope: bytes, span: Span) -> list[Change]:
        """Pass over what we have, unless it is another record of the same number and the gateway signed it."""
        if self._records.get(span.last, span.digest) != span.digest:
            unseal_stretch(envelope, self.keys)  # a forgery is told from a fork
        self._check_same(_where(span.first, span.last), span.last, span.digest)
        self.counts["duplicates"] += 1
        return []

    def _taken_late(self, envelope: bytes) -> list[Change]:
        """Take a record, or a range, that begins before all that we have; see the top of this file."""
        stretch = unseal_stretch(envelope, self.keys)
        where = _where(stretch.first, stretch.last)
        self._check_world(where, stretch.world_id)
        self._check_chain(where, stretch)
        last = min(stretch.last, self._since - 1)
        span = Span(stretch.first, last, stretch.prev, stretch.digests[last - stretch.first])
        late = self._late
        if late is not None and late.first <= span.first and span.last <= late.last:
            self.counts["duplicates"] += 1
            return []
        if last == self._since - 1 and span.digest != self._before:
            raise self._lie(f"{where}: a fork of the chain: it is not the one that record {self._since} follows")
        if late is not None and (span.first, span.prev) == (late.last + 1, late.digest):
            span = span._replace(first=late.first, prev=late.prev)
        elif late is not None:
            self._put_apart(late)
        self._late = span
        if span.last == self._since - 1:
            self._since, self._before, self._late = span.first, span.prev, None
        self.counts["late"] += 1
        return [AuditTold(told.entry, told.at_ms, told.seq) for told in stretch.audit if told.seq <= last]

    def _put_apart(self, span: Span) -> None:
        if len(self._apart) < _APART:
            self._apart.append(span)

    def _check_world(self, where: str, world_id: str) -> None:
        if world_id != self.world.world_id:
            raise self._lie(f"{where}: got world {world_id[:80]!r}, wanted {self.world.world_id!r}")

    def _check_chain(self, where: str, stretch: Stretch) -> None:
        """Check that the stretch goes on from our last record, wherever in the stretch that is."""
        for seq, digest in enumerate((stretch.prev, *stretch.digests), stretch.first - 1):
            self._check_same(where, seq, digest)

    def _check_same(self, where: str, seq: int, digest: bytes) -> None:
        if self._records.get(seq, digest) != digest:
            raise self._lie(
                f"{where}: a fork of the chain: it says that record {seq} is {digest.hex()[:16]}…, "
                f"and we verified {self._records[seq].hex()[:16]}…: a cloned card, a restored image, or tampering"
            )

    def _lie(self, text: str) -> TrustError:
        self.lied = True
        return TrustError(text)

    def _advanced(self, stretch: Stretch, world: World, digests: Digests) -> list[Change]:
        before, seq = self.world, stretch.last
        changes: list[Change] = []
        if stretch.last > stretch.first:
            changes.append(DetailMissed(max(stretch.first, self.seq + 1), seq, "squashed", seq))
        changes += [
            AuditTold(told.entry, told.at_ms, told.seq)
            for told in stretch.audit
            if told.seq > before.version or told.seq < self._since
        ]
        if stretch.first < self._since:  # a range that begins before the snapshot that we began with
            self._since, self._before = stretch.first, stretch.prev
        self._move(world, digests)
        for number, digest in enumerate(stretch.digests, stretch.first):
            self._remember(number, digest)
        self.counts["records"] += 1
        return changes + changes_between(before, world)

    def _jumped(self, snapshot: Snapshot) -> list[Change]:
        before, world = self.world, snapshot.world
        missed: list[Change] = (
            [DetailMissed(self.seq + 1, world.version, "snapshot", world.version)] if self.seq else []
        )
        if self.past.first <= self.past.last:
            self._put_apart(self.past)
        self._since, self._before, self._late = world.version + 1, snapshot.head, None
        self._move(world, entity_digests(world))
        self._records.clear()  # what lies between is not known, so nothing older can be compared
        self._remember(world.version, snapshot.head)
        self.counts["snapshots"] += 1
        return missed + changes_between(before, world)

    def _move(self, world: World, digests: Digests) -> None:
        self.world = world
        self._entity_digests = digests
        if self.gap is not None:
            self.gap = Gap(self.seq + 1, self.gap.last) if self.seq < self.gap.last else None

    def _remember(self, seq: int, digest: bytes) -> None:
        self._records[seq] = digest
        if len(self._records) > _REMEMBERED:
            self._records.popitem(last=False)


def changes_between(before: World, after: World) -> list[Change]:
    """Return what differs between two worlds, in the order in which it can be understood."""
    return list(_changes(diff(before, after), before, after))


def _changes(delta: Delta, before: World, after: World) -> Iterator[Change]:
    seq = after.version
    for key, entity in delta.entities.items():
        yield EntityChange(key, entity, seq)
    for number, definition in delta.variables.items():
        yield VariableChange(_path(definition or before.variables[number]), definition, seq)
    for number, state in delta.states.items():
        v = after.variables[number]
        yield ValueChange(_path(v), state.value, v.unit, state.quality, state.at_ms, seq)
    for key, finding in delta.findings.items():
        yield FindingChange(key, finding, seq)


def _path(v: Variable) -> str:
    return variable_path(v.entity, v.name)


def _where(first: int, last: int) -> str:
    return f"record {last}" if first == last else f"records {first} to {last}"
