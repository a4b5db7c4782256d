"""What was learnt and can be learnt again, newest only: the running state of the statistics, the lessons of devices.

A file is JSON for a person, `{"v": 1, "crc32": "…", "baselines": …}`; the check is over the bytes of the last.
"""

import json
import re
import zlib
from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, read_whole, telling, write_aside

_FORM = re.compile(rb'\{"v": 1, "crc32": "([0-9a-f]{8})", "([a-z]+)": (.*)\}\n', re.DOTALL)


class Baselines:
    """One document, replaced whole. `fault` says in words why the last `load` gave nothing, or is empty."""

    def __init__(self, path: Path, disk: Disk | None = None, what: str = "baselines") -> None:
        self._path = path
        self._disk = disk or Disk()
        self._what = what
        self.fault = ""

    def save(self, document: str | bytes) -> None:
        """Replace the document, JSON text, durably; a crash leaves the old one or the new. Raises StoreError."""
        text = document.encode() if isinstance(document, str) else document
        content = b'{"v": 1, "crc32": "%08x", "%s": %s}\n' % (zlib.crc32(text), self._what.encode(), text)
        with telling(self._path, f"keep the {self._what}"):
            write_aside(self._disk, self._path, content)

    def load(self) -> bytes | None:
        """Return the document as it was saved, or None when there is none or it is damaged: see `fault`."""
        self.fault = ""
        try:
            with telling(self._path, f"read the {self._what}"):
                content = read_whole(self._disk, self._path)
        except StoreError as error:
            self.fault = str(error)
            return None
        match = _FORM.fullmatch(content)
        wrong = match is None or match[2] != self._what.encode() or zlib.crc32(match[3]) != int(match[1], 16)
        if match is None or wrong or not _is_json(match[3]):
            self.fault = f"{self._path}: got a damaged file, wanted {self._what}: they are learned again"
            return None
        return match[3]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
