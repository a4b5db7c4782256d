"""A loop on a bench that may act: real worlds, seals, approvals and turns; a fake disk and a fake plant that can lie."""

import asyncio
import itertools

from sites import written

import edge_agent.sync as loop
from edge_agent.config import load
from edge_agent.desk import Post
from edge_agent.judge.watch import Watch
from edge_agent.model.errors import LinkError, StoreError
from edge_agent.model.reading import Anchor, Instant, Reading
from edge_agent.model.record import ZERO_DIGEST, Entry
from edge_agent.seal.approvals import answer, seal_approval
from edge_agent.seal.digest import entity_digests, state_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import unseal_record, unseal_snapshot
from edge_agent.twin.baseline import baseline, empty_world
from edge_agent.twin.diff import apply, diff

KEY = PrivateKey.from_seed(b"\x11" * 32)
ANNA, BERT, CARL, EVA = (PrivateKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3, 4))
KEYS = {"anna": ANNA, "bert": BERT, "carl": CARL, "eva": EVA}

SOURCE = """
[[sources]]
name = "meter"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
poll = "100ms"
points = [
    {{ name = "volts", function = 4, address = 0, type = "float32", unit = "V", range = [0, 500] }},
    {{ name = "relay", function = 1, address = 0, type = "bool", kind = "state", drift = false, write = {{ range = [0, 1], settle = "10ms", daily_budget = 1000 }} }},
    {{ name = "next", function = 1, address = 1, type = "bool", kind = "state", drift = false }},
    {{ name = "level", function = 3, address = 0, type = "uint16", drift = false, write = {{ range = [0, 1000], settle = "10ms", daily_budget = 1000 }} }},
]
"""
RULES = """
[[entities]]
id = "meter"
type = "device"
state = "cold"
[[transitions]]
entity = "meter"
from = "cold"
to = "hot"
when = {{ variable = "meter.volts", is = "above", value = 300.0 }}
[[transitions]]
entity = "meter"
from = "hot"
to = "cold"
when = {{ variable = "meter.volts", is = "below", value = 100.0 }}
"""
BOOK = """
[[playbooks]]
name = "open-relay"
summary = "open the relay"
on = {{ entity = "meter", state = "hot" }}
steps = [{{ point = "meter.relay", value = true, expect = false }}]
risk = {risk}
deadline = "2s"
if_it_fails = "the relay stays closed"
{more}
"""
PUMP_RULES = """
[[entities]]
id = "pump"
type = "pump"
state = "idle"
[[transitions]]
entity = "pump"
from = "idle"
to = "running"
when = {{ variable = "pump.speed", is = "above", value = 1000.0 }}
[[playbooks]]
name = "close-valve"
summary = "close the valve of the pump"
on = {{ entity = "pump", state = "running" }}
steps = [{{ point = "pump.valve", value = false, expect = true }}]
risk = {risk}
if_it_fails = "the valve stays open"
[policy]
request_ttl = "300s"
[[policy.points]]
point = "pump.valve"
range = [0, 1]
"""
"""Of the demonstration's plant: its pump runs, and its valve may be closed."""
POLICY = """
[policy]
request_ttl = "60s"
{more}
[[policy.points]]
point = "meter.relay"
range = [0, 1]
min_interval = "1s"
daily_writes = 10
[[policy.points]]
point = "meter.level"
range = [0, 500]
step = 200.0
min_interval = "1s"
daily_writes = 10
"""


def approvers(**lines):
    """Return the [[approvers]] tables of anna, bert and carl (who may approve little) and of eva, who is revoked."""
    more = {"carl": "max_risk = 0.1", "eva": "revoked = true"} | lines
    return "".join(
        f'[[approvers]]\nname = "{name}"\nkey = "{key.public.to_text(name).decode().strip()}"\n{more.get(name, "")}\n'
        for name, key in KEYS.items()
    )


def config(book="", policy="", risk=0.2, extra=""):
    """Return a configuration that can act, as text; braces are doubled as tests/sites.py wants it."""
    return (
        SOURCE
        + RULES
        + BOOK.replace("{risk}", str(risk)).replace("{more}", book)
        + POLICY.replace("{more}", policy)
        + approvers()
        + extra
    )


class Killed(BaseException):
    """The process ends here."""


class FakeLedger:
    """Keeps what a disk would keep, and fails or ends the process when it is told to."""

    def __init__(self):
        self.sealed, self.snapshots, self.journal = [], [], []
        self.broken = False
        self.fuse = lambda what: None
        """Called before and after each write to disk; may raise Killed."""

    async def commit(self, sealed):
        if self.broken:
            raise StoreError("the disk is full")
        record = unseal_record(sealed.envelope, KEY.public)[0]
        self.fuse("before a record")
        self.sealed.append(sealed)
        self.journal += [told(entry) for entry in record.audit if entry.kind != "turn"]
        self.fuse("after a record")

    async def keep(self, snapshot, envelope):
        self.fuse("before a snapshot")
        self.snapshots.append(unseal_snapshot(envelope, KEY.public))
        self.journal.append(f"snapshot {snapshot.reason}")
        self.fuse("after a snapshot")

    def records(self):
        return [unseal_record(sealed.envelope, KEY.public)[0] for sealed in self.sealed]

    def entries(self, kind):
        return [entry.facts for record in self.records() for entry in record.audit if entry.kind == kind]


