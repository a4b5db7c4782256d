"""A verifier written from reference/formats.md by somebody who has nothing else: no line of it is the project's."""

import hashlib
import json
import struct

import msgpack
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from golden import PATH, ROTATION_PATH, rotation_vectors, vectors

VECTORS = json.loads(PATH.read_text())
ROTATION = json.loads(ROTATION_PATH.read_text())
PREFIX = "application/vnd.edge-agent."


def canonical(value):
    """§1: maps sorted, shortest forms; this library writes the rest as the page wants it."""

    def ordered(v):
        if isinstance(v, dict):
            return {k: ordered(v[k]) for k in sorted(v, key=lambda k: k.encode() if isinstance(k, str) else k)}
        return [ordered(each) for each in v] if isinstance(v, list) else v

    return msgpack.packb(ordered(value))


def parse(data):
    value = msgpack.unpackb(data, strict_map_key=False)
    assert canonical(value) == data
    return value


def name_of(key):
    return hashlib.sha256(key).hexdigest()[:16]


class Keys:
    """§2: one public key taken by hand, and §2.1: those that rotating records lead to, with how far each speaks."""

    def __init__(self, first):
        self.reach = {first: None}

    def opened(self, envelope, kind):
        """Verify first, then parse."""
        found = parse(envelope)
        payload, name, signatures = found["payload"], found["payloadType"], found["signatures"]
        assert name == f"{PREFIX}{kind}+msgpack"
        signed = b"DSSEv1 %d %s %d %s" % (len(name), name.encode(), len(payload), payload)
        key = next(each for each in self.reach if name_of(each) == signatures[0]["keyid"])
        Ed25519PublicKey.from_public_bytes(key).verify(signatures[0]["sig"], signed)
        body = parse(payload)
        last = body["to" if kind == "squash" else "seq"]
        assert self.reach[key] is None or last <= self.reach[key]
        rotations = [facts for entry, facts in body["audit"] if entry == "rotate"] if kind == "record" else []
        assert len(signatures) == 1 + len(rotations)
        for facts in rotations:
            new = bytes.fromhex(facts["key"])
            assert key == bytes.fromhex(facts["was"])
            assert signatures[1]["keyid"] == name_of(new)
            Ed25519PublicKey.from_public_bytes(new).verify(signatures[1]["sig"], signed)
            assert self.reach[key] in (None, last)
            self.reach |= {key: last, new: self.reach.get(new)}
        return payload, body


def replace(table, changes):
    for key, row in changes.items():
        table.pop(key, None)
        if row is not None:
            table[key] = row


class Twin:
    """§3 and §4: entities, variables, states and findings as plain maps and rows."""

    def __init__(self, key=VECTORS["public_key"]):
        self.keys = Keys(bytes.fromhex(key))
        self.world, self.seq, self.digest = None, 0, bytes(32)
        self.entities, self.variables, self.states, self.findings = {}, {}, {}, {}

    def apply(self, delta, at):
        replace(self.entities, delta.get("entities", {}))
        replace(self.variables, delta.get("variables", {}))
        unread = [None, 0, "bad:unknown"]
        replace(self.states, {n: row and unread for n, row in delta.get("variables", {}).items()})
        for age, quality, gaps, column in delta.get("states", []):
            values = struct.unpack(f">{len(gaps)}f", column) if isinstance(column, bytes) else column
            number = 0
            for gap, value in zip(gaps, values, strict=True):
                number += gap
                self.states[number] = [value, at - age, quality]
        replace(self.findings, delta.get("findings", {}))

    def state(self):
        digests = {key: self._entity(key) for key in self.entities}
        return hashlib.sha256(canonical(["world", 1, self.world, digests])).digest()

    def _entity(self, key):
        rows = {n: [*v[1:], *self.states[n]] for n, v in self.variables.items() if v[0] == key}
        findings = {i: row for i, row in self.findings.items() if self.variables[row[0]][0] == key}
        return hashlib.sha256(canonical(["entity", 1, self.entities[key] | {"id": key}, rows, findings])).digest()

    def take(self, envelope):
        payload, record = self.keys.opened(envelope, "record")
        assert record["v"] == 1
        assert (record["seq"], record["prev"]) == (self.seq + 1, self.digest)
        self.world = record["world"]
        self.apply(record["delta"], record["at"])
        assert self.state() == record["state"]
        self.seq, self.digest = record["seq"], hashlib.sha256(payload).digest()

    def take_snapshot(self, envelope):
        _, found = self.keys.opened(envelope, "snapshot")
        self.world, self.seq, self.digest = found["world"], found["seq"], found["head"]
        self.entities, self.variables = found["entities"], found["variables"]
        self.states, self.findings = found["states"], found["findings"]
        assert self.state() == found["state"]

    def take_range(self, envelope):
        _, found = self.keys.opened(envelope, "squash")
        digests = [found["digests"][i : i + 32] for i in range(0, len(found["digests"]), 32)]
        assert len(digests) == found["to"] - found["from"] + 1
        known = found["prev"] if self.seq == found["from"] - 1 else digests[self.seq - found["from"]]
        assert known == self.digest
        self.world = found["world"]
        self.apply(found["delta"], found["at"])
        assert self.state() == found["state"]
        self.seq, self.digest = found["to"], digests[-1]


