"""The whole way of an action, as an operator meets it: plant, agent, mosquitto, ssh-keygen, and the operator's tool."""

import asyncio
import contextlib
import json
import subprocess
import sys

import pytest
from acting import PUMP_RULES
from peers import Broker
from test_whole_way import COMMAND, SOURCES, Gateway

from edge_agent.cli.stored import open_folder
from edge_agent.config import load_profile
from edge_agent.plant.plant import PUMP_UNIT, Plant
from edge_agent.seal.squash import unseal_stretch


def run(*words):
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=120)


async def tool(*words):
    return await asyncio.to_thread(run, *words)


def make_key(folder, name, passphrase=""):
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(path)], check=True)
    return path


def roster(*keys):
    return "".join(
        f'[[approvers]]\nname = "{key.name}"\nkey = "{key.with_suffix(".pub").read_text().strip()}"\n' for key in keys
    )


@contextlib.asynccontextmanager
async def acting(folder, *keys, risk=0.2, fault=None):
    """Run broker, plant and a gateway whose playbook asks at once; gives (gateway, plant, tool arguments)."""
    with Broker(folder) as broker:
        meter, pump = load_profile("eastron-sdm630"), load_profile("circulation-pump")
        plant = Plant(meter, pump, load_profile("line-sensor"), broker_url=broker.url, line_period_s=0.1)
        if fault is not None:
            plant.go_wrong(fault)
        where = await plant.start()
        sources = SOURCES.format(modbus=where.modbus_url, serial=where.serial_path, broker=where.broker_url)
        gateway = Gateway(folder, sources + PUMP_RULES.format(risk=risk) + roster(*keys), broker.url)
        try:
            await gateway.start()
            at = ("--url", broker.url, "--world", "w", "--gateway", gateway.data / "keys" / "agent.pub")
            yield gateway, plant, at
        finally:
            if gateway.process is not None and gateway.process.returncode is None:
                await gateway.kill()
            await plant.stop()


async def waiting(at):
    """Return the action that waits."""
    async with asyncio.timeout(60):
        while True:
            found = json.loads((await tool("actions", "list", "--json", *at)).stdout or "[]")
            if found and found[-1]["stage"] == "waiting":
                return found[-1]


def audit(gateway):
    """Return the audit entries that stand on disk."""
    folder = open_folder(gateway.data)
    return [
        told.entry
        for item in folder.shelf.records(1)
        for told in unseal_stretch(item.envelope, folder.key).audit
        if told.entry.kind in ("action", "approval", "approvals-refused")
    ]


def proofs(row):
    return [row["facts"][name] for name in ("request", "envelope") if name in row["facts"]]


def test_an_operator_approves_from_far_away_and_the_valve_moves(tmp_path):
    key, stranger = make_key(tmp_path, "anna"), make_key(tmp_path, "eve")

    async def day():
        async with acting(tmp_path, key) as (gateway, plant, at):
            action = await waiting(at)
            shown = await tool("actions", "show", action["id"][:6], *at)
            assert "pump.valve = False" in shown.stdout
            assert "the valve stays open" in shown.stdout
            refused = await tool("approve", action["id"], "--yes", "--key", stranger, *at)
            assert refused.returncode == 1
            assert "not among the gateway's [[approvers]]" in refused.stderr
            assert (await tool("approve", action["id"], "--key", key, *at)).returncode == 1, "no terminal to ask on"
            assert await plant.modbus.standing(PUMP_UNIT, "valve") is True
            done = await tool("approve", action["id"][:8], "--yes", "--key", key, *at)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "VERIFIED" in done.stdout
            assert await plant.modbus.standing(PUMP_UNIT, "valve") is False
            await gateway.stop()
            assert gateway.verify().returncode == 0
            moves = [entry.facts["move"] for entry in audit(gateway) if entry.kind == "action"]
            assert moves == ["ask", "approve", "checkpoint", "intend", "read_back", "pass"]
            told = run("log", "show", gateway.config, "--action", action["id"][:8]).stdout
            for words in (
                "ask:",
                "→ waiting:",
                "close the valve of the pump",
                "plan sha256:",
                "needs 1 operator within 300 s",
                "approved by anna",
                "anna (key ",
                ") approved",
                "the snapshot at record ",
                "pump/valve before True",
                "pump/valve wanted False",
                "pump/valve found False",
                "every target reads back",
            ):
                assert words in told
            whole = run("log", "show", gateway.config, "--json", "--kind", "action", "--kind", "approval").stdout
            for proof in (each for line in whole.splitlines() for each in proofs(json.loads(line))):
                assert proof[:20] not in told, "what proves it is for machines"
                assert proof in whole

    asyncio.run(day())


