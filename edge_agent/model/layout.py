"""Every topic, path and identifier form, in one place.

Identifiers go into topics, file names and log lines, so they are checked where they enter (`is_name`), and
nothing else is ever put into a topic (no `+`, `#`, `/`, `..`, NUL or direction marks).
"""

import re
from pathlib import Path

NAME_FORM = "[a-z0-9][a-z0-9_-]{0,62}"
_NAME = re.compile(NAME_FORM)

CHANNELS = ("record", "snapshot", "status", "command", "ack")

_TYPE_PREFIX = "application/vnd.edge-agent."
RECORD_TYPE = _TYPE_PREFIX + "record+msgpack"
SNAPSHOT_TYPE = _TYPE_PREFIX + "snapshot+msgpack"
RECEIPT_TYPE = _TYPE_PREFIX + "receipt+msgpack"
APPROVAL_TYPE = _TYPE_PREFIX + "approval+msgpack"

# Where the profiles stand: beside the package in a checkout, inside it when installed.
_PACKAGE = Path(__file__).resolve().parent.parent
PROFILE_FOLDERS = (_PACKAGE / "firmware_profiles", _PACKAGE.parent / "firmware_profiles")


def is_name(text: str) -> bool:
    """Whether `text` may be used as a world, source, entity or point name."""
    return _NAME.fullmatch(text) is not None


def topic(world_id: str, channel: str) -> str:
    """Return the topic of one of `CHANNELS` for a gateway."""
    assert channel in CHANNELS
    return f"edge/v1/{world_id}/{channel}"


def entity_id(world_id: str, entity_type: str, local: str) -> str:
    """Return the stable id of an entity, `namespace:type:id`."""
    return f"{world_id}:{entity_type}:{local}"


def local_name(entity: str) -> str:
    """Return the last part of an entity id: what a person calls it on site."""
    return entity.rsplit(":", 1)[-1]


def variable_path(entity: str, name: str) -> str:
    """Return how a variable is called on site and in agent.toml: `pump.bearing_temp`."""
    return f"{local_name(entity)}.{name}"


def sensor_ref(source: str, point: str) -> str:
    """Return the anchor of what a source reads at one point."""
    return f"sensor:{source}/{point}"


def record_ref(seq: int) -> str:
    """Return the anchor of a sealed record; `edge-agent log show` leads there."""
    return f"record:{seq}"


class DataDir:
    """The paths under `data_dir`; the one list of what the agent keeps on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.log = root / "log"
        self.snapshots = root / "snapshots.json"
        self.status = root / "status.sock"
        self.reload = root / "reload.sock"
        self.baselines = root / "baselines.json"
        self.lessons = root / "lessons.json"
        self.holes = root / "holes.json"
        self.asks = root / "asks"
        self.rolled_back = root / "rolled-back.json"
        self.keys = root / "keys"
        self.private_key = self.keys / "agent.key"
        self.next_key = self.keys / "agent.key.new"
        self.public_key = self.keys / "agent.pub"
        self.rotations = self.keys / "rotations"
