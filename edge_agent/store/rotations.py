"""The agent's key replaced, so that a crash at any point leaves the old key or the new one (reference/formats.md §2.1).

The order: the new private key is durable beside the old one; the rotating record is durable in the log; a copy of
the record is kept for good; the new key takes the old one's name. A start goes on from wherever that ended.
"""

import os

from edge_agent.model.errors import StoreError, TrustError, WireError
from edge_agent.model.layout import DataDir
from edge_agent.seal.canonical import split
from edge_agent.seal.keyring import Keyring
from edge_agent.seal.keys import PrivateKey, PublicKey
from edge_agent.seal.records import Rotation, unseal_rotation
from edge_agent.store.disk import Disk, read_whole, remove, telling, write_aside, write_new
from edge_agent.store.keys import SEED_BYTES, load_private, show_public


def read_rotations(where: DataDir, disk: Disk | None = None) -> bytes:
    """Return the rotating records, back to back, oldest first; nothing when there were none. Raises StoreError."""
    try:
        with telling(where.rotations, "read the rotations"):
            return read_whole(disk or Disk(), where.rotations)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return b""
        raise


def read_ring(where: DataDir, known: PublicKey, disk: Disk | None = None) -> Keyring:
    """Return all keys of a gateway that a known one and the rotating records prove.

    Raises StoreError when they cannot be read, TrustError when one of them does not hold.
    """
    try:
        return Keyring.around(known, read_rotations(where, disk))
    except (TrustError, WireError) as error:
        raise TrustError(f"{where.rotations}: {error}") from error


def readable_ring(where: DataDir, known: PublicKey, disk: Disk | None = None) -> tuple[Keyring, str]:
    """Return what `read_ring` does; when a record in it does not hold, the known key alone and why.

    A start goes on without: older keys only matter for what is older. Raises StoreError.
    """
    try:
        return read_ring(where, known, disk), ""
    except TrustError as error:
        return Keyring(known), str(error)


def begin_rotation(where: DataDir, disk: Disk | None = None) -> PrivateKey:
    """Make the next key, durable beside the one in use. Raises StoreError."""
    disk = disk or Disk()
    key = PrivateKey.from_seed(os.urandom(SEED_BYTES))
    with telling(where.next_key, "make the next key"):
        write_new(disk, where.next_key, key.to_text())
        disk.sync_folder(where.keys)
    return key


def end_rotation(where: DataDir, world_id: str, rotating: bytes, disk: Disk | None = None) -> PrivateKey:
    """Put the next key in the place of the one in use, its record being durable. May be done again after a crash.

    Raises StoreError, and TrustError when the next key is not the one that the record names.
    """
    disk = disk or Disk()
    key = load_private(where.next_key, disk)
    rotation = unseal_rotation(rotating, key.public)
    _check_key(where, rotation, key)
    kept = _readable(read_rotations(where, disk))
    with telling(where.private_key, "put the next key in its place"):
        if rotating not in kept:
            write_aside(disk, where.rotations, b"".join([*kept, rotating]))
        disk.rename(where.next_key, where.private_key)
        disk.sync_folder(where.keys)
    show_public(where.public_key, key.public, world_id, disk)
    return key


def settle_rotation(
    where: DataDir, world_id: str, key: PrivateKey, newest: bytes | None, disk: Disk | None = None
) -> PrivateKey:
    """Return the key that signs from now on, after what a crash left half done was ended or undone.

    `newest` is the envelope of the newest record of the log. Raises StoreError, and TrustError when the key in use
    was replaced and the next one is not there.
    """
    disk = disk or Disk()
    with telling(where.keys, "read the key folder"):
        waits = where.next_key.name in disk.names(where.keys)
    rotation = _rotation_from(key.public, newest)
    if rotation is not None and newest is not None:
        if not waits:
            raise TrustError(_lost(where, rotation))
        return end_rotation(where, world_id, newest, disk)
    if waits:
        with telling(where.next_key, "remove a key that was never used"):
            remove(disk, where.next_key)
            disk.sync_folder(where.keys)
    ring, _ = readable_ring(where, key.public, disk)
    if ring.newest.raw != key.public.raw:
        raise TrustError(_lost(where, ring.rotations[-1]))
    return key


def _readable(rotations: bytes) -> list[bytes]:
    """Return the rotating records, none when they are damaged: then there is no way from the older keys any more."""
    try:
        return split(rotations)
    except WireError:
        return []


def _rotation_from(key: PublicKey, newest: bytes | None) -> Rotation | None:
    """Return what the newest record says when it replaces this key."""
    if newest is None:
        return None
    try:
        rotation = unseal_rotation(newest, key)
    except (TrustError, WireError):
        return None
    return rotation if rotation.was.raw == key.raw else None


def _check_key(where: DataDir, rotation: Rotation, key: PrivateKey) -> None:
    if rotation.key.raw != key.public.raw:
        raise TrustError(f"{where.next_key}: got key {key.public.keyid}, wanted {rotation.key.keyid}")


def _lost(where: DataDir, rotation: Rotation) -> str:
    return (
        f"{where.private_key}: got key {rotation.was.keyid}, wanted {rotation.key.keyid}, which replaced it in record "
        f"{rotation.seq} (restore it from a backup, or begin a new identity in an empty data_dir)"
    )
