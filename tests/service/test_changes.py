"""The difference of two configurations: what it says, and that taking it up comes to what a start comes to."""

import json
import tempfile
from pathlib import Path

import pytest
from fake_time import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import METER, site
from worlds import KEY

from edge_agent.config import load
from edge_agent.judge.comparison import Comparisons
from edge_agent.judge.watch import Watch
from edge_agent.model.reading import Anchor, Event, Instant
from edge_agent.service.buses import Buses
from edge_agent.service.changes import RESTART, Configured, changes, refusals
from edge_agent.service.inbox import Inbox, limits_of
from edge_agent.service.learned import regrounded
from edge_agent.service.reload import configured, in_short
from edge_agent.service.wiring import links
from edge_agent.sources.modbus.bus import ModbusBus
from edge_agent.store.baselines import Baselines
from edge_agent.sync import Standing, ground
from edge_agent.twin.baseline import baseline, empty_world

BROKER = """
[[sources]]
name = "room"
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
topic = "home/room"
access = {{ password_file = "secret", username = "edge" }}
points = [{{ name = "temp", path = "$.t" }}]
"""
UPSTREAM = '[upstream]\nurl = "mqtt://127.0.0.1"\nusername = "edge"\npassword_file = "secret"\n'
BOX = """
name = "box"
title = "A box"
protocol = "modbus"
entity_type = "box"
examples = []
[provenance]
source = "tests"
date = "2026-11-25"
verified = true
[[points]]
name = "level"
function = 3
address = {address}
type = "uint16"
"""
BOXED = '[[sources]]\nname = "box"\nkind = "modbus"\nurl = "tcp://127.0.0.2"\nprofile = "box.toml"\n'


def found(folder, text, secret="one", address=0):
    """Return a configuration in a folder that holds a secret and a profile."""
    (folder / "secret").write_text(secret)
    (folder / "box.toml").write_text(BOX.format(address=address))
    return configured(site(folder, text))


@pytest.mark.parametrize(
    ("before", "after", "rest", "words"),
    [
        (METER, METER, {}, []),
        (METER, METER + "# only said\n", {}, []),
        (METER, METER + BROKER, {}, ["sources.room added"]),
        (METER + BROKER, BROKER, {}, ["sources.meter removed"]),
        (METER, METER.replace("[[sources]]", '[[sources]]\npoll = "5s"'), {}, ["sources.meter changed (poll)"]),
        (METER, METER.replace("float32", "int32"), {}, ["sources.meter changed (points)"]),
        (METER, METER.replace('name = "meter"', 'name = "main"'), {}, ["sources.main added", "sources.meter removed"]),
        (BROKER, BROKER, {"secret": "two"}, ["sources.room changed (password_file)"]),
        (UPSTREAM + BROKER, UPSTREAM + BROKER, {"secret": "two"},
         ["sources.room changed (password_file)", "upstream changed (password_file)"]),
        (BOXED, BOXED, {"address": 4}, ["sources.box changed (profile)"]),
        (METER, UPSTREAM + METER, {}, ["upstream added"]),
        (UPSTREAM + METER, METER, {}, ["upstream removed"]),
        (UPSTREAM + METER, UPSTREAM.replace("0.0.1", "0.0.2") + METER, {}, ["upstream changed (url)"]),
        (METER, '[sync]\ninterval = "2s"\n' + METER, {}, ["sync changed (interval)"]),
        (METER, "[metrics]\nport = 9464\n" + METER, {}, ["metrics added"]),
        (METER, METER + '[[entities]]\nid = "meter"\ntype = "device"\ncriticality = 1.0\n', {}, ["entities added"]),
        (METER, '[drift]\nfalse_alarm_every = "7d"\n' + METER, {}, ["drift changed (false_alarm_every)"]),
    ],
)  # fmt: skip
def test_what_is_another_is_told_by_name_and_without_a_value(tmp_path, before, after, rest, words):
    was = found(tmp_path, before)
    now = found(tmp_path, after, **rest)
    differs = changes(was, now)
    assert list(differs.words) == words
    assert not any("one" in word or "two" in word for word in words)
    named = {word.split()[0] for word in words}
    assert differs.tables == named
    kept = {source.name for source in now.site.sources if f"sources.{source.name}" not in named}
    assert differs.kept == kept
    assert changes(now, now) == (frozenset(s.name for s in now.site.sources), (), (), {})


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('world_id = "w"', 'world_id = "other"', "agent.world_id"),
        ('data"', 'data2"', "agent.data_dir"),
        ('url = "mqtt://', 'buffer = { max_bytes = "64MiB" }\nurl = "mqtt://', "upstream.buffer.max_bytes"),
    ],
)
def test_what_a_running_agent_cannot_take_up_is_refused_by_name(tmp_path, old, new, place):
    was = found(tmp_path, UPSTREAM + METER).site
    path = tmp_path / "agent.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    (problem,) = refusals(was, load(path), "agent.toml: ")
    assert problem.place == f"agent.toml: {place}"
    assert problem.hint == RESTART
    assert list(refusals(was, was, "")) == []


