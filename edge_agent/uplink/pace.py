"""How large messages may be: as large as the link carries quickly and the broker is known to take. Pure.

A ping queues behind what is in flight and must be answered within 40 s, so messages begin small, grow while they
are acknowledged quickly, and shrink when it takes long. A broker may also end the session over a message that is
too large for it, and need not say so: what was twice lost in flight and never acknowledged is halved.
"""

from collections.abc import Iterable

MOST_BYTES = 256 * 1024
"""Of records in one message, unless the broker allows less or one record is larger (reference/formats.md §6)."""
NO_LIMIT = 2**28
"""The largest packet of MQTT."""
FIRST_BYTES, LEAST_BYTES = 16 * 1024, 4 * 1024
"""8 messages of 4 KiB pass at 1 KB/s before a ping is missed."""
QUICK_S, SLOW_S = 1.0, 5.0
_STRIKES = 2
"""A link may be lost at any time; twice over the largest message so far is no accident."""


class Pace:
    """Of one way out, over its sessions."""

    def __init__(self) -> None:
        self.message_bytes = FIRST_BYTES
        """How many bytes of records the next message may have; a single one may have up to `limit`."""
        self.limit = NO_LIMIT
        """What no message may exceed, as far as was found out; larger records go in parts."""
        self._largest = 0
        self._strikes = 0

    def acknowledged(self, size: int, took_s: float) -> None:
        """Learn from a message of `size` bytes that the broker took."""
        if size > self._largest:
            self._largest, self._strikes = size, 0
        if took_s > SLOW_S:
            self.message_bytes = max(self.message_bytes // 2, LEAST_BYTES)
        elif took_s < QUICK_S:
            self.message_bytes = min(self.message_bytes * 2, MOST_BYTES, self.limit)

    def lost(self, sizes: Iterable[int]) -> None:
        """Learn from a session that ended with messages of these sizes in flight."""
        largest = max(sizes, default=0)
        if largest <= self._largest:
            return
        self._strikes += 1
        if self._strikes >= _STRIKES:
            self._strikes = 0
            self.limit = max(min(largest, self.limit) // 2, LEAST_BYTES)
            self.message_bytes = min(self.message_bytes, self.limit)