def told(entry):
    return f"{entry.kind} {entry.facts['move']}" if entry.kind == "action" else entry.kind


class FakePlant:
    """A device that does as it is told; faults are subclasses (tests/liars.py)."""

    def __init__(self, journal, **points):
        self.points = {"volts": 230.0, "relay": False, "next": False, "level": 100} | points
        self.journal = journal
        self.clock = Instant(1_700_000_000_000, 1_000_000_000, True)
        self.fuse = lambda what: None
        self.writes = []

    def now(self):
        return self.clock

    def pass_time(self, seconds):
        at_ms, mono_ns, synced = self.clock
        self.clock = Instant(at_ms + round(seconds * 1000), mono_ns + round(seconds * 1e9), synced)

    async def settle(self, seconds):
        self.fuse("before settling")
        self.pass_time(seconds)
        self.passed(seconds)
        self.fuse("after settling")

    def passed(self, seconds):
        """What the device does by itself meanwhile."""

    def near(self, source):
        return ("relay", "next", "level")

    async def read(self, source, point):
        self.fuse(f"before reading {point}")
        found = await self.look(point)
        self.fuse(f"after reading {point}")
        return found

    async def look(self, point):
        return self.points[point]

    async def write(self, source, point, value, hold_s):
        self.fuse(f"before writing {point}")
        self.journal.append(f"write {point}={value}")
        self.writes.append((point, value))
        try:
            await self.take(point, value)
        finally:
            self.fuse(f"after writing {point}")

    async def take(self, point, value):
        self.points[point] = value


class Bench:
    """A gateway on a bench. `restart` makes it anew of what its disk holds, as a process that starts does."""

    def __init__(self, tmp_path, text=None, plant=FakePlant):
        self.folder = tmp_path
        self.ledger = FakeLedger()
        self.plant = plant(self.ledger.journal)
        self.boot = b"b" * 16
        self.counter = itertools.count(1)
        self.seed = itertools.count(1)
        self.standing = None
        self.configure(text or config())

    def configure(self, text):
        self.text = text
        self.site = load(written(self.folder, text))
        self.restart()

    def restart(self, boot=None):
        """Start from what is durable: the records, replayed."""
        self.boot = boot or self.boot
        world, head = empty_world("w"), ZERO_DIGEST
        for sealed in self.ledger.sealed:
            record, _ = unseal_record(sealed.envelope, KEY.public)
            world = apply(world, record.delta, record.seq, record.at_ms)
            assert state_digest(world) == record.state
            head = sealed.digest
        after = baseline(self.site, world)
        watch = Watch(self.site.settings.drift, after, self.site)
        self.ground = loop.ground(self.site, after, watch, KEY, self.boot)
        standing = loop.Standing(world, entity_digests(world), head, {}, frozenset())
        start = loop.commit(
            standing, after, diff(world, after), (Entry("start", {}),), self.ground, self.ledger, self.plant.now()
        )
        self.standing = asyncio.run(start)

    def turn(self, letters=(), refused=None, seconds=1.0, notes=(), **values):
        """Make a turn `seconds` after the last, in which the device is read, or given values are."""
        self.plant.pass_time(seconds)
        anchor = Anchor("meter", "fc4", self.plant.now())
        readings = [Reading(anchor, point, value) for point, value in {**self.plant.points, **values}.items()]
        post = Post(tuple(letters), refused or {}, bytes([next(self.seed)]) * 32)
        self.standing, report = asyncio.run(
            loop.sync(
                self.standing, readings, self.ground, self.ledger, self.plant, self.plant.now(), tuple(notes), post
            )
        )
        return report

    def ask(self):
        """Bring the meter to a state that a playbook answers to; return the action that waits."""
        self.plant.points["volts"] = 400.0
        self.turn()
        return self.action

    @property
    def actions(self):
        return list(self.standing.world.actions.values())

    @property
    def action(self):
        return self.actions[-1]

    def letter(self, name="anna", act="approve", action=None, key=None, ctr=None, ttl_s=60, **lies):
        """Return a signed approval of the newest action, some of its fields replaced."""
        import msgspec

        approval = answer(action or self.action, act, name, ctr or next(self.counter), ttl_s)
        return seal_approval(msgspec.structs.replace(approval, **lies), key or KEYS[name])

    def approve(self, *names, **lies):
        return self.turn([self.letter(name, **lies) for name in names or ("anna",)])

    def refused(self):
        """Return the reasons of refused approvals that were audited, with their counts."""
        self.turn(seconds=2.0)
        found = {}
        for facts in self.ledger.entries("approvals-refused"):
            for word, count in facts.items():
                found[word] = found.get(word, 0) + count
        return found

    def audited(self, action=None):
        """Return the moves of an action as the audit trail has them."""
        key = (action or self.action).id
        return [facts["move"] for facts in self.ledger.entries("action") if facts["action"] == key]


class SilentPlant(FakePlant):
    """Nobody answers any more once it is silent."""

    silent = False

    async def look(self, point):
        if self.silent:
            raise LinkError("no answer", "timeout")
        return self.points[point]
