"""A gateway in memory: real worlds, real signed records, and a log that offers what was sealed."""

import msgspec

from edge_agent.model.finding import Anomaly
from edge_agent.model.record import ZERO_DIGEST, Entry, Record, Snapshot
from edge_agent.model.world import Entity, State, Variable, World
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record, seal_snapshot, unseal_record
from edge_agent.seal.squash import digest_in, merge, seal_stretch
from edge_agent.twin.diff import compose, diff

KEY = PrivateKey.from_seed(b"\x01" * 32)
OTHER_KEY = PrivateKey.from_seed(b"\x02" * 32)
ENTITY = "plant:pump:pump"
TURN = (Entry("turn", {"status": "synced"}),)


class Gateway:
    """Seals a record a turn, and is the backlog of a publisher."""

    def __init__(self, world_id="plant", key=KEY):
        self.key = key
        self.world = World(world_id, 0, 0, {}, {}, {}, {})
        self.head = ZERO_DIGEST
        self.acked = 0
        self.acknowledged = []
        self.kept = []
        """(first, last, envelope) in order."""
        self.rotations = b""
        self.successor = None
        self.define("temperature", "flow")

    @property
    def head_seq(self):
        return self.world.version

    def define(self, *names):
        """Seal a record that gives the pump more variables."""
        entities = {ENTITY: Entity(ENTITY, "pump", labels=("north",))}
        first = max(self.world.variables, default=0) + 1
        new = {n: Variable(n, ENTITY, name, "degC", "gauge", "plc") for n, name in enumerate(names, first)}
        rows = {n: State(None, 0, "bad:unknown") for n in new}
        return self.turn(
            entities=entities,
            variables={**self.world.variables, **new},
            states={ENTITY: {**self.world.states.get(ENTITY, {}), **rows}},
        )

    def measure(self, **values):
        """Seal a record with new values; return its envelope."""
        at_ms = 1_000 * (self.head_seq + 1)
        numbers = {v.name: n for n, v in self.world.variables.items()}
        rows = {numbers[name]: State(value, at_ms - 5, "good") for name, value in values.items()}
        return self.turn(states={**self.world.states, ENTITY: {**self.world.states[ENTITY], **rows}})

    def find(self, number=1):
        finding = Anomaly("pump.temperature/shift", number, "shift", "high", "it rose", 7, 0.9, 0.8, ("record:1",))
        return self.turn(findings={finding.id: finding})

    def rotate(self, successor):
        """Seal a record that replaces the key; return its envelope."""
        self.successor = successor
        keys = {"was": self.key.public.raw.hex(), "key": successor.public.raw.hex()}
        envelope = self.turn(audit=(Entry("rotate", keys),))
        self.key, self.successor = successor, None
        self.rotations += envelope
        return envelope

    @property
    def keys(self):
        return Keyring.around(self.key.public, self.rotations)

    def turn(self, audit=TURN, **fields):
        """Seal a record that makes the world as given; return its envelope."""
        seq = self.head_seq + 1
        after = msgspec.structs.replace(self.world, version=seq, at_ms=1_000 * seq, **fields)
        envelope = self.sealed(after, audit)
        self.world = after
        self.kept.append((seq, seq, envelope))
        return envelope

    def sealed(self, after, audit=(), **lies):
        """Return the envelope of the record that leads to `after`, with some of its fields replaced."""
        record = Record(
            world_id=after.world_id,
            seq=after.version,
            prev=self.head,
            boot=bytes(16),
            at_ms=after.at_ms,
            mono_ms=after.at_ms,
            synced=True,
            delta=diff(self.world, after),
            audit=tuple(audit),
            state=state_digest(after),
        )
        sealed = seal_record(msgspec.structs.replace(record, **lies), self.key, self.successor)
        if not lies:
            self.head = sealed.digest
        return sealed.envelope

    def lie(self, **lies):
        """Return the envelope of a next record that is wrong in some field; the gateway itself does not move."""
        rows = {**self.world.states[ENTITY], 1: State(66.0, 1, "good")}
        seq = self.head_seq + 1
        after = msgspec.structs.replace(self.world, version=seq, at_ms=1_000 * seq, states={ENTITY: rows})
        return self.sealed(after, **lies)

    def envelope(self, seq):
        return next(envelope for first, last, envelope in self.kept if first <= seq <= last)

    def snapshot(self, **lies):
        snapshot = Snapshot(self.world, self.head, state_digest(self.world), "request")
        return self.rotations + seal_snapshot(msgspec.structs.replace(snapshot, **lies), self.key)

    def squash(self, first, last):
        """Replace the records from `first` to `last` by one range; return its envelope."""
        inside = [each for each in self.kept if first <= each[0] and each[1] <= last]
        merged = seal_stretch(merge([each[2] for each in inside], self.keys, compose), self.key)
        at = self.kept.index(inside[0])
        self.kept[at : at + len(inside)] = [(first, last, merged)]
        return merged

    def record(self, seq):
        return unseal_record(self.envelope(seq), self.keys)[0]

    # What the publisher wants of a backlog.

    def read(self, first_seq, max_bytes):
        found, size = [], 0
        for _, last, envelope in self.kept:
            if last >= first_seq and (not found or size + len(envelope) <= max_bytes):
                found.append((last, envelope))
                size += len(envelope)
            elif found:
                break
        return found

    @property
    def first_waiting(self):
        first = next((first for first, last, _ in self.kept if last > self.acked), 0)
        return max(first, self.acked + 1)

    def acknowledge(self, seq):
        assert seq > self.acked
        self.acked = seq
        self.acknowledged.append(seq)

    # What receipts are judged by.

    def digest_of(self, seq):
        return next((digest_in(e, seq) for first, last, e in self.kept if first <= seq <= last), None)
