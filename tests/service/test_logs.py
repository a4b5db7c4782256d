import json
import logging

import pytest

from edge_agent.service import logs


def record(text, *values, level=logging.WARNING, exc_info=None):
    made = logging.LogRecord("edge_agent.service.runner", level, "runner.py", 1, text, values, exc_info)
    made.created = 1_700_000_000.5
    return made


@pytest.mark.parametrize(
    ("level", "plain", "journal"),
    [(logging.INFO, "INFO it is 0", "<6>it is 0"), (logging.ERROR, "ERROR it is 0", "<3>it is 0")],
)
def test_a_line_says_its_level_as_its_reader_wants_it(level, plain, journal):
    found = record("it is %s", 0, level=level)
    assert logs.PlainLines(levels=False).format(found) == plain
    assert logs.PlainLines(levels=True).format(found) == journal


def test_a_json_line_holds_time_level_place_and_text():
    assert json.loads(logs.JsonLines().format(record("%s: no answer", "tcp://h"))) == {
        "at": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "from": "edge_agent.service.runner",
        "text": "tcp://h: no answer",
    }


@pytest.mark.parametrize(
    ("outside", "shown"),
    [
        ("a\nERROR forged", "a\\nERROR forged"),
        ("\x1b[2J", "\\x1b[2J"),
        ("abc\u202etxt", "abc\\u202etxt"),
        ("\ud800", "\\ud800"),
        ("grün 3 °C", "grün 3 °C"),
        ("", ""),
    ],
)
def test_text_from_outside_stays_on_its_line_and_moves_no_cursor(outside, shown):
    assert logs.one_line(outside) == shown
    assert logs.PlainLines(levels=False).format(record("%s", outside)) == f"WARNING {shown}"
    assert json.loads(logs.JsonLines().format(record("%s", outside)))["text"] == shown


def test_a_long_line_is_cut():
    assert len(logs.one_line("x" * 100_000)) == 2000


def test_a_traceback_follows_its_line():
    try:
        int("0x")
    except ValueError as error:
        found = record("bug", exc_info=(ValueError, error, error.__traceback__))
    assert logs.PlainLines(levels=False).format(found).startswith("WARNING bug\nTraceback")
    assert json.loads(logs.JsonLines().format(found))["traceback"].endswith("'0x'")
