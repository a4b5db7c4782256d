"""Delivery, as a user sets it up: the agent as a process, a real broker, the mirror's own command at the other end."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from test_whole_way import COMMAND, Gateway, gateway, plant

from edge_agent.store.shelf import Shelf

RELEASE = 'release = "mirror"\nmirror_key = "mirror.pub"\n'


def acked(agent):
    """Return how far upstream has come, by what stands on disk."""
    return Shelf.survey(agent.data / "log").stand.acked


def keys(folder):
    """Make the mirror's keys as the README does."""
    made = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "mirror")])
    assert made.returncode == 0
    return folder / "mirror"


def test_records_are_released_by_the_mirrors_command_and_not_by_the_broker(tmp_path, broker):
    async def day():
        key = await asyncio.to_thread(keys, tmp_path)
        async with plant() as sources:
            agent = Gateway(tmp_path, sources, broker.url, RELEASE)
            await agent.start()
            await agent.reached(10)
            assert (await agent.stop())[0] == 0
            assert acked(agent) == 0, "the broker has it all, and that counts for nothing"
            delivered = agent.twin()[0]
            public = agent.data / "keys" / "agent.pub"
            options = ["--url", broker.url, "--world", "w", "--key", public, "--receipts-key", key, "--json"]
            mirror = await asyncio.create_subprocess_exec(
                *COMMAND, "mirror", *map(str, options), stdout=asyncio.subprocess.DEVNULL
            )
            await agent.start()
            async with asyncio.timeout(60):
                while acked(agent) < delivered:  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.2)
            assert (await agent.stop())[0] == 0
            mirror.terminate()
            await mirror.wait()
            return agent

    agent = asyncio.run(day())
    assert agent.verify().returncode == 0


def told(folder):
    """Return of which records the mirror's command has printed entries, whole lines only."""
    lines = (folder / "mirror.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return {each["seq"] for each in records if any(change["change"] == "AuditTold" for change in each["changes"])}


def test_a_mirror_that_is_killed_goes_on_where_it_was_and_every_record_is_told_and_released(tmp_path, broker):
    async def day():
        key = await asyncio.to_thread(keys, tmp_path)
        async with plant() as sources:
            agent = Gateway(tmp_path, sources, broker.url, RELEASE)
            await agent.start()
            public, state = agent.data / "keys" / "agent.pub", tmp_path / "mirror.state"
            options = ["--url", broker.url, "--world", "w", "--key", public, "--receipts-key", key, "--json"]
            for _ in range(3):
                with (tmp_path / "mirror.jsonl").open("ab") as lines:
                    mirror = await asyncio.create_subprocess_exec(
                        *COMMAND, "mirror", *map(str, options), "--state", str(state), stdout=lines
                    )
                target = agent.twin()[0] + 5
                async with asyncio.timeout(60):
                    while acked(agent) < target:  # noqa: ASYNC110 - another process writes it
                        await asyncio.sleep(0.2)
                mirror.kill()
                await mirror.wait()
                with (tmp_path / "mirror.jsonl").open("ab") as lines:
                    lines.write(b"\n")  # its last line may be cut
                await agent.reached(agent.twin()[0] + 10)
            assert (await agent.stop())[0] == 0
            return acked(agent)

    released = asyncio.run(day())
    assert released > 20
    assert told(tmp_path) >= set(range(1, released + 1))


def test_the_readmes_ten_lines_follow_a_real_gateway(tmp_path, broker):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = re.search(r"```python\n(.*?Mirror.*?)```", readme, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10

    async def day():
        async with plant() as sources, gateway(tmp_path, sources, broker.url) as agent:
            (tmp_path / "agent.pub").write_bytes((agent.data / "keys" / "agent.pub").read_bytes())
            text = code.replace("mqtt://broker.example", broker.url).replace("boiler-house", "w")
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-uc", text, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
            )
            lines = [(await asyncio.wait_for(program.stdout.readline(), 60)).decode() for _ in range(120)]
            program.terminate()
            await program.wait()
            return lines

    lines = asyncio.run(day())
    assert any(line.startswith("ValueChange(path='meter.voltage_l1', value=2") for line in lines)
    assert "in the verified twin at version" in lines[-1]
