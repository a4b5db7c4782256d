"""reference/security.md names the test that tries each control: each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "reference" / "security.md").read_text()


def test_each_test_that_the_page_names_exists():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", tests, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 60
    assert not named - known


def test_each_file_that_the_page_names_exists():
    named = set(re.findall(r"`(\w+(?:/\w+)*\.py)`", PAGE)) - {"tests/test_security_page.py"}
    assert named
    assert not {name for name in named if not (ROOT / "edge_agent" / name).is_file()}


def test_each_threat_has_a_row_with_a_test():
    rows = re.findall(r"^\| T(\d+) \|.*\|.*\|(.*)\|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 22))
    assert all("`test_" in tests for _, tests in rows)
