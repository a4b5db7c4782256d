"""Holes are told once: in a process, over restarts, and also when they are long out of the log."""

import pytest

from edge_agent.store.segment import Hole
from edge_agent.store.told import Told

OLD, NEW = Hole(1, 90, 2, 3, "damaged"), Hole(0, 0, 40, 41, "missing")


def test_a_hole_is_told_once_in_a_process_and_over_restarts_once_it_was_kept(tmp_path):
    path = tmp_path / "holes.json"
    told = Told(path)
    assert told.take([OLD]) == [OLD]
    assert Told(path).take([OLD]) == [OLD], "nobody knows that it was told"
    told.keep(1)
    assert told.take([OLD, NEW]) == [NEW]
    assert Told(path).take([OLD._replace(segment=7, offset=5), NEW]) == [NEW], "squashing moves it"


def test_what_is_no_longer_in_the_log_is_not_kept_and_not_told_again_either(tmp_path):
    path = tmp_path / "holes.json"
    told = Told(path)
    told.take([OLD, NEW])
    told.keep(30)
    assert told.take([OLD, NEW]) == []
    assert b"[[40, 41]]" in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{}", b"[[1]]", b'{"v": 1, "crc32": "00000000", "holes": []}\n'])
def test_a_damaged_file_tells_them_once_more(tmp_path, content):
    (tmp_path / "holes.json").write_bytes(content)
    assert Told(tmp_path / "holes.json").take([OLD]) == [OLD]
