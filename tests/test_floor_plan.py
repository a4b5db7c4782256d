"""The one rule of the house: import only from a lower storey, never from another room of your own.

Every import under edge_agent/ is read, also those inside functions and under TYPE_CHECKING. What is not an
`import` statement (importlib, `__import__`, the builtin `open`) is not seen.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

STOREY = {
    "__init__": 0, "model": 0,
    "twin": 1, "judge": 1, "seal": 1,
    "mqtt": 2, "desk": 2, "hands": 2,
    "sync": 3, "sources": 3, "uplink": 3, "store": 3, "plant": 3,
    "service": 4, "config": 4,
    "cli": 5,
}  # fmt: skip
KNOWN_ONLY_TO = {"plant": "cli"}
PURE = (0, 1)
IMPURE = {
    "time", "datetime", "random", "secrets", "uuid", "os", "pathlib", "io", "glob", "fcntl", "tempfile", "shutil",
    "socket", "ssl", "select", "selectors", "subprocess", "signal", "asyncio", "threading", "multiprocessing",
    "concurrent", "logging",
}  # fmt: skip
PURE_EXCEPTIONS = {("model/layout.py", "pathlib")}
ROOMS_OF = {
    "cryptography": {"seal"},
    "msgpack": {"seal"},
    "msgspec": {room for room, storey in STOREY.items() if storey not in PURE} | {"model"},
}
"""Libraries that belong to rooms; any other belongs to one file."""
SERVER_HALVES = {"pymodbus"}
"""Libraries of which plant/ uses the server, in one file of its own."""

Files = dict[str, str]
"""Path under edge_agent/ to source."""
Import = tuple[str, int, str]
"""The importing file, the line, and the full name of the module imported."""


def violations(files: Files) -> list[str]:
    """Return every breach of the rule, each as `file:line: what is imported: why not`."""
    imports = [found for file in files if room(file) in STOREY for found in imports_of(file, files)]
    breaches = [(file, 1, "stands in no room: name it in STOREY") for file in files if room(file) not in STOREY]
    breaches += [(f, n, f"imports {m}: {why}") for f, n, m in imports for why in (why_not(f, m),) if why]
    breaches += [*second_owners(imports), *circles(imports, files), *nameless_packages(files)]
    return [f"edge_agent/{file}:{line}: {text}" for file, line, text in sorted(breaches)]


def room(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def module(file: str) -> str:
    return ("edge_agent." + file.removesuffix(".py").replace("/", ".")).removesuffix(".__init__")


def imports_of(file: str, files: Files) -> Iterator[Import]:
    modules = set(map(module, files))
    package = module(file) if file.endswith("__init__.py") else module(file).rpartition(".")[0]
    for node in ast.walk(ast.parse(files[file])):
        if isinstance(node, ast.Import):
            yield from ((file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            for name in (f"{base}.{alias.name}" for alias in node.names):
                yield file, node.lineno, name if name in modules else base


def why_not(file: str, name: str) -> str | None:
    here, top = room(file), name.partition(".")[0]
    if top == "edge_agent":
        there = [*name.split("."), "__init__"][1]
        if there not in STOREY:
            return "there is no such room"
        if here != there and STOREY[there] >= STOREY[here]:
            return f"{there} is on storey {STOREY[there]}, {here} on {STOREY[here]}: only a lower one may be imported"
        stranger = here not in (there, KNOWN_ONLY_TO.get(there, here))
        return f"only {KNOWN_ONLY_TO[there]} may know {there}" if stranger else None
    if top in sys.stdlib_module_names:
        forbidden = STOREY[here] in PURE and top in IMPURE and (file, top) not in PURE_EXCEPTIONS
        return f"storey {STOREY[here]} is pure: pass in what {top} would give" if forbidden else None
    if top in ROOMS_OF:
        return None if here in ROOMS_OF[top] else f"{top} belongs to {', '.join(sorted(ROOMS_OF[top]))}"
    return f"storey {STOREY[here]} takes no third party" if STOREY[here] in PURE else None


def second_owners(imports: list[Import]) -> Iterator[Import]:
    owners: dict[tuple[str, bool], str] = {}
    for file, line, name in sorted(imports):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names | {"edge_agent"} | ROOMS_OF.keys():
            owner = owners.setdefault((top, top in SERVER_HALVES and room(file) == "plant"), file)
            if file != owner:
                yield file, line, f"imports {name}: {top} already belongs to edge_agent/{owner}, and to that file alone"


def circles(imports: list[Import], files: Files) -> Iterator[Import]:
    paths = {module(file): file for file in files}
    edges: dict[str, list[tuple[int, str]]] = {file: [] for file in files}
    for file, line, name in imports:
        if name in paths and paths[name] != file:
            edges[file].append((line, paths[name]))

    def leads_to(start: str, goal: str, seen: set[str]) -> bool:
        seen.add(start)
        return any(to == goal or (to not in seen and leads_to(to, goal, seen)) for _, to in edges[start])

    for file, found in edges.items():
        for line, to in found:
            if room(to) == room(file) and leads_to(to, file, set()):
                yield file, line, f"imports {module(to)}: which leads back here, a circle"


def nameless_packages(files: Files) -> Iterator[Import]:
    for folder in {file.rpartition("/")[0] for file in files}:
        init = f"{folder}/__init__.py".lstrip("/")
        if ast.get_docstring(ast.parse(files.get(init, ""))) is None:
            yield init, 1, "a package says in a docstring what it is"


def test_the_house_keeps_to_its_floor_plan() -> None:
    root = Path(__file__).parent.parent / "edge_agent"
    found = violations({str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")})
    assert not found, "\n" + "\n".join(found)


SOUND = {
    "__init__.py": '"""The house."""',
    "model/__init__.py": '"""Nouns."""',
    "model/layout.py": "from pathlib import Path\nimport msgspec\nimport re",
    "seal/__init__.py": '"""Seal."""\nimport hashlib\nimport msgpack\nfrom cryptography.hazmat import primitives',
    "sync.py": "",
    "mqtt.py": "import asyncio\nimport paho.mqtt.client\nfrom edge_agent.model import layout\nfrom edge_agent import __version__",
    "sources/__init__.py": '"""Doors."""\nimport msgspec',
    "sources/modbus.py": "import pymodbus.client\nfrom edge_agent.sources import Clock\nfrom edge_agent.mqtt import Session",
    "plant/__init__.py": '"""Plant."""',
    "plant/modbus.py": "import pymodbus.server\nimport edge_agent.model.layout",
    "cli/__init__.py": '"""Commands."""\nimport edge_agent.plant.modbus',
}


def test_a_sound_house_passes() -> None:
    assert violations(SOUND) == []


@pytest.mark.parametrize(
    ("file", "source", "wanted"),
    [
        ("model/layout.py", "import edge_agent.seal", "model/layout.py:1: imports edge_agent.seal: seal is on storey 1"),
        ("model/layout.py", "\nfrom edge_agent import plant", "model/layout.py:2: imports edge_agent.plant: plant is on"),
        ("model/layout.py", "from .. import sources", "imports edge_agent.sources: sources is on storey 3, model on 0"),
        ("sources/modbus.py", "import edge_agent.uplink.x", "uplink is on storey 3, sources on 3"),
        ("sources/modbus.py", "def f():\n    from edge_agent import sync", "sources/modbus.py:2: imports edge_agent"),
        ("sources/modbus.py", "if TYPE_CHECKING:\n    import edge_agent.service", "service is on storey 4"),
        ("sources/modbus.py", "from edge_agent.attic import box", "edge_agent.attic: there is no such room"),
        ("service/__init__.py", '"""Runs."""\nimport edge_agent.plant', "only cli may know plant"),
        ("model/reading.py", "from datetime import UTC", "imports datetime: storey 0 is pure"),
        ("model/reading.py", "import pathlib", "imports pathlib: storey 0 is pure"),
        ("seal/keys.py", "import os.path", "imports os.path: storey 1 is pure"),
        ("seal/keys.py", "import msgspec", "msgspec belongs to"),
        ("sources/http.py", "import msgpack", "imports msgpack: msgpack belongs to seal"),
        ("seal/keys.py", "import numpy", "imports numpy: storey 1 takes no third party"),
        ("sources/rtu.py", "from pymodbus import client", "pymodbus already belongs to edge_agent/sources/modbus.py"),
        ("plant/rtu.py", "from pymodbus import server", "pymodbus already belongs to edge_agent/plant/modbus.py"),
        ("sources/a.py", "import paho.mqtt", "paho already belongs to edge_agent/mqtt.py"),
        ("sources/__init__.py", '"""Doors."""\nimport edge_agent.sources.modbus', "which leads back here, a circle"),
        ("attic.py", "", "attic.py:1: stands in no room"),
        ("attic/__init__.py", '"""Old things."""', "attic/__init__.py:1: stands in no room"),
        ("sources/deep/one.py", "", "sources/deep/__init__.py:1: a package says"),
    ],
)  # fmt: skip
def test_each_breach_is_seen_and_says_where_and_why(file: str, source: str, wanted: str) -> None:
    assert any(wanted in breach for breach in violations(SOUND | {file: source}))