def test_many_changes_are_told_in_short():
    assert in_short([]) == "nothing but its text"
    assert in_short([str(n) for n in range(20)]).endswith(", 19")
    assert in_short([str(n) for n in range(23)]).endswith(", 19, and 3 more")


# --- taking it up comes to what a start comes to

SOURCES = {
    "tank": '[[sources]]\nname = "tank"\nkind = "modbus"\nunit = {unit}\nurl = "tcp://127.0.0.{bus}"\npoll = "{poll}"\n'
    'points = [{{ name = "level", function = 4, address = 0, type = "uint16", alarm_above = {limit} }},'
    ' {{ name = "valve", function = 1, address = 0, type = "bool", kind = "state", write = {{ range = [0, 1] }} }}]\n',
    "well": '[[sources]]\nname = "well"\nkind = "modbus"\nunit = 7\nurl = "tcp://127.0.0.{bus}"\npoll = "{poll}"\n'
    'points = [{{ name = "level", function = 4, address = {unit}, type = "uint16" }}]\n',
    "room": '[[sources]]\nname = "room"\nkind = "mqtt"\nurl = "mqtt://127.0.0.{bus}"\ntopic = "home/{unit}"\n'
    'points = [{{ name = "temp", path = "$.t", alarm_below = {limit} }}]\n',
    "hall": '[[sources]]\nname = "hall"\nkind = "mqtt"\nurl = "mqtt://127.0.0.{bus}"\ntopic = "home/hall"\n'
    'points = [{{ name = "temp", path = "$.t" }}]\n',
    "line": '[[sources]]\nname = "line"\nkind = "serial"\nurl = "serial:///dev/ttyS{bus}"\n'
    'points = [{{ name = "level", field = "level" }}]\n',
    "site": '[[sources]]\nname = "site"\nkind = "http"\nurl = "http://127.0.0.{bus}"\npoll = "{poll}"\n'
    'points = [{{ name = "level", path = "$.level" }}]\n',
}  # fmt: skip
TABLES = {
    "tank": '[[entities]]\nid = "tank"\ntype = "device"\nstate = "idle"\ncriticality = 0.{unit}\n'
    '[[transitions]]\nentity = "tank"\nfrom = "idle"\nto = "full"\n'
    'when = {{ variable = "tank.level", is = "above", value = {limit} }}\n',
    "well": '[[comparisons]]\nvariable = "well.level"\nwith = "tank.level"\n',
    "": '[drift]\nfalse_alarm_every = "{unit}d"\n',
}
fields = st.fixed_dictionaries(
    {
        "unit": st.integers(1, 2),
        "bus": st.integers(1, 2),
        "poll": st.sampled_from(["1s", "2s"]),
        "limit": st.sampled_from([50, 60]),
    }
)


