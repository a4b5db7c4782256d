"""What a mirror has told so far, gathered for showing."""

from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.uplink.follower import AuditTold, Change, FindingChange, ValueChange

HISTORY = 200
"""Values kept of each variable: more than a terminal is wide."""


@dataclass
class Scene:
    """What the mirror has told so far: all that is shown."""

    folder: Path
    values: dict[str, ValueChange] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    """Open ones, by id."""
    sentences: list[str] = field(default_factory=list)
    """Every finding that was opened, as it was first said."""
    moves: list[str] = field(default_factory=list)
    """Every move of an action, as a line."""
    readings: int = 0
    risk: tuple[float, float] = (0.0, 0.0)
    seq: int = 0

    def take(self, change: Change) -> None:
        """Take a verified change in."""
        self.seq = change.seq
        match change:
            case ValueChange():
                self.values[change.path] = change
                if isinstance(change.value, (int, float)) and change.quality == "good":
                    self.history.setdefault(change.path, []).append(change.value)
                    del self.history[change.path][:-HISTORY]
            case FindingChange(now=None):
                self.findings.pop(change.id, None)
            case FindingChange(now=now) if now is not None:
                if change.id not in self.findings:
                    self.sentences.append(now.sentence)
                self.findings[change.id] = f"{now.severity}: {now.sentence}"
            case AuditTold() if change.entry.kind == "action":
                facts = change.entry.facts
                self.moves.append(f"{str(facts['action'])[:8]} {facts['to']}: {facts['reason']}")
            case AuditTold() if change.entry.kind == "turn":
                facts = change.entry.facts
                self.readings += int(facts["readings"] or 0)
                self.risk = (float(facts["risk"] or 0), float(facts["ahead"] or 0))
