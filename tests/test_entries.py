"""The audit entries that the code makes are those that reference/formats.md §8 lists, with the facts it names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READERS = {"seal/records.py", "seal/squash.py"}
"""Files that make entries of what was read: of any kind."""
NAMED = {"ROTATE": "rotate"}


def page():
    """Return the table of the page: kind to the text of its facts."""
    text = (ROOT / "reference" / "formats.md").read_text()
    section = text.split("## 8. Audit entries", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[^|]*`) \| (.*) \|$", section, re.MULTILINE)
    return {kind: facts for kinds, facts in rows for kind in re.findall(r"`([^`]+)`", kinds)}


def facts_of(kind):
    """Return the facts that the page names for a kind: those before its colon, outside of brackets."""
    plain = re.sub(r"\([^)]*\)", "", page()[kind]).partition(":")[0]
    return set(re.findall(r"`([a-z_]+)`", plain))


def made():
    """Give (place, kind, names of facts that can be seen) of each entry that the code makes."""
    for path in sorted((ROOT / "edge_agent").rglob("*.py")):
        file = str(path.relative_to(ROOT / "edge_agent"))
        if file in READERS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Entry":
                kind = node.args[0]
                name = kind.value if isinstance(kind, ast.Constant) else NAMED.get(getattr(kind, "id", ""))
                dicts = [each for each in ast.walk(node.args[1]) if isinstance(each, ast.Dict)]
                keys = {key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)}
                yield f"{file}:{node.lineno}", name, keys


def test_every_kind_is_on_the_page_and_every_kind_of_the_page_is_made():
    unnamed = [place for place, kind, _ in made() if kind is None]
    assert unnamed == [], "the kind cannot be read off the code"
    assert {kind for _, kind, _ in made()} == set(page())


@pytest.mark.parametrize("kind", sorted(page()))
def test_every_fact_is_on_the_page(kind):
    named = set(re.findall(r"`([a-z_]+)`", page()[kind]))
    for place, of, keys in made():
        assert of != kind or keys <= named, f"{place}: facts that the page does not name"
