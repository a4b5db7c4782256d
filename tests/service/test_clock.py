"""The clock by which approvals age."""

import shutil
import subprocess
import sys
import time

import pytest

from edge_agent.service.clock import Clock

DAY_S = 86_400
IN_A_BOOT_A_DAY_OLDER = ("unshare", "--time", "--boottime", str(DAY_S), "--monotonic", "0")


def allowed():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_A_BOOT_A_DAY_OLDER, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not allowed(), reason="the kernel lets nobody here have a time of his own")
def test_time_that_the_machine_slept_counts():
    asked = "from edge_agent.service.clock import Clock; print(Clock()().mono_ns)"
    before = time.monotonic_ns()
    told = subprocess.run([*IN_A_BOOT_A_DAY_OLDER, sys.executable, "-c", asked], capture_output=True, check=True)
    assert int(told.stdout) >= before + DAY_S * 10**9


def test_it_rises_and_says_both_times():
    clock = Clock()
    one, other = clock(), clock()
    assert one.mono_ns <= other.mono_ns
    assert abs(one.at_ms - time.time() * 1000) < DAY_S * 1000
