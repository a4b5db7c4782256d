"""What a start makes of a data folder that somebody had in the hands: every damage costs what it hit and no more,
is said on the chain, and whoever follows from outside can follow through it."""

import asyncio
import contextlib
import random
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from sites import METER, site
from test_entries import facts_of

from edge_agent.cli.main import main
from edge_agent.cli.stored import open_folder
from edge_agent.config import load
from edge_agent.model.errors import ConfigError, StoreError, TrustError
from edge_agent.model.layout import DataDir
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.record import Snapshot
from edge_agent.model.world import State, replace_world
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.digest import state_digest
from edge_agent.seal.envelope import seal
from edge_agent.seal.records import seal_record, seal_snapshot, unseal_record, unseal_snapshot
from edge_agent.service.agent import Agent
from edge_agent.service.boot import open_store, replay, restore
from edge_agent.service.offline import accept, restore_twin, rotate
from edge_agent.store.frames import RECORD, frame
from edge_agent.store.keys import load_private, load_public
from edge_agent.store.log import Log
from edge_agent.store.segment import name_of
from edge_agent.store.shelf import Item
from edge_agent.store.snapshots import Snapshots
from edge_agent.store.verify import verify
from edge_agent.twin.baseline import empty_world
from edge_agent.uplink.follower import AuditTold, Follower

KEPT = "[sync]\nsnapshots_kept = 3\n"
OLD = Path(__file__).parents[1] / "store" / "version-1"


class Wall:
    """A clock that a test sets: the wall may jump, what is measured only goes on."""

    def __init__(self, at_ms=1_764_000_000_000):
        self.at_ms = at_ms
        self.mono_ns = 5_000_000_000

    def __call__(self):
        return Instant(self.at_ms, self.mono_ns, True)

    def passes(self, seconds):
        self.at_ms += round(seconds * 1000)
        self.mono_ns += round(seconds * 1_000_000_000)


def agent_on(found, clock=None):
    return contextlib.closing(Agent(found, clock))


def run(found, *values, clock=None):
    """Do a run of the agent in which a meter says some values; return the standing it ended with."""
    clock = clock or Wall()

    async def day(agent):
        await agent._begin()
        for value in values:
            clock.passes(1)
            agent.inbox.put([Reading(Anchor("meter", "fc4", clock()), "volts", value)])
            clock.passes(0.1)
            await agent.turn()
        await agent._keep_snapshot("stop")
        return agent.standing

    with agent_on(found, clock) as agent:
        return asyncio.run(day(agent))


def entries(found, kind):
    """Return the facts of all entries of a kind that stand in the log."""
    folder = open_folder(data_of(found).root)
    told = []
    for item in folder.shelf.records(1):
        audit = unseal_record(item.envelope, folder.key)[0].audit
        told += [entry.facts for entry in audit if entry.kind == kind]
    return told


def data_of(found):
    return DataDir(Path(found.settings.agent.data_dir))


def digest(standing):
    return state_digest(standing.world)


def follow(found, follower):
    """Let a follower take the whole log; return what audit it was told."""
    told = []
    for item in open_folder(data_of(found).root).shelf.records(1):
        changes = follower.take(item.envelope)
        assert isinstance(changes, list), changes
        told += [change.entry for change in changes if isinstance(change, AuditTold)]
    return told


