"""The test vectors of reference/formats.md, from a fixed key: python tests/seal/golden.py writes them anew.

tests/seal/test_stranger.py reads them with nothing of this project but the page. A change of these bytes is a change
of the format: it needs a new version number, and the old file stays.
"""

import itertools
import json
from pathlib import Path

from msgspec.structs import replace

from edge_agent.model.finding import Anomaly
from edge_agent.model.record import ZERO_DIGEST, Entry, Record, Snapshot
from edge_agent.model.world import Entity, State, Variable, World, replace_entity, replace_world
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record, seal_snapshot
from edge_agent.seal.squash import merge, seal_stretch
from edge_agent.twin.baseline import empty_world
from edge_agent.twin.diff import UNREAD, compose, diff

PATH = Path(__file__).resolve().parents[2] / "reference" / "examples" / "vectors-1.json"
KEY = PrivateKey.from_seed(bytes(range(32)))
ROTATION_PATH = PATH.with_name("vectors-1-rotation.json")
NEXT_KEY = PrivateKey.from_seed(bytes(range(32, 64)))
AT_MS = 1_764_000_000_000
PUMP = "boiler-house:pump:pump"


def worlds() -> list[World]:
    """Return the worlds before and after each of four records.

    Defined; read; one value back and one gone bad; a finding with witnesses, acknowledged, and a state that was entered.
    """
    head = Entity(PUMP, "pump", ("Heizung", "Ω"), ("source:pump",), {"serial": "CP-1"}, "idle", (("feeds", PUMP),))
    names = ("bearing_temp", "speed", "valve", "mode", "energy")
    variables = {
        n: Variable(n, PUMP, name, "degC" if n == 1 else None, "gauge", "pump") for n, name in enumerate(names, 1)
    }
    start = empty_world("boiler-house")
    defined = World("boiler-house", 1, AT_MS, {PUMP: head}, variables, {PUMP: dict.fromkeys(variables, UNREAD)}, {})
    read = {
        1: State(54.5, AT_MS + 900, "good"),
        2: State(1450, AT_MS + 900, "good"),
        3: State(False, AT_MS + 900, "good"),
        4: State("", AT_MS + 950, "uncertain:stale"),
        5: State(0.1, AT_MS + 900, "good"),
    }
    finding = Anomaly(
        "pump.bearing_temp/shift",
        1,
        "shift",
        "medium",
        "5 \u03c3 above",
        AT_MS,
        0.5,
        1.0,
        ("sensor:pump/bearing_temp@1",),
    )
    second = replace_world(defined, version=2, at_ms=AT_MS + 1000, states={PUMP: read}, findings={finding.id: finding})
    last = {**read, 1: State(0.0, AT_MS + 1900, "good"), 2: State(1450, AT_MS + 900, "bad:timeout")}
    third = replace_world(second, version=3, at_ms=AT_MS + 2000, states={PUMP: last}, findings={})
    speed = Anomaly(
        "pump.speed/shift", 2, "shift", "low", "4 \u03c3 below", AT_MS + 5, 0.625, 0.5, ("sensor:pump/speed@2",)
    )
    joined = replace(
        finding, sentence="5 \u03c3 above; speed agrees", witnesses=(finding, speed), acknowledged="os:anna"
    )
    fourth = replace_world(third, version=4, at_ms=AT_MS + 3000, findings={finding.id: joined})
    fourth = replace_entity(fourth, PUMP, state="warm", since_ms=AT_MS + 2500)
    return [start, defined, second, third, fourth]


def vectors() -> dict[str, object]:
    """Return everything a verifier can be tried on."""
    steps, sealed, prev = worlds(), [], ZERO_DIGEST
    for seq, (before, after) in enumerate(itertools.pairwise(steps), 1):
        record = Record(
            "boiler-house", seq, prev, bytes(range(16)), after.at_ms, 60_000 + 1000 * seq, seq > 1, diff(before, after),
            (Entry("turn", {"status": "synced", "risk": 0.0, "severity": None, "readings": 5}),), state_digest(after),
        )  # fmt: skip
        sealed.append(seal_record(record, KEY))
        prev = sealed[-1].digest
    snapshot = Snapshot(steps[2], sealed[1].digest, state_digest(steps[2]), "interval")
    squashed = seal_stretch(merge([each.envelope for each in sealed[1:3]], KEY.public, compose), KEY)
    return {
        "public_key": KEY.public.raw.hex(),
        "keyid": KEY.public.keyid,
        "records": [{"envelope": s.envelope.hex(), "digest": s.digest.hex()} for s in sealed],
        "states": [state_digest(world).hex() for world in steps],
        "snapshot": seal_snapshot(snapshot, KEY).hex(),
        "squashed_2_to_3": squashed.hex(),
    }


def rotation_vectors() -> dict[str, object]:
    """Return records of which the third changes the key, and what the old key may not say any more."""
    steps, sealed, prev = worlds(), [], ZERO_DIGEST
    rotate = Entry("rotate", {"was": KEY.public.raw.hex(), "key": NEXT_KEY.public.raw.hex()})
    turn = Entry("turn", {"status": "synced"})
    for seq, (before, after) in enumerate(itertools.pairwise(steps), 1):
        record = Record(
            "boiler-house", seq, prev, bytes(range(16)), after.at_ms, 60_000 + 1000 * seq, True, diff(before, after),
            (rotate if seq == 3 else turn,), state_digest(after),
        )  # fmt: skip
        key, successor = (KEY, NEXT_KEY) if seq == 3 else (KEY if seq < 3 else NEXT_KEY, None)
        sealed.append(seal_record(record, key, successor))
        prev = sealed[-1].digest
        if seq == 4:
            forged = seal_record(record, KEY)
    ring = Keyring.around(KEY.public, sealed[2].envelope)
    squashed = seal_stretch(merge([each.envelope for each in sealed[:3]], ring, compose), NEXT_KEY)
    snapshot = Snapshot(steps[4], sealed[3].digest, state_digest(steps[4]), "stop")
    return {
        "first_public_key": KEY.public.raw.hex(),
        "next_public_key": NEXT_KEY.public.raw.hex(),
        "records": [{"envelope": s.envelope.hex(), "digest": s.digest.hex()} for s in sealed],
        "rotations": sealed[2].envelope.hex(),
        "squashed_1_to_3": squashed.hex(),
        "snapshot": seal_snapshot(snapshot, NEXT_KEY).hex(),
        "state": state_digest(steps[4]).hex(),
        "record_4_by_the_old_key": forged.envelope.hex(),
    }


if __name__ == "__main__":
    ROTATION_PATH.write_text(json.dumps(rotation_vectors(), indent=1) + "\n")
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
