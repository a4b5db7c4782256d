from types import SimpleNamespace

import pytest

from edge_agent.cli.gateway import Gateway


@pytest.mark.parametrize(("voided", "anew"), [("a", "b"), ("b", "a")])
def test_what_is_asked_anew_stands_behind_what_was_voided_in_the_same_turn(voided, anew):
    gateway = Gateway.__new__(Gateway)
    actions = [SimpleNamespace(id=anew, at_ms=7, stage="waiting"), SimpleNamespace(id=voided, at_ms=7, stage="expired")]
    gateway.mirror = SimpleNamespace(world=SimpleNamespace(actions={action.id: action for action in actions}))
    assert [action.id for action in gateway.actions] == [voided, anew]
