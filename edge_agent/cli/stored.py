"""A data folder as a reader sees it: with the public key alone, changing nothing, while the agent may be running."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge_agent.config import load
from edge_agent.model.errors import StoreError, TrustError
from edge_agent.model.layout import DataDir
from edge_agent.model.world import World
from edge_agent.seal.canonical import unpack
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import Stretch, ground_of, unseal_stretch
from edge_agent.store.keys import load_public
from edge_agent.store.rotations import read_ring
from edge_agent.store.shelf import Shelf
from edge_agent.store.snapshots import Stored, read_snapshots
from edge_agent.twin.baseline import empty_world
from edge_agent.twin.diff import apply


class Folder(NamedTuple):
    """What stands in a data folder."""

    data: DataDir
    key: Keyring
    shelf: Shelf
    snapshots: list[Stored]
    """Newest first."""

    @property
    def end(self) -> tuple[int, bytes]:
        """The log's last sequence number, and its digest."""
        return self.shelf.stand.seq, self.shelf.stand.digest


def open_folder(path: Path, key: Path | None = None) -> Folder:
    """Return a data folder for reading. Raises StoreError when it is none, TrustError when the key is none."""
    data = DataDir(path)
    if not data.log.is_dir():
        raise StoreError(f"{path}: got no log in it, wanted the data_dir of an agent")
    # Snapshots first: an agent that runs goes on meanwhile, and the log may be ahead of them, never the other way.
    snapshots = read_snapshots(data.snapshots)
    keys = read_ring(data, load_public(key or data.public_key))
    return Folder(data, keys, Shelf.survey(data.log, key=keys), snapshots)


def data_of(where: Path) -> DataDir:
    """Return the data folder that an agent.toml names, or that is named itself. Raises ConfigError."""
    return DataDir(Path(load(where).settings.agent.data_dir) if where.is_file() else where)


def place_of(where: Path, key: Path | None = None) -> Folder:
    """Return the data folder that an agent.toml names, or that is named itself, for reading.

    Raises ConfigError, and what `open_folder` does.
    """
    return open_folder(data_of(where).root, key)


def reopened(folder: Folder) -> Folder:
    """Return the folder as it stands now, with the keys that are known. Raises StoreError and TrustError."""
    keys = read_ring(folder.data, folder.key.keys[0])
    return folder._replace(key=keys, shelf=Shelf.survey(folder.data.log, key=keys))


def opened_envelope(envelope: bytes, keys: Keyring) -> dict[str, Any]:
    """Return the payload of a verified record or range as JSON has it, with its type, digest and signers.

    Bytes are hexadecimal; states are `{number: [value, at, quality]}` as in a snapshot. Raises WireError or TrustError.
    """
    stretch = unseal_stretch(envelope, keys)
    raw = unpack(envelope)
    payload: dict[str, Any] = unpack(raw["payload"])
    states = {str(n): [state.value, state.at_ms, state.quality] for n, state in sorted(stretch.delta.states.items())}
    told = {
        "type": raw["payloadType"],
        "digest": stretch.digests[-1].hex(),
        "signed_by": [each["keyid"] for each in raw["signatures"]],
        **_plain(payload),
    }
    if states:
        told["delta"] = {**told["delta"], "states": states}
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def walk(folder: Folder) -> Iterator[tuple[World, Stretch, World]]:
    """Give each record of the log with the world before and after it, as far back as there is a world to begin from.

    That is the empty one when the log holds record 1, else the oldest snapshot. Raises WireError or TrustError where
    something does not hold; `edge-agent log verify` says more of it.
    """
    world = _first_world(folder)
    for item in folder.shelf.records(world.version + 1):
        stretch = unseal_stretch(item.envelope, folder.key)
        if stretch.last <= world.version:
            continue
        after = apply(ground_of(stretch, world), stretch.delta, stretch.last, stretch.at_ms)
        yield world, stretch, after
        world = after


def _first_world(folder: Folder) -> World:
    first = next(iter(folder.shelf.records(1)), None)
    if first is not None and first.first == 1:
        return empty_world(unseal_stretch(first.envelope, folder.key).world_id)
    if not folder.snapshots:
        raise TrustError(f"{folder.data.snapshots}: got no snapshot, wanted one to begin from")
    return unseal_snapshot(folder.snapshots[-1].envelope, folder.key).world
