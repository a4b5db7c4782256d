import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import WireError
from edge_agent.uplink.commands import ASK_SNAPSHOT, ask_records, asked


def test_what_is_asked_is_understood():
    assert asked(ASK_SNAPSHOT) is None
    assert asked(ask_records(1)) == 1
    assert asked(b' {"from": 7, "ask": "records", "v": 1} ') == 7


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"7",
        b"[]",
        b"\xff",
        b'{"v":1}',
        b'{"v":2,"ask":"snapshot"}',
        b'{"v":1,"ask":"snapshot","ask":"snapshot"}',
        b'{"v":1,"ask":"snapshot","from":1}',
        b'{"v":1,"ask":"records"}',
        b'{"v":1,"ask":"records","from":0}',
        b'{"v":1,"ask":"records","from":-1}',
        b'{"v":1,"ask":"records","from":1.0}',
        b'{"v":1,"ask":"records","from":true}',
        b'{"v":1,"ask":"records","from":"1"}',
        b'{"v":1,"ask":"records","from":NaN}',
        b'{"v":1,"ask":"records","from":99999999999999999999}',
        b'{"v":1,"ask":"records","from":' + b"9" * 5000 + b"}",
        b'{"v":1,"ask":"reboot"}',
        b"[" * 8000,
        b'{"a":' * 1600,
        b" " * 8193,
    ],
)
def test_anything_else_is_refused(payload):
    with pytest.raises(WireError, match="command: ") as caught:
        asked(payload)
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=100))
def test_any_bytes_are_a_command_or_refused(payload):
    with contextlib.suppress(WireError):
        first = asked(payload)
        assert first is None or first > 0
