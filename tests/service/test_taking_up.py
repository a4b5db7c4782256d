"""When a changed file is taken up, when it waits and what is said of it; the wires are in scenarios/test_reload.py."""

import asyncio
import json
import os
import pwd

import pytest
from acting import Bench, Killed, config
from sites import METER, written

from edge_agent.cli.inspection import inspect
from edge_agent.cli.main import main
from edge_agent.config import load
from edge_agent.model.record import Entry
from edge_agent.service.agent import Agent
from edge_agent.service.learned import regrounded
from edge_agent.service.local import answering
from edge_agent.service.notify import READY
from edge_agent.service.reload import Reload
from edge_agent.sync import commit
from edge_agent.twin.diff import diff

CRITERIA = 'criteria = [{{ variable = "meter.volts", is = "below", value = 350.0 }}]\n'


class Held:
    """A bench as the agent that a reload needs."""

    def __init__(self, bench):
        self.bench, self.taken = bench, []
        self.heard = []
        self.reload = Reload(
            bench.folder / "agent.toml", bench.site, inspect, lambda: self.heard.append("wake"), self.heard.append
        )

    standing = property(lambda self: self.bench.standing)

    def clock(self):
        return self.bench.plant.now()

    async def take_up(self, site, links, found, facts):
        bench = self.bench
        bench.ground, standing, world = regrounded(bench.ground, bench.standing, site)
        delta, bench.site = diff(bench.standing.world, world), site
        entry = Entry("configuration", facts)
        bench.standing = await commit(standing, world, delta, (entry,), bench.ground, bench.ledger, self.clock())
        self.taken.append(found.words)

    def between_turns(self, *, room=True):
        asyncio.run(self.reload.between_turns(self, room=room))


def said(queue):
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


