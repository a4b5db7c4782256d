import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests in subfolders can import peers.py

from peers import Broker


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as found:
        yield found
