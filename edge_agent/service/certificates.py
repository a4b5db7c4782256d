"""How long the certificates upstream still hold: ours, and the one the broker showed. Warned of in time, and once."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.model.checked import shown
from edge_agent.model.errors import WireError
from edge_agent.model.reading import Instant, iso_utc

if TYPE_CHECKING:
    from edge_agent.seal.certificate import Certificate

DAY_MS = 86_400_000
WARN_DAYS = 30
"""Time to have a new one made by somebody else."""

_log = logging.getLogger(__name__)


class Held(NamedTuple):
    """A certificate, and whose it is: "client" or "server"."""

    whose: str
    certificate: "Certificate"

    def days(self, now_ms: int) -> float:
        """Return for how many days it still holds; below 0 when it has expired."""
        return (self.certificate.not_after_ms - now_ms) / DAY_MS


class Certificates:
    """Those of one way out. `client_file` is read anew at each `look`: it may have been replaced."""

    def __init__(self, client_file: str | None) -> None:
        self._client_file = client_file
        self._held: dict[str, Held] = {}
        self._warned: set[tuple[str, int, str]] = set()

    @property
    def held(self) -> list[Held]:
        """What is known of."""
        return list(self._held.values())

    def look(self, server: bytes | None = None) -> None:
        """Read our own certificate, and take the one the broker has shown (DER), if it has. Blocks for a small file.

        One that cannot be read is left to the connection, which says so.
        """
        if server is not None:
            self._take("server", server)
        if self._client_file is not None:
            try:
                self._take("client", Path(self._client_file).read_bytes())
            except OSError:
                self._held.pop("client", None)

    def warn(self, now: Instant) -> None:
        """Log what has expired or will within `WARN_DAYS`, once for each certificate and each of the two."""
        for held in self._held.values():
            days = held.days(now.at_ms)
            stage = "expired" if days <= 0 else "soon" if days < WARN_DAYS else ""
            key = (held.whose, held.certificate.not_after_ms, stage)
            if stage and key not in self._warned:
                self._warned.add(key)
                _log.warning("upstream: %s", in_words(held, now.at_ms))

    def _take(self, whose: str, raw: bytes) -> None:
        from edge_agent.seal.certificate import certificate  # some megabytes, for those alone who use TLS

        try:
            self._held[whose] = Held(whose, certificate(raw))
        except WireError:
            self._held.pop(whose, None)


def in_words(held: Held, now_ms: int) -> str:
    """Return how long a certificate holds, for a person."""
    days = held.days(now_ms)
    until = iso_utc(held.certificate.not_after_ms)[:10]
    state = f"has expired on {until}" if days <= 0 else f"holds until {until}, {days:.0f} days"
    return f"the {held.whose}'s certificate {shown(held.certificate.subject)} {state}"
