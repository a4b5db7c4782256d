"""MQTT: one session with a broker. Knows bytes and topics, no word of the domain; session.py alone knows the library."""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

from edge_agent.mqtt.dial import endpoint

__all__ = ["Message", "Session", "endpoint"]


@contextlib.contextmanager
def _spared(name: str) -> Iterator[None]:
    """Let whoever imports a module within the block get an empty one, and leave no trace of it."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


# The library looks there for proxies when it dials, which dial.py does in its place: HTTP and mail, 2 MB for nothing.
with _spared("urllib.request"):
    from edge_agent.mqtt.session import Message, Session
