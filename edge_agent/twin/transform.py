"""From readings to events: bound to a variable, checked, or dropped with a reason.

Everything that enters the world passes here, whatever the source promised: this is the validation that the
workflow demands before integration.
"""

import math
from collections import Counter
from collections.abc import Iterable

from edge_agent.model.reading import Event, Reading, Value, bad
from edge_agent.twin.baseline import Bindings

MAX_TEXT = 256
"""Characters of a text value. Serial numbers and states are shorter; a longer one is an attack or a mistake."""
_INT_MAX = 2**63 - 1


def transform(readings: Iterable[Reading], bindings: Bindings) -> tuple[list[Event], Counter[str]]:
    """Return the events, and how many readings could not be taken in, by reason.

    A value that cannot be used becomes an event without a value and with a bad quality; only a reading of a
    point that nobody configured is dropped.
    """
    events: list[Event] = []
    dropped: Counter[str] = Counter()
    for reading in readings:
        anchor = reading.anchor
        binding = bindings.get((anchor.source, reading.point))
        if binding is None:
            dropped["unknown point"] += 1
            continue
        value = reading.value
        quality = reading.quality
        if quality.startswith("bad:"):
            value = None
        elif type(value) is not float or not math.isfinite(value):
            value, quality = _checked(value, quality)
        events.append(Event(binding.number, value, quality, anchor))
    return events, dropped


def _checked(value: Value, quality: str) -> tuple[Value, str]:
    fault = _fault(value)
    if fault is not None:
        return None, bad(fault)
    return value, quality


def _fault(value: Value) -> str | None:
    """Say why a value cannot stand in the world, or None when it can."""
    if value is None:
        return "missing"
    if isinstance(value, float):
        return None if math.isfinite(value) else "nan"
    if isinstance(value, str):
        return None if len(value) <= MAX_TEXT and value.isprintable() else "type"
    return None if -_INT_MAX <= value <= _INT_MAX else "range"