def test_two_operators_one_of_whom_says_no(tmp_path):
    anna, bert = make_key(tmp_path, "anna"), make_key(tmp_path, "bert")

    async def day():
        async with acting(tmp_path, anna, bert, risk=0.8) as (_, plant, at):
            action = await waiting(at)
            first = await tool("approve", action["id"], "--yes", "--key", anna, *at)
            assert first.returncode == 0, first.stdout + first.stderr
            assert "waits for 1 more" in first.stdout
            again = await tool("approve", action["id"], "--yes", "--key", anna, *at)
            assert again.returncode == 1
            assert "anna has approved it already; it waits for 1 more" in again.stderr
            second = await tool("reject", action["id"], "--yes", "--key", bert, *at)
            assert second.returncode == 0, second.stdout + second.stderr
            assert "rejected by bert" in second.stdout
            assert await plant.modbus.standing(PUMP_UNIT, "valve") is True

    asyncio.run(day())


def test_a_request_is_asked_anew_when_the_gateways_key_is_replaced_and_the_operator_needs_no_new_one(tmp_path):
    key = make_key(tmp_path, "anna")

    async def day():
        async with acting(tmp_path, key) as (gateway, _, at):
            first = await waiting(at)
            install = tmp_path / "install.pub"
            install.write_bytes((gateway.data / "keys" / "agent.pub").read_bytes())
            await gateway.stop()
            assert (await tool("keys", "rotate", gateway.config)).returncode == 0
            await gateway.start()
            old = (*at[:-1], install)
            async with asyncio.timeout(60):
                while (second := await waiting(old))["id"] == first["id"]:
                    pass
            void = await tool("actions", "show", first["id"], *old)
            assert "the gateway's key was replaced since it was asked" in void.stdout
            done = await tool("approve", second["id"], "--yes", "--key", key, *old)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "VERIFIED" in done.stdout

    asyncio.run(day())


def test_a_stuck_valve_is_found_out_and_rolled_back(tmp_path):
    key = make_key(tmp_path, "anna")

    async def day():
        async with acting(tmp_path, key, fault="stuck-valve") as (_, plant, at):
            action = await waiting(at)
            done = await tool("approve", action["id"], "--yes", "--key", key, *at)
            assert done.returncode == 1
            assert "ROLLED_BACK" in done.stdout
            assert await plant.modbus.standing(PUMP_UNIT, "valve") is True

    asyncio.run(day())


def test_killed_for_real_in_the_middle_of_an_action_it_reads_and_does_not_write_again(tmp_path):
    key = make_key(tmp_path, "anna")

    async def day():
        async with acting(tmp_path, key) as (gateway, plant, at):
            action = await waiting(at)
            approving = asyncio.create_task(tool("approve", action["id"], "--yes", "--key", key, *at))
            async with asyncio.timeout(60):
                while await plant.modbus.standing(PUMP_UNIT, "valve") is True:  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.01)
            await gateway.kill()
            writes = plant.modbus.writes
            await gateway.start()
            done = await approving
            assert done.returncode == 0, done.stdout + done.stderr
            assert "started anew" in done.stdout
            assert plant.modbus.writes == writes == 1
            assert await plant.modbus.standing(PUMP_UNIT, "valve") is False

    asyncio.run(day())


@pytest.mark.skipif(sys.platform != "linux", reason="a terminal is a pty")
def test_a_key_with_a_passphrase_is_not_read_without_a_terminal(tmp_path):
    key = make_key(tmp_path, "anna", "secret")
    done = run("approve", "x", "--key", key, "--url", "mqtt://127.0.0.1:1", "--world", "w", "--gateway", key)
    assert done.returncode == 1
    assert "passphrase" in done.stderr
