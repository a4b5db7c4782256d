"""What was learnt and can be learnt again, newest only: the running state of the statistics, the lessons of devices.

A file is JSON for a person, `{"v": 1, "crc32": "…", "baselines": …}`; the check is over the bytes of the last. Where that
is a large map, it has a line for each of its keys, and is read and written key by key: a thousand baselines all at once
as Python's objects would be the most that an agent ever holds.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edge_agent.model.errors import StoreError
from edge_agent.store.disk import Disk, read_whole, telling, write_aside

_FORM = re.compile(rb'\{"v": 1, "crc32": "([0-9a-f]{8})", "([a-z]+)": (.*)\}\n', re.DOTALL)

_BREAK, _IS = b",\n", b": "
"""Between two keys, and between a key and its value. JSON has no line break within a text."""
_COMMON = {"0.0": 0.0, "1.0": 1.0}
"""Figures that each baseline has many of: one object of each is enough."""
_DECODER = json.JSONDecoder(parse_float=lambda text: _COMMON[text] if text in _COMMON else float(text))


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
        if match is None or wrong:
            self.fault = f"{self._path}: got a damaged file, wanted {self._what}: they are learned again"
            return None
        return match[3]


class Pieces(Mapping[str, object]):
    """What a document that `joined` made, or any JSON map, says; each key is decoded when it is asked for."""

    def __init__(self, document: bytes) -> None:
        self._lines: dict[str, str] = {}
        for line in document[1:-1].split(_BREAK) if _BREAK in document else ():
            text = line.decode()
            name, end = _DECODER.raw_decode(text)
            self._lines[name] = text[end + len(_IS) :]
        whole = {} if self._lines else json.loads(document)
        self._whole: dict[str, object] = whole if isinstance(whole, dict) else {}

    def __getitem__(self, name: str) -> object:
        return _DECODER.decode(self._lines[name]) if self._lines else self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines or self._whole)

    def __len__(self) -> int:
        return len(self._lines or self._whole)


def joined(states: Iterable[tuple[str, object]]) -> bytes:
    """Return the document of a map, from what stands under each key as plain JSON values."""
    lines = [json.dumps(name).encode() + _IS + json.dumps(state).encode() for name, state in states]
    return b"{" + _BREAK.join(lines) + b"}"
