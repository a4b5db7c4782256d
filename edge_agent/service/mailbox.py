"""Approvals that came in, until the next turn hears them. Whoever can publish can write here, so the flood stops here.

A signature costs milliseconds on a small board: at most so many letters a second are kept to be looked at, and the
rest is counted. An operator's tool sends its letter again until it sees it answered, so a flood delays and does not
shut out.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable

from edge_agent.desk import Post
from edge_agent.seal.approvals import MAX_ENVELOPE_BYTES

AT_ONCE = 20
PER_S = 10.0
"""Ten signatures a second are 6 % of a slow 32-bit core."""


class Mailbox:
    """One for the agent; the uplink puts, the loop takes. Used from the event loop alone.

    `urgent` is set when a letter is to be heard.
    """

    def __init__(self, clock_s: Callable[[], float], urgent: asyncio.Event) -> None:
        self._clock_s = clock_s
        self._letters: list[bytes] = []
        self._refused: Counter[str] = Counter()
        self._allowance = float(AT_ONCE)
        self._last_s = clock_s()
        self._urgent = urgent

    def put(self, envelope: bytes, *, retained: bool) -> None:
        """Take a letter in, or count why not: it may be years old, too large, or one of too many."""
        now_s = self._clock_s()
        self._allowance = min(self._allowance + (now_s - self._last_s) * PER_S, AT_ONCE)
        self._last_s = now_s
        refusal = "retained" if retained else "size" if len(envelope) > MAX_ENVELOPE_BYTES else ""
        # A turn that carries out an action may take a minute: what waits meanwhile is bounded, too.
        if not refusal and (self._allowance < 1 or len(self._letters) >= AT_ONCE):
            refusal = "rate"
        if refusal:
            self._refused[refusal] += 1
            return
        self._allowance -= 1
        self._letters.append(envelope)
        self._urgent.set()

    def take(self) -> Post:
        """Return what came since the last call."""
        post = Post(tuple(self._letters), dict(self._refused), secrets.token_bytes(32))
        self._letters.clear()
        self._refused.clear()
        return post