@st.composite
def texts(draw):
    """Give the text of a configuration: some of the sources in some order, some of them otherwise than usual."""
    names = draw(st.lists(st.sampled_from(sorted(SOURCES)), min_size=1, unique=True))
    usual = {"unit": 1, "bus": 1, "poll": "1s", "limit": 50}
    parts = [SOURCES[name].format(**draw(st.just(usual) | fields)) for name in names]
    if draw(st.booleans()):
        parts.insert(0, TABLES[""].format(**draw(fields)))
    if "tank" in names and draw(st.booleans()):
        parts.append(TABLES["tank"].format(**draw(fields)))
    if {"tank", "well"} <= {*names} and draw(st.booleans()):
        parts.append(TABLES["well"])
    return "".join(parts).replace("{", "{{").replace("}", "}}")


class Bench:
    """What of an agent rests on its configuration, without a disk and without a wire."""

    clock = FakeClock(0)

    def __init__(self, folder, site, world=None, learned=(None, None)):
        self.folder = folder
        self.inbox = Inbox(limits=limits_of(site.sources))
        found = links(site.sources, self.clock)
        self.buses = Buses(site, found, self.inbox, self.clock, Baselines(folder / "lessons.json", what="lessons"))
        self.world = baseline(site, world or empty_world("w"))
        statistics, differences = learned
        watch = Watch(site.settings.drift, self.world, site, statistics)
        self.ground = ground(site, self.world, watch, KEY, b"boot", Comparisons(site, self.world, differences))
        self.standing = Standing(self.world, {}, b"", {}, frozenset())

    def live(self):
        """Let it read, so that there is something that may be lost."""
        for second in range(200):
            at = Instant(second * 1000, second * 10**9, True)
            events = [Event(n, n + float(second % 7), "good", Anchor("x", "y", at)) for n in self.world.variables]
            self.ground.watch.observe(events)
            self.ground.comparisons.observe(events)

    def owners(self):
        return {poll.source: runner for runner in self.buses.runners for poll in runner.link.polls}

    def devices(self):
        return {
            name: d for r in self.buses.runners if isinstance(r.link, ModbusBus) for name, d in r.link.devices.items()
        }

    def take_up(self, was, now):
        differs = changes(Configured(was, {}), Configured(now, {}))
        self.ground, self.standing, self.world = regrounded(self.ground, self.standing, now)
        self.buses.renew(now, links(now.sources, self.clock), differs.kept)
        return differs

    def told(self):
        """Return all that can be seen of it."""
        ground = self.ground
        return {
            "links": sorted((r.link.bus, sorted(r.link.polls, key=str)) for r in self.buses.runners),
            "hands": {source: runner.link.bus for source, runner in self.buses.hands._runners.items()},
            "near": self.buses.hands._near,
            "doors": set(self.buses._door._known),
            "limits": self.inbox._limits,
            "world": self.world,
            "ground": ground._replace(key=None, watch=None, comparisons=None),
            "learned": json.loads(json.dumps([ground.watch.to_state(), ground.comparisons.to_state()])),
        }


@settings(max_examples=60)
@given(texts(), texts())
def test_taking_up_a_difference_comes_to_what_a_start_with_the_new_file_comes_to(before, after):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        was, now = site(folder, before), site(folder, after)
        bench = Bench(folder, was)
        bench.live()
        learned = json.loads(json.dumps(bench.told()["learned"]))
        fresh = Bench(folder, now, bench.world, learned)
        runners, devices = bench.owners(), bench.devices()
        differs = bench.take_up(was, now)
        assert bench.told() == fresh.told()
        for source in differs.kept:
            if source in ("tank", "well"):
                assert bench.devices()[source] is devices[source], "what it taught is not forgotten"
            if source in ("tank", "well", "line", "site") or {"room", "hall"} <= differs.kept:
                assert bench.owners()[source] is runners[source], "what did not change is not opened anew"
