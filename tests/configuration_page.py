"""Writes reference/configuration.md from the types that agent.toml and profiles are checked against.

    .venv/bin/python tests/configuration_page.py

The words are those of the types' own docstrings, so the page cannot say anything that is not so;
tests/test_configuration_page.py holds it against them.
"""

import ast
import inspect
import itertools
import textwrap
import types
import typing
from pathlib import Path

import msgspec

from edge_agent.model import checked
from edge_agent.model.profile import Profile
from edge_agent.model.site import Settings
from edge_agent.plant.simulation import PlantSettings

PAGE = Path(__file__).parent.parent / "reference" / "configuration.md"
HEAD = """# Configuration

Every key of `agent.toml`, of a firmware profile and of the `plant.toml` of `edge-agent simulate`. `edge-agent check agent.toml` holds a file against all of it and
lists every problem at once, with the close match for a word that is not known. This page is written from the types
themselves by `tests/configuration_page.py`.

Durations are text such as `"500ms"`, `"2s"`, `"15m"`, `"1h"` or `"30d"`; sizes such as `"64KiB"` or `"256MiB"`. A
name matches `[a-z0-9][a-z0-9_-]{0,62}`. A file that is named stands beside `agent.toml` unless its path is absolute.
"""
SCALARS = {
    str: "text", int: "whole number", float: "number", bool: "true or false", bytes: "bytes", types.NoneType: "nothing",
    checked.Seconds: "duration", checked.Size: "size", checked.Name: "name",
}  # fmt: skip


def page():
    """Return the whole page."""
    parts, told = [HEAD], set()
    for title, kind in (("agent.toml", Settings), ("A firmware profile", Profile), ("plant.toml", PlantSettings)):
        parts.append(f"## {title}\n")
        waiting = list(structs_in(kind))
        while waiting:
            each = waiting.pop(0)
            if each not in told:
                told.add(each)
                parts.append(section(each))
                waiting += [inner for hint in hints(each).values() for inner in structs_in(hint)]
    return "\n".join(parts)


def section(kind):
    """Return what is said of one table: its own words, and a row for each key."""
    config = kind.__struct_config__
    tag = f" · `{config.tag_field} = {shown(config.tag)}`" if config.tag is not None else ""
    found = [f"### {kind.__name__}{tag}", "", cell(inspect.cleandoc(kind.__doc__ or "")), ""]
    said, wanted = words(kind), hints(kind)
    rows = [
        f"| `{field.encode_name}` | {form(wanted[field.name])} | {default(field)} | {cell(said.get(field.name, ''))} |"
        for field in msgspec.structs.fields(kind)
    ]
    if rows:
        found += ["| key | takes | default | |", "|---|---|---|---|", *rows, ""]
    return "\n".join(found)


def hints(kind):
    return typing.get_type_hints(kind, include_extras=True)


def structs_in(hint):
    """Return the tables that a type names, in order."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for inner in typing.get_args(hint):
        if not isinstance(inner, (str, int, float)):
            yield from structs_in(inner)


def words(kind):
    """Return the docstring that stands behind each field, those of the bases included."""
    found = {}
    for each in reversed(kind.__mro__):
        if not issubclass(each, msgspec.Struct) or each is msgspec.Struct:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body
        for before, after in itertools.pairwise(body):
            if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr):
                found[before.target.id] = inspect.cleandoc(ast.literal_eval(after.value))
    return found


def form(hint):  # noqa: PLR0911 - a row for each kind of type
    """Return what a key takes, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if hint in checked._SCALARS:
        return checked._SCALARS[hint][1]
    if origin is typing.Annotated:
        return form(inner[0]) + limits(inner[1])
    if origin is typing.Literal:
        return ", ".join(f"`{shown(each)}`" for each in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(form(each) for each in inner if each is not types.NoneType))
    if origin is tuple:
        several = inner[-1] is Ellipsis
        return f"list of {form(inner[0])}" if several else f"[{', '.join(form(each) for each in inner)}]"
    if origin is dict:
        return f"table of {form(inner[0])} to {form(inner[1])}"
    assert issubclass(hint, msgspec.Struct), hint
    return f"[{hint.__name__}](#{anchor(hint)})"


def anchor(kind):
    config = kind.__struct_config__
    tag = f"--{config.tag_field}--{config.tag}" if config.tag is not None else ""
    return (kind.__name__ + tag).lower()


def limits(meta):
    told = [
        f"{word} {bound:g}"
        for word, bound in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
        if bound is not None
    ]
    if meta.pattern is not None:
        told.append(f"of the form `{meta.pattern}`")
    return f" {', '.join(told)}" if told else ""


def default(field):
    if field.required:
        return "**required**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or isinstance(value, msgspec.Struct) or value in ((), {}):
        return ""
    return f"`{shown(value)}`"


def shown(value):
    """Return a value as it is written in TOML."""
    if isinstance(value, checked.Seconds):
        units = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
        name = next((unit for unit, length in units.items() if value >= length and value % length == 0), "s")
        return f'"{value / units[name]:g}{name}"'
    if isinstance(value, checked.Size):
        return f'"{value // 1024**2}MiB"' if value % 1024**2 == 0 else f'"{value // 1024}KiB"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(shown, value))}]"
    return repr(value)


def cell(text):
    """Return text that stays in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
