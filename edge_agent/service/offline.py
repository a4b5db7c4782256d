"""What a person does to a data folder while no agent runs on it: each thing is one record on the same chain.

They take the lock, so they are refused while an agent runs, naming its process. No device is touched.
"""

import contextlib

from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.record import Entry, Fact, Record, Sealed
from edge_agent.model.site import Site
from edge_agent.model.world import World, replace_world
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keys import PrivateKey, PublicKey
from edge_agent.seal.records import ROTATE, seal_record, unseal_snapshot
from edge_agent.service.boot import Store, open_store
from edge_agent.service.clock import Clock, boot_id
from edge_agent.store.disk import user_name
from edge_agent.store.doubt import drop_doubt, read_doubt
from edge_agent.store.rotations import begin_rotation, end_rotation
from edge_agent.twin.diff import diff


def rotate(site: Site) -> tuple[PublicKey, Sealed]:
    """Replace the agent's key; return the new one and the record that says so. Raises StoreError and TrustError."""
    with contextlib.ExitStack() as undo:
        store = open_store(site, undo)
        successor = begin_rotation(store.data)
        facts: dict[str, Fact] = {"was": store.key.public.raw.hex(), "key": successor.public.raw.hex()}
        sealed = _append(store, store.standing.world, Entry(ROTATE, facts), successor)
        end_rotation(store.data, site.world_id, sealed.envelope)
        return successor.public, sealed


def restore_twin(site: Site, seq: int) -> Sealed:
    """Bring the twin back to what it was at a kept snapshot; return the record that says so.

    Only the twin: no device, no baseline, and no definition, for a variable's number never means another one.
    Raises ConfigError when there is no such snapshot, StoreError and TrustError.
    """
    with contextlib.ExitStack() as undo:
        store = open_store(site, undo)
        kept = {stored.seq: stored.envelope for stored in store.snapshots.list()}
        if seq not in kept:
            wanted = f"one of {', '.join(map(str, sorted(kept)))}" if kept else "a snapshot, and none is kept"
            raise ConfigError([Problem("snapshot", str(seq), wanted)])
        world = as_it_was(store.standing.world, unseal_snapshot(kept[seq], store.keys).world)
        return _append(store, world, Entry("restore", {"snapshot": seq, "by": _who()}))


def accept(site: Site) -> Sealed | None:
    """Say that a log that was rolled back may be gone on with; None when nothing of the kind is noted.

    Raises StoreError and TrustError.
    """
    with contextlib.ExitStack() as undo:
        store = open_store(site, undo)
        doubt = read_doubt(store.data)
        if doubt is None:
            return None
        sealed = _append(store, store.standing.world, Entry("accept", {**doubt.facts, "by": _who()}))
        drop_doubt(store.data)
        return sealed


def as_it_was(now: World, then: World) -> World:
    """Return the world of now with the heads, states and findings of then, where both know them."""
    same = {number for number, v in now.variables.items() if then.variables.get(number) == v}
    states = {
        entity: {n: then.state_of(n) if n in same else state for n, state in rows.items()}
        for entity, rows in now.states.items()
    }
    return replace_world(
        now,
        entities={key: then.entities.get(key, entity) for key, entity in now.entities.items()},
        states=states,
        findings={key: f for key, f in then.findings.items() if same.issuperset(f.numbers)},
    )


def _append(store: Store, world: World, entry: Entry, successor: PrivateKey | None = None) -> Sealed:
    """Make one record of an entry, and of what was found when the folder was opened."""
    before, now = store.standing.world, Clock()()
    after = replace_world(world, version=before.version + 1, at_ms=now.at_ms)
    record = Record(
        world_id=after.world_id,
        seq=after.version,
        prev=store.standing.head,
        boot=boot_id(),
        at_ms=now.at_ms,
        mono_ms=now.mono_ns // 1_000_000,
        synced=now.synced,
        delta=diff(store.before, after),
        audit=(*store.notes, entry),
        state=state_digest(after),
    )
    sealed = seal_record(record, store.key, successor)
    store.log.append_last(sealed)
    return sealed


def _who() -> str:
    return f"os:{user_name()}"
