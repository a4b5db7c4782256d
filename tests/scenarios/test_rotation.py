"""A key is replaced while a mirror and an auditor hold the one they took at install: real processes, a real broker."""

import asyncio
import subprocess

from test_whole_way import COMMAND, follow, gateway, plant

from edge_agent.seal.digest import state_digest
from edge_agent.store.keys import load_public
from edge_agent.uplink.mirror import Mirror


def command(*words):
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=120)


def test_mirrors_that_hold_the_key_of_the_install_follow_rotations_live_and_from_a_snapshot(tmp_path, broker):
    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            install = load_public(agent.data / "keys" / "agent.pub")
            async with Mirror(broker.url, "w", install) as mirror:
                await follow(mirror, lambda m: m.world.version > 5, 60)
                for _ in range(2):
                    refused = await asyncio.to_thread(command, "keys", "rotate", agent.config)
                    assert refused.returncode == 74
                    assert f"process {agent.process.pid}" in refused.stderr
                    await agent.stop()
                    done = await asyncio.to_thread(command, "keys", "rotate", agent.config)
                    assert done.returncode == 0, done.stderr
                    await agent.start()
                    seen = agent.twin()[0]
                    await follow(mirror, lambda m, seen=seen: m.world.version > seen + 3, 60)
                async with Mirror(broker.url, "w", install) as late:
                    await follow(late, lambda m: m.world.version > 5, 60)
                    await agent.stop()
                    last, digest = agent.twin()
                    for each in (mirror, late):
                        await follow(each, lambda m: m.world.version >= last, 60)
                        assert state_digest(each.world) == digest
                        assert each.counts["lies"] == 0
            assert install.keyid != load_public(agent.data / "keys" / "agent.pub").keyid
            (tmp_path / "install.pub").write_bytes(install.to_text("taken at install"))
            return agent

    agent = asyncio.run(day())
    verified = command("log", "verify", agent.data, "--key", tmp_path / "install.pub")
    assert verified.returncode == 0, verified.stdout
    assert verified.stdout.count(", then ") == 2
