"""Where a Modbus bus is, from the url that a person wrote."""

import os.path
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import Problem
from edge_agent.twin.bustime import Serial

FORMS = (
    "tcp://host[:502], tls://host[:802], rtu:///dev/serial/by-id/…[?baud=9600&parity=N&stop=1&bits=8], ascii:///dev/…,"
    " rtu+tcp://host:port or ascii+tcp://host:port"
)
_PORTS = {"tcp": 502, "tls": 802, "rtu+tcp": 502, "ascii+tcp": 502}
_OPTIONS: Mapping[str, tuple[str, Sequence[str]]] = {
    "baud": (
        "9600",
        ("1200", "2400", "4800", "9600", "14400", "19200", "38400", "57600", "76800", "115200", "230400", "460800",
         "500000", "921600", "1000000"),
    ),
    "parity": ("N", ("N", "E", "O")),
    "stop": ("1", ("1", "1.5", "2")),
    "bits": ("8", ("8", "7")),
}  # fmt: skip
"""What may stand behind the `?` of a serial url: its default, and all that it may be."""


class Address(NamedTuple):
    """One bus: a host and port, or the path of a serial port."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str | None = None
    line: Serial = Serial()

    @property
    def framing(self) -> str:
        """Return "mbap", "rtu" or "ascii"."""
        name = self.scheme.partition("+")[0]
        return name if name in ("rtu", "ascii") else "mbap"

    @property
    def numbered(self) -> bool:
        """Whether answers carry the number of their request."""
        return self.framing == "mbap"

    @property
    def bus(self) -> str:
        """The address, for a person."""
        if self.path is not None:
            return f"{self.scheme}://{self.path}"
        host = self.host if ":" not in self.host else f"[{self.host}]"
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def place(self) -> object:
        """What no two owners may share: the socket's other end, or the port behind all links to it."""
        return os.path.realpath(self.path) if self.path is not None else (self.host, self.port)


def parse(url: str, place: str, problems: list[Problem]) -> Address | None:
    """Return where a url leads, or None after noting what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is no number, a bracket left open
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme in ("rtu", "ascii"):
        sound = not parts.netloc and parts.path.startswith("/") and not parts.fragment
        line = _line(parts.query, place, problems) if sound else None
        if sound:
            return None if line is None else Address(parts.scheme, path=parts.path, line=line)
    elif parts.scheme in _PORTS and parts.hostname and port != 0:
        bare = parts.path in ("", "/") and not parts.fragment and "@" not in parts.netloc
        if bare and (not parts.query or "+" in parts.scheme):
            line = _line(parts.query, place, problems)
            host = parts.hostname
            return None if line is None else Address(parts.scheme, host, port or _PORTS[parts.scheme], line=line)
    problems.append(Problem(place, shown(url), FORMS))
    return None


def _line(query: str, place: str, problems: list[Problem]) -> Serial | None:
    before = len(problems)
    chosen = {name: default for name, (default, _) in _OPTIONS.items()}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            wanted = "one of " + ", ".join(_OPTIONS)
            problems.append(Problem(place, f"an unknown option {shown(name)}", wanted, close_match(name, _OPTIONS)))
            continue
        allowed = _OPTIONS[name][1]
        if text not in allowed:
            wanted = "one of " + ", ".join(allowed)
            problems.append(Problem(place, f"{name}={shown(text)}", wanted, close_match(text, allowed)))
        chosen[name] = text
    if len(problems) > before:
        return None
    return Serial(int(chosen["baud"]), int(chosen["bits"]), chosen["parity"], float(chosen["stop"]))