def test_while_an_action_is_under_way_nothing_is_taken_up_and_what_is_waited_for_is_told_once(tmp_path):
    bench = Bench(tmp_path, config(CRITERIA))
    held = Held(bench)
    bench.ask()
    bench.approve()
    assert bench.action.stage == "verifying"
    written(tmp_path, config(CRITERIA).replace("100ms", "200ms"))
    first = held.reload.ask()
    for _ in range(3):
        held.between_turns()
        bench.turn(seconds=0.1)
    second = held.reload.ask("os:anna")
    held.between_turns()
    (waits,) = said(first)
    assert waits == {"waits": f"action {bench.action.id[:8]} is verifying; it is taken up when that has ended"}
    assert said(second) == [waits], "who asks later is told, too"
    assert held.taken == []
    assert held.heard == ["wake", "wake"]
    bench.turn(seconds=0.1, volts=340.0)
    assert bench.action.stage == "verified"
    held.between_turns()
    assert held.taken == [("sources.meter changed (poll)",)]
    (done,) = said(first)
    assert said(second) == [done]
    assert (done["ok"], done["changed"]) == (True, ["sources.meter changed (poll)"])
    assert held.heard[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert held.heard[3:] == [READY]
    (facts,) = bench.ledger.entries("configuration")
    assert (facts["was"], facts["config"], facts["by"]) == (done["was"], done["config"], "signal")
    held.between_turns()
    assert len(held.taken) == 1


def test_a_request_that_waits_for_its_approval_is_void_when_its_sources_are_changed_and_not_when_they_are_not(tmp_path):
    for old, new, stage in (("snapshot_every", "snapshot_every", "waiting"), ("100ms", "200ms", "expired")):
        folder = tmp_path / stage
        folder.mkdir()
        bench = Bench(folder, config())
        held = Held(bench)
        bench.ask()
        first = bench.action
        written(folder, "# said\n[sync]\nsnapshots_kept = 9\n" + config().replace(old, new))
        held.reload.ask()
        held.between_turns()
        assert len(held.taken) == 1
        bench.turn(volts=400.0)
        assert bench.standing.world.actions[first.id].stage == stage


def test_a_full_log_is_waited_for_and_says_what_a_restart_would_do(tmp_path):
    bench = Bench(tmp_path)
    held = Held(bench)
    asked = held.reload.ask()
    held.between_turns(room=False)
    assert "the log is full" in said(asked)[0]["waits"]
    held.between_turns()
    assert said(asked) == [
        {"ok": True, "changed": [], "problems": [], "was": bench.site.digest, "config": bench.site.digest}
    ]
    assert held.taken == [], "nothing has changed: no record"


def test_a_comment_is_a_new_digest_and_a_record_that_says_so(tmp_path):
    bench = Bench(tmp_path)
    held = Held(bench)
    written(tmp_path, "# said\n" + config())
    held.reload.ask()
    held.between_turns()
    (facts,) = bench.ledger.entries("configuration")
    assert facts["changed"] == "nothing but its text"
    assert facts["was"] != facts["config"]


def test_a_condition_that_holds_goes_on_holding_wherever_its_rule_stands_now(tmp_path):
    bench = Bench(tmp_path, config().replace("value = 300.0 }}", 'value = 300.0, for = "1h" }}'))
    held = Held(bench)
    bench.turn(volts=400.0)
    ((place, since),) = bench.standing.holding.items()
    first = '[[transitions]]\nentity = "meter"\nfrom = "cold"\nto = "off"\n'
    first += 'when = {{ variable = "meter.volts", is = "below", value = 1.0 }}\n'
    text = bench.text.replace("[[transitions]]", first + "[[transitions]]", 1)
    written(tmp_path, text)
    held.reload.ask()
    held.between_turns()
    assert held.taken == [("transitions changed",)]
    assert bench.standing.holding == {place + 1: since}
    written(tmp_path, text.replace('for = "1h"', 'for = "2h"'))
    held.reload.ask()
    held.between_turns()
    assert bench.standing.holding == {}, "another rule begins to count anew"


@pytest.mark.parametrize("ends", ["before a record", "after a record"])
def test_a_reload_that_ends_the_process_leaves_a_chain_that_a_start_goes_on_from(tmp_path, ends):
    bench = Bench(tmp_path)
    held = Held(bench)
    bench.turn()
    written(tmp_path, config().replace('name = "next"', 'name = "after"'))

    def fuse(what):
        if what == ends:
            raise Killed

    bench.ledger.fuse = fuse
    held.reload.ask()
    with pytest.raises(Killed):
        held.between_turns()
    bench.ledger.fuse = lambda what: None
    bench.site = load(tmp_path / "agent.toml")
    bench.restart()
    names = sorted(v.name for v in bench.standing.world.variables.values())
    assert names == ["after", "level", "relay", "volts"]


def test_the_command_says_what_it_waits_for_and_who_asked_and_that_another_file_is_looked_at(tmp_path, capsys):
    path = written(tmp_path, METER)
    beside = written(tmp_path, METER, name="beside.toml")
    done = {"ok": True, "changed": ["sync changed (mode)"], "problems": [], "was": "a" * 64, "config": "b" * 64}

    async def day(words, *answers):
        asked = asyncio.Event()
        reload = Reload(path, load(path), inspect, asked.set)
        (tmp_path / "data").mkdir(exist_ok=True)
        async with answering(tmp_path / "data" / "reload.sock", reload.answer):
            asking = asyncio.create_task(asyncio.to_thread(main, ["reload", *map(str, words)]))
            await asked.wait()
            for each in answers:
                reload._asks[0].told.put_nowait(each)
            return await asking if answers else asking, reload._asks[0].by

    code, by = asyncio.run(day([beside], {"waits": "an action"}, done))
    assert (code, by) == (0, f"os:{pwd.getpwuid(os.geteuid()).pw_name}")
    assert capsys.readouterr().out.splitlines() == [
        f"the agent in {tmp_path / 'data'} runs on {path}: that is what it looks at",
        "not taken up yet: an action",
        "sync changed (mode)",
        f"{path}: taken up, bbbbbbbbbbbbbbbb… in place of aaaaaaaaaaaaaaaa…",
    ]
    code, _ = asyncio.run(day([beside, "--json"], {"waits": "an action"}, {**done, "ok": False}))
    assert (code, json.loads(capsys.readouterr().out)) == (1, {"file": str(path), **done, "ok": False})

    assert asyncio.run(day([path], [5]))[0] == 1
    assert "does not answer" in capsys.readouterr().err

    async def gone():
        asking, _ = await day([path])
        return await asking

    assert asyncio.run(gone()) == 1
    assert "the agent ended before it came to it" in capsys.readouterr().err


def test_without_an_agent_the_command_says_so_and_what_to_do(tmp_path, capsys):
    path = written(tmp_path, METER)
    assert main(["reload", str(path)]) == 1
    told = capsys.readouterr().err
    assert "no agent is running here" in told
    assert "agent.data_dir: one that runs with another" in told
    for text, told in (
        ("[agent\n", ["wanted TOML"]),
        ("x = 1\n[agent]\ndata_dir = 5\n", ["unknown key", "data_dir", "world_id"]),
    ):
        path.write_text(text)
        assert main(["reload", str(path)]) == 1
        found = capsys.readouterr().err
        assert all(word in found for word in told), "all that is wrong, where nobody can be asked"


def test_an_agent_whose_log_is_full_when_it_starts_says_so_to_who_wants_a_reload(tmp_path):
    path = written(tmp_path, METER)
    agent = Agent(load(path))
    reload = Reload(path, agent.site, inspect, agent.inbox.urgent.set)
    told = reload.ask()

    async def full():
        return False

    async def day():
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run(stop, lambda: pytest.fail("it never serves"), reload=reload))
            found = await told.get()
            stop.set()
        return found

    agent.ledger.has_room = full
    try:
        assert "the log is full" in asyncio.run(day())["waits"]
    finally:
        agent.close()
