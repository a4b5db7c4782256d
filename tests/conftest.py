import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests in subfolders can import peers.py

from peers import Broker

# A run that was started in the background ignores Ctrl-C, and so would each program that a test starts and ends by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as found:
        yield found
