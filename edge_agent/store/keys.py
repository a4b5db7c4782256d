"""The agent's key files: made once, never overwritten, refused when others can read them."""

import os
import stat
from pathlib import Path

from edge_agent.model.errors import StoreError, TrustError
from edge_agent.model.layout import DataDir
from edge_agent.seal.keys import PrivateKey, PublicKey
from edge_agent.store.disk import Disk, opened, read_whole, remove, telling, write_aside, write_new

_OTHERS = 0o077
SEED_BYTES = 32
_MOST_BYTES = 16 * 1024
"""Of a key file; a real one takes under 500."""


def load_or_make(where: DataDir, world_id: str, disk: Disk | None = None) -> PrivateKey:
    """Return the agent's private key, after making one, with its public key beside it, when there is none.

    Raises TrustError when the file is no key or others can read it, or when the public key is there alone: a new
    key would begin a new identity, which is for a person to decide. Raises StoreError when the disk refuses.
    """
    disk = disk or Disk()
    with telling(where.keys, "make the key folder"):
        disk.make_folder(where.keys)
    key = _load(where.private_key, disk) or _make(where, disk)
    show_public(where.public_key, key.public, world_id, disk)
    return key


def load_public(path: Path) -> PublicKey:
    """Return the public key in a file. Raises TrustError when it is none, StoreError when it cannot be read."""
    with telling(path, "read the public key"), opened(Disk(), path) as file:
        text = Disk().read(file, _MOST_BYTES, 0)
    try:
        return PublicKey.from_text(text)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error


def load_private(path: Path, disk: Disk | None = None) -> PrivateKey:
    """Return the private key in a file. Raises TrustError when it is none or others can read it, StoreError."""
    key = _load(path, disk or Disk())
    if key is None:
        raise StoreError(f"{path}: got no file, wanted an OpenSSH ed25519 private key")
    return key


def show_public(path: Path, key: PublicKey, world_id: str, disk: Disk) -> None:
    """Have the public key in its file, as it is derived from the private one. Raises StoreError."""
    text = key.to_text(f"edge-agent:{world_id}")
    with telling(path, "write the public key"):
        if path.name not in disk.names(path.parent) or read_whole(disk, path) != text:
            write_aside(disk, path, text)


def _load(path: Path, disk: Disk) -> PrivateKey | None:
    try:
        with telling(path, "read the private key"), opened(disk, path) as file:
            _check_private(path, disk.status(file))
            text = disk.read(file, _MOST_BYTES, 0)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        return PrivateKey.from_text(text)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error


def _check_private(path: Path, found: os.stat_result) -> None:
    mode, user = stat.S_IMODE(found.st_mode), os.geteuid()
    if mode & _OTHERS:
        raise TrustError(
            f"{path}: got mode {mode:04o}, wanted 0600: others may read the private key (chmod 600 {path})"
        )
    if found.st_uid not in (user, 0) and user != 0:
        raise TrustError(
            f"{path}: got owner {found.st_uid}, wanted {user}: not this user's private key (chown {user} {path})"
        )


def _make(where: DataDir, disk: Disk) -> PrivateKey:
    """Make a key file that is whole under its name at once, and never in the place of another."""
    key = PrivateKey.from_seed(os.urandom(SEED_BYTES))
    aside = where.next_key
    with telling(where.private_key, "make the private key"):
        if where.public_key.name in disk.names(where.keys):
            raise TrustError(
                f"{where.private_key}: got none, wanted the one of {where.public_key.name} beside it "
                f"(restore it from a backup, or remove {where.public_key} to begin a new identity)"
            )
        write_new(disk, aside, key.to_text())
        disk.link(aside, where.private_key)
        disk.sync_folder(where.keys)
        remove(disk, aside)
        disk.sync_folder(where.keys)
    return key
