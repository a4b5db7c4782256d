import os
import signal
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests in subfolders can import peers.py

from peers import Broker

HANGS_S = 600
"""No test takes a tenth of it, alone."""

# hypothesis fails an example that takes 200 ms, and one that is slow to draw: on a busy machine any does.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

# A run that was started in the background ignores Ctrl-C, and so would each program that a test starts and ends by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End the run at a test that hangs, and show where: nobody waits for hours to learn nothing.

    By a signal, in the main thread. faulthandler's watchdog reads the frames of threads while they run, which with
    Python 3.11 may end in a segmentation fault (python/cpython#116008): always, when it was let do so again and again.
    """

    def give_up(*_):
        item.config.pluginmanager.getplugin("capturemanager").suspend_global_capture()
        print(f"\n{item.nodeid} hangs: it took {HANGS_S} s. Where each thread stands:", file=sys.stderr)
        for frame in sys._current_frames().values():
            print("", *traceback.format_stack(frame), sep="\n", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANGS_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as found:
        yield found
