"""Real agents on disks that fail, fill up, and come back: exit code 74, nothing claimed that is not there, and the
next start heals."""

import asyncio
import contextlib
import errno
import os
import subprocess
from pathlib import Path

import pytest
from test_whole_way import gateway, plant

FAULTS = str(Path(__file__).with_name("faults"))
DISK_FAILED = 74


@pytest.mark.parametrize("fault", ["fdatasync EIO", "pwrite EROFS", "pwrite EIO", "pwrite ENOSPC"])
def test_a_disk_that_fails_under_the_agent_ends_it_with_74_and_a_restart_heals(tmp_path, monkeypatch, fault):
    trigger = tmp_path / "fault"
    monkeypatch.setenv("PYTHONPATH", FAULTS)
    monkeypatch.setenv("FAULT", str(trigger))

    async def day():
        async with plant() as sources, gateway(tmp_path, sources) as agent:
            await agent.reached(5)
            trigger.write_text(fault)
            assert await asyncio.wait_for(agent.process.wait(), 60) == DISK_FAILED
            assert os.strerror(getattr(errno, fault.split()[1])) in agent.log()
            before = agent.twin()[0]
            trigger.unlink()
            await agent.start()
            await agent.reached(before + 5)
            code, _ = await agent.stop()
            assert code == 0
            return agent

    agent = asyncio.run(day())
    found = agent.verify()
    assert found.returncode == 0, found.stdout
    assert "Traceback" not in agent.log()


def test_what_a_failing_disk_did_not_take_was_never_published(tmp_path, monkeypatch, broker):
    """The mirror of the house before and after: no fork, nothing that the disk does not hold."""
    trigger = tmp_path / "fault"
    monkeypatch.setenv("PYTHONPATH", FAULTS)
    monkeypatch.setenv("FAULT", str(trigger))

    async def day():
        async with plant(broker.url) as sources, gateway(tmp_path, sources, broker.url) as agent:
            await agent.reached(5)
            for _ in range(2):
                trigger.write_text("fdatasync EIO")
                assert await asyncio.wait_for(agent.process.wait(), 60) == DISK_FAILED
                trigger.unlink()
                await agent.start()
                await agent.reached(agent.twin()[0] + 3)
            await agent.stop()
            return agent

    agent = asyncio.run(day())
    assert agent.verify().returncode == 0


@contextlib.contextmanager
def small_disk(path, size="4m"):
    """Mount a disk of a few megabytes; only root may."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
    if done.returncode:
        pytest.skip("needs root to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def remount(path, how):
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


def fill(path):
    """Take all room that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_others_fill_costs_nothing_is_told_and_is_gone_on_with_when_there_is_room(tmp_path):
    async def day(disk):
        async with plant() as sources, gateway(tmp_path, sources) as agent:
            await agent.reached(3)
            fill(disk / "filler")
            await agent.reached(agent.twin()[0] + 3)  # what it wrote ahead for this
            await agent.kill()
            starting = asyncio.create_task(agent.start())
            async with asyncio.timeout(60):
                while "log: full" not in agent.log():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.1)
            assert not starting.done()
            (disk / "filler").unlink()
            await starting
            await agent.reached(agent.twin()[0] + 3)
            assert (await agent.stop())[0] == 0
            return agent

    disk = tmp_path / "data"
    with small_disk(disk):
        found = asyncio.run(day(disk)).verify()
        assert found.returncode == 0, found.stdout


def test_a_disk_that_is_full_when_the_last_snapshot_is_due_ends_with_74_and_a_restart_heals(tmp_path):
    async def day(disk):
        async with plant() as sources, gateway(tmp_path, sources) as agent:
            await agent.reached(3)
            fill(disk / "filler")
            code, _ = await agent.stop()
            assert code == DISK_FAILED
            assert "free some space on this disk" in agent.log()
            (disk / "filler").unlink()
            await agent.start()
            assert (await agent.stop())[0] == 0
            return agent

    disk = tmp_path / "data"
    with small_disk(disk):
        found = asyncio.run(day(disk)).verify()
        assert found.returncode == 0, found.stdout


def test_a_disk_that_is_read_only_at_start_is_told_with_74(tmp_path):
    async def day(disk):
        async with plant() as sources, gateway(tmp_path, sources) as agent:
            await agent.reached(3)
            await agent.stop()
            remount(disk, "ro")
            with contextlib.suppress(AssertionError):
                await agent.start()
            assert await asyncio.wait_for(agent.process.wait(), 60) == DISK_FAILED
            assert "read-only" in agent.log()
            remount(disk, "rw")
            await agent.start()
            await agent.stop()
            return agent

    disk = tmp_path / "data"
    with small_disk(disk):
        agent = asyncio.run(day(disk))
        assert agent.verify().returncode == 0