def verdict(found, key=None):
    folder = open_folder(data_of(found).root, key)
    return verify(folder.shelf, folder.snapshots, folder.key)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A gateway with three runs behind it."""
    folder = tmp_path_factory.mktemp("lived")
    found = site(folder, METER + KEPT)
    for value in (230.0, 231.5, 0.0):
        standing = run(found, value, value + 1)
    return found, standing


@pytest.fixture
def gateway(lived, tmp_path):
    """A copy to damage: (site, its standing)."""
    found = site(tmp_path, METER + KEPT)
    shutil.copytree(data_of(lived[0]).root, data_of(found).root)
    return found, lived[1]


def restored(found):
    """Replay the folder as a start does, without writing."""
    folder = open_folder(data_of(found).root)
    kept = Snapshots.open(folder.data.snapshots, 3).list()
    return restore("w", folder.end, folder.shelf.records, kept, folder.key)


class Leads:
    """Whether what is kept leads to a state; what was tried before is remembered, for a thousand cuts leave the same."""

    def __init__(self, found, state):
        self.folder = open_folder(data_of(found).root)
        self.state = state
        self.tried = {}

    def there(self):
        kept = Snapshots.open(self.folder.data.snapshots, 3).list()
        rows = tuple(stored.envelope for stored in kept)
        if rows not in self.tried:
            back = restore("w", self.folder.end, self.folder.shelf.records, kept, self.folder.key)
            self.tried[rows] = digest(back.standing) == self.state
        return self.tried[rows]


def test_a_healthy_folder_starts_where_it_was_and_says_nothing(gateway):
    found, standing = gateway
    back = restored(found)
    assert (digest(back.standing), back.standing.head, back.notes) == (digest(standing), standing.head, ())


def test_a_snapshots_file_cut_at_any_byte_costs_nothing(gateway):
    found, standing = gateway
    path = data_of(found).snapshots
    whole, leads = path.read_bytes(), Leads(found, digest(standing))
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert leads.there(), f"cut at {end}"


def test_a_snapshots_file_with_any_byte_flipped_costs_nothing(gateway):
    found, standing = gateway
    path = data_of(found).snapshots
    whole, leads = path.read_bytes(), Leads(found, digest(standing))
    rng = random.Random(1)
    for place in range(len(whole)):
        hurt = bytearray(whole)
        hurt[place] ^= 1 << rng.randrange(8)
        path.write_bytes(hurt)
        assert leads.there(), f"byte {place}"


def test_an_older_copy_of_the_snapshots_is_caught_up_by_the_log_in_silence(gateway):
    found, standing = gateway
    old = data_of(found).snapshots.read_bytes()
    later = run(found, 240.0)
    data_of(found).snapshots.write_bytes(old)
    assert digest(restored(found).standing) == digest(later) != digest(standing)
    run(found)
    assert entries(found, "rebaseline") == []
    assert entries(found, "rolled-back") == []
    assert verdict(found).fault is None


def test_an_older_copy_of_the_log_is_told_and_nothing_is_written_until_a_person_accepts(gateway, tmp_path):
    found, old = gateway
    shutil.copytree(data_of(found).log, tmp_path / "older")
    ahead = run(found, 240.0)
    shutil.rmtree(data_of(found).log)
    shutil.copytree(tmp_path / "older", data_of(found).log)
    for _ in range(2):  # a restart does not forget it
        after = run(found, 241.0)
        assert "snapshots accept" in after.locked
    assert after.world.version > ahead.world.version > old.world.version
    facts = {"log": old.world.version, "snapshot": ahead.world.version}
    assert entries(found, "rolled-back") == [facts, facts]
    lost = {"first": old.world.version + 1, "last": ahead.world.version}
    assert entries(found, "hole") == [{"segment": "log", "offset": 0, "reason": "missing", **lost}]
    fault = verdict(found).fault
    assert fault.wrong.endswith("are missing (missing)")
    assert fault.seq == old.world.version + 1
    assert accept(found) is not None
    assert accept(found) is None
    assert run(found, 242.0).locked == ""
    assert [entry["log"] for entry in entries(found, "accept")] == [old.world.version]


def test_a_mirror_that_was_ahead_with_the_snapshot_follows_a_log_that_was_put_back(gateway, tmp_path):
    found, _ = gateway
    shutil.copytree(data_of(found).log, tmp_path / "older")
    run(found, 240.0)
    follower = Follower("w", load_public(data_of(found).public_key))
    follow(found, follower)
    shutil.rmtree(data_of(found).log)
    shutil.copytree(tmp_path / "older", data_of(found).log)
    last = run(found, 241.0)
    told = follow(found, follower)
    assert digest(last) == follower.state
    assert "rolled-back" in [entry.kind for entry in told]


def test_all_snapshots_lost_is_said_and_the_chain_and_those_who_follow_it_go_on(gateway):
    found, before = gateway
    follower = Follower("w", load_public(data_of(found).public_key))
    follow(found, follower)
    data_of(found).snapshots.unlink()
    data_of(found).snapshots.with_name("snapshots.json.old").unlink()
    after = run(found, 250.0)
    assert after.world.version > before.world.version
    assert [entry["lost"] for entry in entries(found, "rebaseline")] == [True]
    follow(found, follower)
    assert follower.state == digest(after)
    assert verdict(found).fault is None


def test_all_snapshots_lost_with_another_configuration_is_followed_too(gateway, tmp_path):
    found, _ = gateway
    follower = Follower("w", load_public(data_of(found).public_key))
    follow(found, follower)
    for path in data_of(found).root.glob("snapshots.json*"):
        path.unlink()
    other = site(tmp_path, METER.replace('"volts"', '"amps"').replace('"relay"', '"volts"') + KEPT)
    after = run(other)
    follow(other, follower)
    assert follower.state == digest(after)
    assert verdict(other).fault is None
    assert digest(restored(other).standing) == digest(after)


def test_snapshots_of_another_gateway_are_refused_by_name(gateway, tmp_path):
    found, before = gateway
    (tmp_path / "other").mkdir()
    other = site(tmp_path / "other", METER)
    run(other, 1.0)
    for name in ("snapshots.json", "snapshots.json.old"):
        shutil.copy(data_of(other).root / name, data_of(found).root / name)
    after = run(found)
    assert after.world.version > before.world.version
    reasons = [str(entry["reason"]) for entry in entries(found, "rebaseline")]
    assert any("signed by key" in reason for reason in reasons)
    assert verdict(found).fault.file == "snapshots.json"
    run(found)
    assert verdict(found).fault is None, "they have gone the way of old snapshots"


def test_a_snapshot_that_our_key_signed_for_another_world_is_refused(gateway):
    found, _ = gateway
    key = load_private(data_of(found).private_key)
    world = replace_world(empty_world("another"), version=2)
    envelope = seal_snapshot(Snapshot(world, bytes(32), state_digest(world), "stop"), key)
    Snapshots.open(data_of(found).snapshots, 3).add(envelope, 2, 0, "stop", bytes(32))
    assert [note.facts["reason"] for note in restored(found).notes] == [
        "snapshot at record 2: it is of gateway 'another', wanted 'w'"
    ]


def test_another_name_on_the_same_chain_is_refused_by_start_and_check_with_the_way_out(tmp_path, capsys):
    run(site(tmp_path, METER), 1.0)
    path = tmp_path / "agent.toml"
    before = {each: each.read_bytes() for each in (tmp_path / "data").rglob("*") if each.is_file()}
    path.write_text(path.read_text().replace('world_id = "w"', 'world_id = "boiler-house"'))
    wanted = f'agent.world_id: got "boiler-house", wanted "w", whose log is in {tmp_path}/data'
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        run(load(path), 2.0)
    assert main(["check", str(path)]) == 1
    told = capsys.readouterr().out
    assert wanted in told
    hint = re.search(r"(data_dir = .*)\)", told)[1]
    assert {each: each.read_bytes() for each in before if each.name != "lock"} == {
        each: text for each, text in before.items() if each.name != "lock"
    }
    path.write_text(re.sub("data_dir = .*", hint, path.read_text()))
    assert main(["check", str(path)]) == 0
    run(load(path), 3.0)
    assert verdict(load(path)).fault is None


@pytest.mark.parametrize("version", [0, 2])
def test_a_snapshot_of_another_format_version_is_passed_over_with_the_version_named(gateway, version):
    found, standing = gateway
    key = load_private(data_of(found).private_key)
    kept = Snapshots.open(data_of(found).snapshots, 3)
    raw = unpack(unpack(kept.list()[0].envelope)["payload"]) | {"v": version}
    kept.add(seal("application/vnd.edge-agent.snapshot+msgpack", pack(raw), key), raw["seq"], 0, "stop", bytes(32))
    back = restored(found)
    assert digest(back.standing) == digest(standing)
    assert f"got format version {version}, wanted 1" in str(back.notes[0].facts["reason"])


def test_a_segment_of_another_gateway_is_not_believed_and_the_chain_goes_on(gateway, tmp_path):
    found, before = gateway
    (tmp_path / "other").mkdir()
    other = site(tmp_path / "other", METER)
    for _ in range(3):
        run(other, 1.0, 2.0)
    newest = max(data_of(found).log.glob("0*.seg"))
    shutil.copy(data_of(other).log / newest.name, newest)
    after = run(found, 5.0)
    assert after.world.version > before.world.version
    assert verdict(found).fault is not None
    assert entries_that_verify(found)[-1].prev == after_but_one(found, after)


def entries_that_verify(found):
    folder = open_folder(data_of(found).root)
    good = []
    for item in folder.shelf.records(1):
        with contextlib.suppress(Exception):
            good.append(unseal_record(item.envelope, folder.key)[0])
    return good


def after_but_one(found, after):
    folder = open_folder(data_of(found).root)
    items = list(folder.shelf.records(after.world.version - 1))
    return unseal_record(items[0].envelope, folder.key)[1].digest


def test_a_folder_that_an_older_release_wrote_verifies_and_starts(tmp_path):
    """The files of format version 1 as they were written in November 2026; they must be read for ever."""
    found = site(tmp_path, METER)
    shutil.copytree(OLD, data_of(found).root)
    data_of(found).private_key.chmod(0o600)
    known = load_public(OLD / "keys" / "agent.pub")
    assert verdict(found).fault is None
    expected = (OLD / "state.txt").read_text().split()
    back = restored(found)
    assert [str(back.standing.world.version), digest(back.standing).hex()] == expected
    assert run(found, 1.0).world.version > back.standing.world.version
    assert verdict(found).fault is None
    assert known.raw == load_public(data_of(found).public_key).raw


def test_a_rotation_survives_starts_squashes_and_restores_with_the_old_key_in_the_auditors_hand(gateway, tmp_path):
    found, _ = gateway
    shutil.copy(data_of(found).public_key, tmp_path / "install.pub")
    follower = Follower("w", load_public(tmp_path / "install.pub"))
    for _ in range(2):
        rotate(found)
        last = run(found, 1.0, 2.0)
    follow(found, follower)
    assert follower.state == digest(last)
    assert verdict(found, tmp_path / "install.pub").fault is None
    with contextlib.ExitStack() as undo:
        store = open_store(found, undo)
        assert [each.seq for each in store.keys.rotations] == sorted(each.seq for each in store.keys.rotations)
        fresh = Follower("w", load_public(tmp_path / "install.pub"))
        fresh.take_snapshot(store.rotations + store.snapshots.list()[0].envelope)
        assert fresh.seq == last.world.version
        assert unseal_snapshot(store.snapshots.list()[0].envelope, store.key.public).world.version == fresh.seq


def test_rotations_that_are_damaged_anywhere_never_keep_the_gateway_from_starting(gateway):
    found, _ = gateway
    rotate(found)
    last = run(found, 1.0)
    path = data_of(found).rotations
    whole = path.read_bytes()
    rng = random.Random(2)
    for place in sorted(rng.sample(range(len(whole)), 6)):
        for hurt in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(hurt)
            after = run(found, 2.0)
            assert after.world.version > last.world.version
            last = after
    path.write_bytes(whole)
    assert verdict(found).fault is None
    assert "rotations" in str(entries(found, "rebaseline")[0]["reason"])
    path.write_bytes(whole[:9])
    rotate(found)
    assert run(found, 3.0).world.version > last.world.version


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        ({"prev": bytes(32)}, "does not follow record"),
        ({"state": bytes(32)}, "has not the digest it names"),
    ],
)
def test_what_our_own_key_signed_is_not_replayed_when_it_does_not_hold(gateway, lies, why):
    found, standing = gateway
    folder = open_folder(data_of(found).root)
    snapshot = unseal_snapshot(folder.snapshots[-1].envelope, folder.key)
    items = list(folder.shelf.records(snapshot.world.version + 1))
    assert replay(snapshot.world, snapshot.head, items, folder.key)[0].version == standing.world.version
    record, _ = unseal_record(items[0].envelope, folder.key)
    wrong = seal_record(msgspec.structs.replace(record, **lies), load_private(data_of(found).private_key))
    with pytest.raises(TrustError, match=why):
        replay(snapshot.world, snapshot.head, [Item(wrong.seq, wrong.envelope, wrong.seq), *items[1:]], folder.key)
    with pytest.raises(TrustError, match="does not follow record"):
        replay(snapshot.world, snapshot.head, items[1:], folder.key)


def test_verify_names_a_record_that_our_own_key_signed_for_another_world_or_another_place(gateway):
    found, _ = gateway
    key, folder = load_private(data_of(found).private_key), open_folder(data_of(found).root)
    items = list(folder.shelf.records(1))
    second, last = (unseal_record(items[n].envelope, folder.key)[0] for n in (1, -1))
    log = Log.open(data_of(found).log, max_bytes=1 << 26)
    beyond = msgspec.structs.replace(last, seq=last.seq + 1, prev=folder.shelf.stand.digest, state=bytes(32))
    log.append(seal_record(beyond, key))
    log.close()
    fault = verdict(found).fault
    assert (fault.seq, fault.wrong) == (last.seq + 1, "the world after it has not the digest it names")
    segment = data_of(found).log / name_of(folder.shelf.segments[0].number)
    moved = seal_record(msgspec.structs.replace(second, prev=bytes([7]) * 32), key)
    own, forged = frame(RECORD, items[1].envelope), frame(RECORD, moved.envelope)
    content = segment.read_bytes()
    segment.write_bytes(content.replace(own, forged))
    assert len(own) == len(forged)
    fault = verdict(found).fault
    assert (fault.file, fault.offset, fault.seq) == (segment.name, content.index(own), 2)
    assert fault.wrong == "it does not name the digest of record 1 before it"


def of_another_head(snapshot):
    return msgspec.structs.replace(snapshot, head=bytes([7]) * 32)


def of_another_world(snapshot):
    rows = snapshot.world.states
    states = {entity: {n: State(7.5, 1, "good") for n in rows[entity]} for entity in rows}
    other = replace_world(snapshot.world, states=states)
    return msgspec.structs.replace(snapshot, world=other, state=state_digest(other))


def of_a_record_to_come(snapshot):
    return msgspec.structs.replace(snapshot, world=replace_world(snapshot.world, version=snapshot.world.version + 5))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (of_another_head, "the snapshot that stands there names another record"),
        (of_another_world, "the snapshot that stands there has another world than the record"),
        (of_a_record_to_come, "a snapshot stands there, and the log ends at record"),
    ],
)
def test_verify_names_a_snapshot_that_our_own_key_signed_for_what_the_log_does_not_say(gateway, wrong, why):
    found, _ = gateway
    key, folder = load_private(data_of(found).private_key), open_folder(data_of(found).root)
    snapshot = wrong(unseal_snapshot(folder.snapshots[0].envelope, folder.key))
    kept = Snapshots.open(data_of(found).snapshots, 3)
    kept.add(seal_snapshot(snapshot, key), snapshot.world.version, 0, "stop", snapshot.state)
    fault = verdict(found).fault
    assert (fault.file, fault.seq) == ("snapshots.json", snapshot.world.version)
    assert fault.wrong.startswith(why)


def wounded(found):
    """Flip a bit in record 2; return its segment and where its frame stands."""
    segment = min(data_of(found).log.glob("0*.seg"))
    content = bytearray(segment.read_bytes())
    at = content.index(b"EAR1", content.index(b"EAR1") + 4)
    content[at + 40] ^= 1
    segment.write_bytes(content)
    return segment, at


def test_verify_names_the_last_record_when_it_is_damaged_and_a_note_behind_it_tells_that_it_was(gateway):
    found, standing = gateway
    data_of(found).snapshots.unlink()
    segment = max(path for path in data_of(found).log.glob("0*.seg") if b"EAR1" in path.read_bytes())
    content = bytearray(segment.read_bytes())
    at = content.rindex(b"EAR1")
    content[at + 40] ^= 1
    segment.write_bytes(content)
    last = standing.world.version
    fault = verdict(found).fault
    assert (fault.file, fault.offset, fault.seq) == (segment.name, at, last)
    assert fault.wrong == f"records {last} to {last} are missing (damaged)"


def test_a_hole_is_not_taken_for_told_when_the_record_that_tells_it_was_not_kept(gateway):
    found, _ = gateway
    wounded(found)

    async def day(agent):
        await agent._begin()
        while not agent.ledger._log.holes:
            agent.ledger._log.inspect()
        agent.ledger._log.close()
        with pytest.raises(StoreError):
            await agent.turn()

    with agent_on(found, Wall()) as agent:
        asyncio.run(day(agent))
    assert entries(found, "hole") == []
    run(found, 1.0, 2.0)
    assert [facts["first"] for facts in entries(found, "hole")] == [2]


def test_what_is_missing_in_the_log_does_not_wait_to_be_delivered(gateway):
    found, _ = gateway
    wounded(found)
    with agent_on(found) as agent:
        assert (agent.ledger.acked, agent.ledger.first_waiting) == (0, 1)
        for delivered, waits in ((1, 3), (2, 3), (3, 4), (agent.ledger.head_seq, agent.ledger.head_seq + 1)):
            agent.ledger.acknowledge(delivered)
            assert agent.ledger.first_waiting == waits


def test_a_hole_is_told_on_the_chain_with_its_place(gateway):
    found, before = gateway
    segment, at = wounded(found)
    after = run(found, 1.0, 2.0, 3.0, 4.0)
    facts = {"segment": segment.name, "offset": at, "first": 2, "last": 2, "reason": "damaged"}
    assert entries(found, "hole") == [facts]
    assert after.world.version > before.world.version
    assert str(verdict(found).fault) == f"{segment.name} at byte {at}: record 2: records 2 to 2 are missing (damaged)"
    run(found, 5.0, 6.0)
    assert entries(found, "hole") == [facts], "told once and not at each start"
    for damage in (b"junk", b"", None):
        holes = data_of(found).holes
        holes.unlink() if damage is None else holes.write_bytes(damage)
        run(found, 7.0)
    assert entries(found, "hole") == [facts] * 4, "without the file it is told once more"


def test_what_the_log_itself_says_has_the_facts_of_the_page(gateway, tmp_path):
    found, _ = gateway
    shutil.copytree(data_of(found).log, tmp_path / "older")
    segment = min((tmp_path / "older").glob("0*.seg"))
    content = bytearray(segment.read_bytes())
    content[content.index(b"EAR1", content.index(b"EAR1") + 4) + 40] ^= 1
    segment.write_bytes(content)
    run(found, 9.0)
    shutil.rmtree(data_of(found).log)
    shutil.copytree(tmp_path / "older", data_of(found).log)
    rotate(found)
    accept(found)
    restore_twin(found, Snapshots.open(data_of(found).snapshots, 3).list()[-1].seq)
    for path in data_of(found).root.glob("snapshots.json*"):
        path.unlink()

    async def day(agent):
        stop = asyncio.Event()
        await agent.run(stop, stop.set)

    with agent_on(found) as agent:
        asyncio.run(day(agent))
    for kind in ("start", "stop", "rebaseline", "rolled-back", "accept", "restore", "rotate", "hole"):
        made = entries(found, kind)
        assert made, kind
        assert {frozenset(each) for each in made} == {frozenset(facts_of(kind))}, kind


WALLS = {
    "1970": 0,
    "before 1970": -86_400_000,
    "ten years on": 1_764_000_000_000 + 315_576_000_000,
    "ten years back": 1_764_000_000_000 - 315_576_000_000,
    "2038": 2_147_483_647_000,
    "2106": 4_294_967_295_500,
}


@pytest.mark.parametrize("wall", WALLS.values(), ids=WALLS)
def test_order_and_ages_do_not_care_where_the_wall_clock_jumps(tmp_path, wall):
    found = site(tmp_path, METER + KEPT)
    clock = Wall()
    run(found, 230.0, clock=clock)
    clock.at_ms = wall
    standing = run(found, 231.0, 232.0, clock=clock)
    clock.at_ms = 1_764_000_000_000
    standing = run(found, 233.0, clock=clock)
    follower = Follower("w", load_public(data_of(found).public_key))
    follow(found, follower)
    assert follower.state == digest(standing)
    assert verdict(found).fault is None
    world = standing.world
    volts = next(n for n, v in world.variables.items() if v.name == "volts")
    assert (world.state_of(volts).value, world.state_of(volts).quality) == (233.0, "good")
    monos, ages = [], []
    folder = open_folder(data_of(found).root)
    for item in folder.shelf.records(1):
        record = unseal_record(item.envelope, folder.key)[0]
        monos.append(record.mono_ms)
        ages += [record.at_ms - state.at_ms for state in record.delta.states.values() if state.quality == "good"]
    assert monos == sorted(monos)
    assert ages == [100] * 4


def test_a_wall_that_jumps_between_a_reading_and_its_record_makes_nothing_stale(tmp_path):
    found = site(tmp_path, METER)
    clock = Wall()

    async def day(agent):
        await agent._begin()
        for jump in (315_576_000_000, -2 * 315_576_000_000, 0):
            clock.passes(1)
            agent.inbox.put([Reading(Anchor("meter", "fc4", clock()), "volts", 230.0 + jump % 7)])
            clock.at_ms += jump
            await agent.turn()
            qualities = {s.quality for rows in agent.standing.world.states.values() for s in rows.values()}
            assert qualities == {"good", "bad:unknown"}

    with agent_on(found, clock) as agent:
        asyncio.run(day(agent))
    assert verdict(found).fault is None