RECORDS = [bytes.fromhex(each["envelope"]) for each in VECTORS["records"]]


def test_the_bytes_of_version_1_are_what_they_were():
    assert vectors() == VECTORS
    assert rotation_vectors() == ROTATION


def test_a_stranger_verifies_every_record_from_the_page_alone():
    twin = Twin()
    for envelope, each, state in zip(RECORDS, VECTORS["records"], VECTORS["states"][1:], strict=True):
        twin.take(envelope)
        assert (twin.digest.hex(), twin.state().hex()) == (each["digest"], state)
    assert twin.states[1] == [0.0, 1_764_000_001_900, "good"]


def test_a_stranger_begins_at_a_snapshot_and_goes_on():
    twin = Twin()
    twin.take_snapshot(bytes.fromhex(VECTORS["snapshot"]))
    twin.take(RECORDS[2])
    assert twin.state().hex() == VECTORS["states"][3]


@pytest.mark.parametrize("known", [1, 2])
def test_a_stranger_follows_a_squashed_range_from_any_record_within_it(known):
    twin = Twin()
    for envelope in RECORDS[:known]:
        twin.take(envelope)
    twin.take_range(bytes.fromhex(VECTORS["squashed_2_to_3"]))
    assert twin.state().hex() == VECTORS["states"][3]
    assert twin.digest.hex() == VECTORS["records"][2]["digest"]


def test_a_stranger_sees_a_flipped_bit():
    broken = bytearray(RECORDS[1])
    broken[len(broken) // 2] ^= 1
    with pytest.raises((InvalidSignature, AssertionError, ValueError, KeyError)):
        Keys(bytes.fromhex(VECTORS["public_key"])).opened(bytes(broken), "record")


def test_the_key_id_is_made_as_the_page_says():
    assert hashlib.sha256(bytes.fromhex(VECTORS["public_key"])).hexdigest()[:16] == VECTORS["keyid"]


ROTATED = [bytes.fromhex(each["envelope"]) for each in ROTATION["records"]]


def test_a_stranger_follows_a_rotation_from_the_key_it_took_at_install():
    twin = Twin(ROTATION["first_public_key"])
    for envelope in ROTATED:
        twin.take(envelope)
    assert twin.state().hex() == ROTATION["state"]
    assert list(twin.keys.reach.values()) == [3, None]


def test_a_stranger_with_the_rotating_records_reads_ranges_and_snapshots_that_the_new_key_signed():
    for name, take in (("squashed_1_to_3", Twin.take_range), ("snapshot", Twin.take_snapshot)):
        twin = Twin(ROTATION["first_public_key"])
        with pytest.raises(StopIteration):
            take(twin, bytes.fromhex(ROTATION[name]))
        twin.keys.opened(bytes.fromhex(ROTATION["rotations"]), "record")
        take(twin, bytes.fromhex(ROTATION[name]))


def test_a_stranger_refuses_what_the_old_key_says_after_it_was_replaced():
    twin = Twin(ROTATION["first_public_key"])
    for envelope in ROTATED[:3]:
        twin.take(envelope)
    with pytest.raises(AssertionError):
        twin.take(bytes.fromhex(ROTATION["record_4_by_the_old_key"]))


def test_a_stranger_refuses_a_rotation_without_the_new_keys_signature():
    found = parse(ROTATED[2])
    found["signatures"] = found["signatures"][:1]
    with pytest.raises(AssertionError):
        Keys(bytes.fromhex(ROTATION["first_public_key"])).opened(canonical(found), "record")
