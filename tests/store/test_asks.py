"""What people on site ask: taken once, from plain files of a folder only its owner may write, whoever wrote them."""

import getpass
import json
import os

import pytest

from edge_agent.model.finding import Acknowledgement
from edge_agent.store.asks import Asks, ask


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "asks"


def test_an_ask_names_the_owner_of_its_file_and_is_taken_once(folder):
    asks = Asks(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    ask(folder, "pump.bearing_temp/shift", "one")
    asked = asks.take()
    assert [each.ask for each in asked] == [Acknowledgement("pump.bearing_temp/shift", f"os:{getpass.getuser()}")]
    assert asks.take() == asked, "until it is dealt with"
    asks.done(asked)
    assert asks.take() == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"v": 2, "acknowledge": "x"}', b'{"v": 1}', b'{"v": 1, "acknowledge": 7}', b"\xff" * 9000, b"[" * 4000],
)  # fmt: skip
def test_what_asks_for_nothing_is_taken_away_and_told(folder, content):
    asks = Asks(folder)
    (folder / "a.json").write_bytes(content)
    asked = asks.take()
    assert [each.ask for each in asked] == [None]
    asks.done(asked)
    assert asks.take() == []


def test_a_link_a_pipe_and_a_folder_are_no_asks(folder, tmp_path):
    asks = Asks(folder)
    (tmp_path / "elsewhere").write_text(json.dumps({"v": 1, "acknowledge": "x"}))
    (folder / "a.json").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "b.json")
    (folder / "c.json").mkdir()
    assert [each.ask for each in asks.take()] == [None, None]


def test_a_folder_that_was_removed_asks_for_nothing(folder):
    asks = Asks(folder)
    folder.rmdir()
    assert asks.take() == []
