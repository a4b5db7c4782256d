"""What a turn came to before anything is done about it: `Assessment`."""

from collections.abc import Mapping

import msgspec

from edge_agent.model.action import Ruling
from edge_agent.model.finding import Disputes, Risk
from edge_agent.model.record import Entry
from edge_agent.model.world import Delta, World


class Assessment(msgspec.Struct, frozen=True):
    """The next world, how it differs, what was noticed in it and what is advised."""

    world: World
    """Not yet numbered: its version and time are those of the record that will seal it."""
    delta: Delta
    entries: tuple[Entry, ...]
    """For the audit trail."""
    holding: Mapping[int, int]
    """Which transition conditions hold, and since when (twin.transition)."""
    disputes: Disputes
    """Which sources disagree, and since when (twin.trust)."""
    readings: int
    """Readings taken in this turn."""
    good: int
    """How many of them were good."""
    risk: Risk
    ahead: Risk
    rulings: tuple[Ruling, ...]
    anchors: tuple[str, ...]
    """The evidence of this turn: one anchor for each source that spoke."""
    refused: Mapping[str, int] = {}
    """Approvals that were refused and not yet told of, by reason."""
    told_ms: int | None = None
    """When refusals were last told of, on the boot's clock."""
    heard: Mapping[int, int] = {}
    """When what acting depends on was last heard by this process (monotonic ms), by variable."""

    @property
    def confidence(self) -> float:
        """The share of good readings (0..1); a turn that heard nothing is sure of nothing."""
        return self.good / self.readings if self.readings else 0.0
