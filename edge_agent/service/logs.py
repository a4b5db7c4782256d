"""How the service speaks to its log: one line for each change of state, for a person or as JSON.

Lines go to standard error, where the journal takes them; it reads the level from a prefix `<n>` and adds the time
itself. Whatever text from outside got into a message, a line stays one line without terminal codes.
"""

import json
import logging
import os

from edge_agent.model.reading import iso_utc

_LONGEST = 2000
_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def set_up(*, as_json: bool) -> None:
    """Have all messages from INFO on written to standard error."""
    handler = logging.StreamHandler()
    journal = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(JsonLines() if as_json else PlainLines(levels=journal))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class PlainLines(logging.Formatter):
    """`WARNING text`; with `levels` as the journal wants it, `<4>text`."""

    def __init__(self, *, levels: bool) -> None:
        super().__init__()
        self._levels = levels

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and behind it the lines of a traceback when there is one."""
        head = f"<{_SYSLOG.get(record.levelno, 6)}>" if self._levels else f"{record.levelname} "
        line = head + one_line(record.getMessage())
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonLines(logging.Formatter):
    """`{"at": …, "level": …, "from": …, "text": …}`, one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        told = {
            "at": iso_utc(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "from": record.name,
            "text": one_line(record.getMessage()),
        }
        if record.exc_info is not None:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


def one_line(text: str) -> str:
    """Return text with everything escaped that is no printable character, cut at `_LONGEST` characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
