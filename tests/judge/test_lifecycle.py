"""The table of an action's life: what is in it happens, what is not cannot, and the picture shows it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.judge.lifecycle import ENDS, MOVES, STAGES, UNDER_WAY, IllegalMoveError, moved, picture
from edge_agent.model.action import Action, Plan, Request

REQUEST = Request("w", "k", b"r" * 16, b"n" * 32, b"", b"", 0, b"", b"", b"", 1, "operator", 60)


def action(stage):
    return Action(REQUEST.req.hex(), stage, REQUEST, Plan("p", "s", (), ()), b"b" * 16, 0, 0)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("move", sorted({move for _, move in MOVES}))
def test_a_legal_move_leads_where_the_table_says_and_an_illegal_one_leaves_the_action_unchanged(stage, move):
    before = action(stage)
    if (stage, move) in MOVES:
        after = moved(before, move, 7, "why")
        assert (after.stage, after.at_ms, after.reason) == (MOVES[stage, move], 7, "why")
    else:
        with pytest.raises(IllegalMoveError, match=stage):
            moved(before, move, 7, "why")
    assert before == action(stage)


@given(st.lists(st.sampled_from(sorted({move for _, move in MOVES}))))
def test_whatever_is_tried_writing_comes_only_after_approval_and_a_checkpoint(moves):
    now, passed = action("proposed"), ["proposed"]
    for move in moves:
        try:
            now = moved(now, move, 0, "")
        except IllegalMoveError:
            continue
        passed.append(now.stage)
    if set(passed) & UNDER_WAY:
        assert passed[:5] == ["proposed", "waiting", "approved", "checkpointed", "writing"]


def test_every_stage_can_be_reached_and_out_of_an_end_leads_no_move_but_to_unknown():
    reached = {"proposed"}
    for _ in STAGES:
        reached |= {dst for (src, _), dst in MOVES.items() if src in reached}
    assert reached == set(STAGES)
    assert {"refused", "expired", "verified", "rolled_back", "failed", "unknown"} == ENDS
    assert {(move, dst) for (src, move), dst in MOVES.items() if src in ENDS} == {("relapse", "unknown")}


def test_the_picture_in_the_reference_is_drawn_from_the_table():
    page = Path(__file__).parents[2] / "reference" / "lifecycle.md"
    assert page.read_text().split("```")[1] == "mermaid\n" + picture()
