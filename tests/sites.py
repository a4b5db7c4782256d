"""Small configurations for tests: what a person would write, as text."""

from pathlib import Path

from edge_agent.config import load
from edge_agent.model.site import Site

METER = """
[[sources]]
name = "meter"
kind = "modbus"
url = "tcp://127.0.0.1:{port}"
points = [
    {{ name = "volts", function = 4, address = 0, type = "float32", unit = "V", range = [0, 500] }},
    {{ name = "relay", function = 1, address = 0, type = "bool", kind = "state", write = {{ range = [0, 1], settle = "10ms" }} }},
    {{ name = "serial_number", function = 4, address = 10, type = "uint32", identity = "serial", drift = false }},
]
"""


def written(folder: Path, text: str, port: int = 502, name: str = "agent.toml") -> Path:
    """Write a configuration with an [agent] table in front, and return its path."""
    path = folder / name
    agent = f'[agent]\nworld_id = "w"\ndata_dir = "{folder / "data"}"\n'
    path.write_text(agent + text.format(port=port))
    path.chmod(0o600)
    return path


def site(folder: Path, text: str = METER, port: int = 502) -> Site:
    """Return the checked configuration."""
    return load(written(folder, text, port))
