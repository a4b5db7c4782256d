"""What readings pass on their way in, and writes on their way out: whether it is the device, and whether it can be."""

from collections.abc import Iterable, Sequence

from edge_agent.model.reading import Reading
from edge_agent.model.site import Source
from edge_agent.twin.admission import Admission
from edge_agent.twin.believable import Believable


class Door:
    """One for the agent, with what is known of each source so far."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._known = {s.name: _unknown(s) for s in sources}

    def renew(self, sources: Iterable[Source], kept: frozenset[str]) -> None:
        """Go over to other sources; what is known of those in `kept` holds."""
        self._known = {s.name: self._known[s.name] if s.name in kept else _unknown(s) for s in sources}

    def take(self, source: str, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Return what a source brought, with every value marked that cannot be relied upon."""
        known = self._known.get(source)
        if known is None:
            return readings
        admission, believable = known
        return admission.take(believable.take(readings))

    def lost(self, source: str) -> None:
        """Note that a source was silent or out of reach."""
        known = self._known.get(source)
        if known is not None:
            known[0].lost()

    def refusal(self, source: str) -> str:
        """Say why nothing may be written to a source now, or return an empty string."""
        known = self._known.get(source)
        return f"{source}: no such source" if known is None else known[0].refusal


def _unknown(source: Source) -> tuple[Admission, Believable]:
    return Admission(source.identity), Believable(source.points)
