"""The running state of the statistics, newest only: losing it costs a warm-up and nothing else.

The file is JSON for a person, `{"v": 1, "crc32": "…", "baselines": …}`; the check is over the bytes of the last.
"""

import json
import re
import zlib
from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, read_whole, telling, write_aside

_FORM = re.compile(rb'\{"v": 1, "crc32": "([0-9a-f]{8})", "baselines": (.*)\}\n', re.DOTALL)


class Baselines:
    """One document, replaced whole. `fault` says in words why the last `load` gave nothing, or is empty."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._path = path
        self._disk = disk or Disk()
        self.fault = ""

    def save(self, document: str | bytes) -> None:
        """Replace the document, JSON text, durably; a crash leaves the old one or the new. Raises StoreError."""
        text = document.encode() if isinstance(document, str) else document
        content = b'{"v": 1, "crc32": "%08x", "baselines": %s}\n' % (zlib.crc32(text), text)
        with telling(self._path, "keep the baselines"):
            write_aside(self._disk, self._path, content)

    def load(self) -> bytes | None:
        """Return the document as it was saved, or None when there is none or it is damaged: see `fault`."""
        self.fault = ""
        try:
            with telling(self._path, "read the baselines"):
                content = read_whole(self._disk, self._path)
        except StoreError as error:
            self.fault = str(error)
            return None
        match = _FORM.fullmatch(content)
        if match is None or zlib.crc32(match[2]) != int(match[1], 16) or not _is_json(match[2]):
            self.fault = f"{self._path}: got a damaged file, wanted baselines: they are learned again"
            return None
        return match[2]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
