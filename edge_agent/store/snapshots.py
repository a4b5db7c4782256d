"""Signed snapshots in TinyDB: restore points, few and readable by a person (reference/formats.md §7).

TinyDB rewrites its file in place, and a power cut in it left 6 of 13 states unreadable or mixed. So the storage
is ours: written aside, synced, renamed, with the generation before kept as `.old`. The log is the truth; what is
here saves replaying all of it. Readers trust the signed envelope alone.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinydb import TinyDB
from tinydb.storages import Storage

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, read_whole, remove, telling, write_new

_TABLE = "snapshots"
_Tables = dict[str, dict[str, Any]]


class Stored(NamedTuple):
    """One snapshot. All but the envelope repeats what is signed in it."""

    seq: int
    """The record it stands at."""
    at_ms: int
    reason: str
    state: bytes
    envelope: bytes


_Kept = list[Stored]


class Generations(Storage):
    """TinyDB's storage over two files, newest and `.old`: at every instant one of them is whole.

    `write` only notes what is to be written; `commit` makes it durable, `abandon` forgets it. A document that did
    not change since it was read or written is not serialised again.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._old = path.with_name(path.name + ".old")
        self._disk = disk
        self._texts: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}
        self.fault = ""
        """Why the newest file was not the one that was read, in words, or empty."""
        self._committed = self._found()
        self._staged = self._committed

    def read(self) -> _Tables | None:
        """Return the tables as they were last written, or None when there are none. The caller owns the outer maps."""
        return {name: dict(table) for name, table in self._staged.items()} or None

    def write(self, data: _Tables) -> None:
        """Note the tables to be written."""
        self._staged = {name: dict(table) for name, table in data.items()}

    def commit(self) -> None:
        """Make durable what was written. May raise OSError; what was durable before is then still there."""
        content = self._rendered()
        aside = self._path.with_name(self._path.name + ".new")
        write_new(self._disk, aside, content)
        if not self.fault and self._path.name in self._disk.names(self._path.parent):
            remove(self._disk, self._old)
            self._disk.link(self._path, self._old)
            self._disk.sync_folder(self._path.parent)
        self._disk.rename(aside, self._path)
        self._disk.sync_folder(self._path.parent)
        self._committed, self.fault = self._staged, ""

    def abandon(self) -> None:
        """Forget what was written and not made durable."""
        self._staged = self._committed

    def _found(self) -> _Tables:
        faults: list[str] = []
        for path in (self._path, self._old):
            try:
                return _tables(read_whole(self._disk, path))
            except FileNotFoundError:
                faults.append(f"{path.name} is missing")
            except ValueError as error:
                faults.append(f"{path.name} is damaged ({str(error)[:80]})")
            finally:
                self.fault = ", ".join(faults)
        if self.fault == f"{self._path.name} is missing, {self._old.name} is missing":
            self.fault = ""
        return {}

    def _rendered(self) -> bytes:
        known, self._texts = self._texts, {}
        tables: list[str] = []
        for name, table in self._staged.items():
            rows = [f"{json.dumps(key)}: {self._text((name, key), row, known)}" for key, row in table.items()]
            tables.append(json.dumps(name) + ": {\n" + ",\n".join(rows) + "}")
        return ("{" + ",\n".join(tables) + "}\n").encode()

    def _text(
        self,
        place: tuple[str, str],
        row: Mapping[str, Any],
        known: Mapping[tuple[str, str], tuple[Mapping[str, Any], str]],
    ) -> str:
        before, text = known.get(place, ({}, ""))
        if before != row:
            before, text = dict(row), json.dumps(row, ensure_ascii=False, allow_nan=False)
        self._texts[place] = (before, text)
        return text


class Snapshots:
    """The newest snapshots of one gateway. Call `add` in a worker thread."""

    def __init__(self, path: Path, keep: int, storage: Generations) -> None:
        self._path = path
        self.keep = keep
        self._storage = storage
        self._table = TinyDB(storage=lambda: storage).table(_TABLE, cache_size=0)

    @classmethod
    def open(cls, path: Path, keep: int, disk: Disk | None = None) -> "Snapshots":
        """Read what there is; `keep` newest will be kept, one at least. Raises StoreError."""
        with telling(path, "read the snapshots"):
            return cls(path, max(keep, 1), Generations(path, disk or Disk()))

    @property
    def fault(self) -> str:
        """Why the generation before the newest is used, in words, or empty."""
        return self._storage.fault

    def add(self, envelope: bytes, seq: int, at_ms: int, reason: str, state: bytes) -> None:
        """Keep one more, durable on return, and let go of the oldest beyond `keep`.

        Raises StoreError; what was kept before is then still there.
        """
        text = base64.b64encode(envelope).decode()
        row = {"seq": seq, "at": at_ms, "reason": reason, "state": state.hex(), "envelope": text}
        try:
            self._table.insert(row)
            self._table.remove(doc_ids=self._newest_first()[self.keep :])
            with telling(self._path, "keep a snapshot"):
                self._storage.commit()
        except StoreError:
            self._storage.abandon()
            raise

    def list(self) -> _Kept:
        """Return what is kept, newest first. A document that is no snapshot is left out."""
        rows = {each.doc_id: each for each in self._table}
        return [stored for number in self._newest_first() if (stored := _stored(rows[number])) is not None]

    def oldest_seq(self) -> int:
        """Return the record that the oldest stands at; 0 when there is none."""
        return min((each.seq for each in self.list()), default=0)

    def _newest_first(self) -> Sequence[int]:
        return sorted((each.doc_id for each in self._table), reverse=True)


def read_snapshots(path: Path) -> list[Stored]:
    """Return what is kept, newest first, changing nothing. Raises StoreError."""
    return Snapshots.open(path, 1).list()


def _tables(content: bytes) -> _Tables:
    """Return what a file holds. Raises ValueError when it is not TinyDB's layout."""
    raw = json.loads(content)
    if not isinstance(raw, dict) or not all(isinstance(table, dict) for table in raw.values()):
        raise ValueError("not a map of tables")
    rows = [(key, row) for table in raw.values() for key, row in table.items()]
    if not all(key.isdecimal() and isinstance(row, dict) for key, row in rows):
        raise ValueError("not a table of numbered documents")
    if _TABLE not in raw:
        raise ValueError(f"no table {_TABLE}")
    return raw


def _stored(row: Mapping[str, Any]) -> Stored | None:
    try:
        state, envelope = bytes.fromhex(row["state"]), base64.b64decode(row["envelope"], validate=True)
        return Stored(int(row["seq"]), int(row["at"]), str(row["reason"]), state, envelope)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
