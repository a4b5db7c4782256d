"""A disk that keeps the contract of `Disk` in memory, and can fail, fill up, and lose its power.

What was written and not synced may be lost, kept or torn at a power cut, each write by itself and in any order;
so may each change of a folder before the folder was synced (stricter than ext4, which keeps their order). A sync
that fails leaves what it should have written in memory, marked as written, and not on the medium: as Linux does.
"""

import errno
import itertools
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.store.disk import Disk, Space


class PowerCut(BaseException):
    """Not an Exception: nothing may catch it."""


class Inode:
    def __init__(self, content=b""):
        self.cache = bytearray(content)
        self.medium = bytes(content)
        self.pending = []  # (offset, bytes) or an int: cut to this size
        self.rotten = range(0)  # offsets that cannot be read any more


def applied(content, change):
    content = bytearray(content)
    if isinstance(change, int):
        del content[change:]
        return content + bytes(change - len(content))
    offset, data = change
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data
    return content


class FaultyDisk(Disk):
    def __init__(self, total=1 << 40):
        self.files: dict[Path, Inode] = {}
        self.durable: dict[Path, Inode] = {}
        self.renamings = []  # unsynced changes of names: (path, inode or None, old path or None)
        self.folders = {Path("/")}
        self.open_files: dict[int, Inode] = {}
        self.total = total
        self.others = 0  # bytes that others take
        self.count = 0
        self.cut_at = None
        self.dead = False
        self.fault: Callable[[str, Path | None], int] = lambda op, path: 0
        self.log = []

    # ---- Disk

    def make_folder(self, path):
        self._step("make_folder", path)
        self.folders.add(path)

    def create(self, path):
        self._step("create", path)
        if path in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._name(path, Inode())
        return self._opened(path)

    def open(self, path):
        self._step("open", path)
        return self._opened(path)

    def open_writable(self, path):
        return self.open(path)

    def close(self, file):
        del self.open_files[file]

    def read(self, file, size, offset):
        self._step("read", None)
        inode = self.open_files[file]
        if offset < inode.rotten.stop and offset + size > inode.rotten.start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return bytes(inode.cache[offset : offset + size])

    def write(self, file, content, offset):
        inode = self.open_files[file]
        fault = self.fault("write", None)
        grows = max(0, offset + len(content) - len(inode.cache))
        if grows > self._free():
            fault = errno.ENOSPC
        if fault:  # as much as there is room for, then the error
            content = content[: min(len(content) // 2, max(0, len(inode.cache) + self._free() - offset))]
        inode.pending.append((offset, bytes(content)))
        inode.cache = applied(inode.cache, inode.pending[-1])
        self._step("write", None, asked=True)
        if fault:
            raise OSError(fault, os.strerror(fault))

    def status(self, file):
        found = [stat.S_IFREG | 0o600, 0, 0, 1, os.geteuid(), 0, len(self.open_files[file].cache), 0, 0, 0]
        return os.stat_result(found)

    def truncate(self, file, size):
        self._step("truncate", None)
        inode = self.open_files[file]
        inode.pending.append(size)
        inode.cache = applied(inode.cache, size)

    def sync(self, file):
        inode = self.open_files[file]
        try:
            self._step("sync", None)
        except OSError:
            inode.pending.clear()  # marked as written
            raise
        for change in inode.pending:
            inode.medium = bytes(applied(inode.medium, change))
        inode.pending.clear()

    sync_content = sync

    def forget(self, file):
        inode = self.open_files[file]
        inode.cache = bytearray(inode.medium)
        for change in inode.pending:
            inode.cache = applied(inode.cache, change)

    def rename(self, old, new):
        self._step("rename", new)
        self._name(new, self.files[old], old)

    def link(self, old, new):
        self._step("link", new)
        if new in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._name(new, self.files[old])

    def unlink(self, path):
        self._step("unlink", path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._name(path, None)

    def sync_folder(self, path):
        self._step("sync_folder", path)
        mine = [change for change in self.renamings if change[0].parent == path]
        self.durable = self._named(self.durable, mine)
        self.renamings = [change for change in self.renamings if change not in mine]

    def names(self, path):
        self._step("names", path)
        return [each.name for each in self.files if each.parent == path]

    def space(self, path):
        return Space(self._free(), self.total)

    # ---- what tests ask and do

    def used(self, folder):
        return sum(len(inode.cache) for path, inode in self.files.items() if path.parent == folder)

    def flip(self, path, bit):
        """Flip a bit on the medium and in memory."""
        inode = self.files[path]
        for content in (inode.cache, medium := bytearray(inode.medium)):
            content[bit // 8] ^= 1 << bit % 8
        inode.medium = bytes(medium)

    def after_cut(self, choose: Callable[[int], int]) -> "FaultyDisk":
        """Return the disk after a power cut. `choose(n)` gives one of n possible fates, 0 … n-1; 0 is "lost"."""
        names = self._named(self.durable, [change for change in self.renamings if choose(2)])
        after = FaultyDisk(self.total)
        after.others, after.folders = self.others, set(self.folders)
        fates: dict[Inode, Inode] = {}
        for path, inode in names.items():
            if inode not in fates:
                content = inode.medium
                for change in inode.pending:
                    left = [None, change, *torn(change)]
                    fate = left[choose(len(left))]
                    content = content if fate is None else applied(content, fate)
                fates[inode] = Inode(bytes(content))
            after.files[path] = after.durable[path] = fates[inode]
        return after

    def all_after_cut(self, limit: int, seed: int = 0) -> Iterator["FaultyDisk"]:
        """Give every disk that a power cut may leave; of more than `limit` a fixed sample, all lost and all kept in it."""
        radices: list[int] = []
        self.after_cut(lambda n: (radices.append(n), 1)[1])  # all kept: every question is asked
        total = 1
        for radix in radices:
            total *= radix
        if total <= limit:
            chosen = itertools.product(*map(range, radices))
        else:
            rng = random.Random(seed)
            plain = [tuple(int(i < k) for i in range(len(radices))) for k in range(len(radices) + 1)]
            chosen = plain + [tuple(rng.randrange(n) for n in radices) for _ in range(limit - len(plain))]
        for fates in chosen:
            answers = iter(fates)
            yield self.after_cut(lambda n, answers=answers: next(answers, 0) % n)

    def killed(self) -> "FaultyDisk":
        """Return the disk as the next process finds it when only this one died: memory is still there."""
        self.open_files.clear()
        self.cut_at, self.dead, self.fault = None, False, lambda op, path: 0
        return self

    def _step(self, op, path, asked=False):
        if self.dead or self.count == self.cut_at:
            self.dead = True
            raise PowerCut
        self.count += 1
        fault = 0 if asked else self.fault(op, path)
        if fault:
            raise OSError(fault, os.strerror(fault))

    def _opened(self, path):
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        file = next(n for n in itertools.count(3) if n not in self.open_files)
        self.open_files[file] = self.files[path]
        return file

    def _name(self, path, inode, old=None):
        self.renamings.append((path, inode, old))
        self.files = self._named(self.files, self.renamings[-1:])

    @staticmethod
    def _named(names, changes):
        names = dict(names)
        for path, inode, old in changes:
            if inode is None:
                names.pop(path, None)
            else:
                if old is not None and names.get(old) is inode:
                    del names[old]
                names[path] = inode
        return names

    def _free(self):
        return self.total - self.others - sum(len(inode.cache) for inode in set(self.files.values()))


def torn(change):
    """Return what may be left of a write that was under way: a beginning, an end, a middle that is missing."""
    if isinstance(change, int):
        return []
    offset, data = change
    cuts = sorted({c for c in (1, 4, 8, 11, 12, 13, len(data) // 2, len(data) - 1) if 0 < c < len(data)})
    heads = [(offset, data[:cut]) for cut in cuts]
    tails = [(offset + cut, data[cut:]) for cut in (4, 12, len(data) // 2) if 0 < cut < len(data)]
    return heads + tails
