"""What records say, as rows for people: audit entries, findings, entities, values; and which of them are wanted."""

import argparse
import base64
import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from edge_agent.cli.stored import Folder
from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.layout import local_name, variable_path
from edge_agent.model.reading import iso_utc
from edge_agent.model.world import Variable
from edge_agent.seal.actions import request_of
from edge_agent.seal.canonical import unpack
from edge_agent.seal.records import unseal_snapshot
from edge_agent.seal.squash import Stretch


class Row(NamedTuple):
    """One thing that a record says."""

    seq: int
    at_ms: int
    synced: bool
    kind: str
    """Of an audit entry; or `value`, `values` (their count), `variable`, `entity`, `finding`, `squashed`."""
    entity: str | None
    """Local name of the entity it concerns."""
    variable: str | None
    """`entity.name` of the variable it concerns."""
    facts: Mapping[str, Any]


class Filter(NamedTuple):
    """Which rows are wanted; None and nothing mean all, but single values only when something asks for them."""

    kinds: frozenset[str] = frozenset()
    entity: str | None = None
    variable: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    first: int = 1
    last: int | None = None
    action: str | None = None
    """The beginning of an action's id is enough."""

    def takes(self, row: Row) -> bool:
        """Whether a row is wanted."""
        if row.kind == "value" and not (self.kinds or self.entity or self.variable or self.action):
            return False
        return (
            (not self.kinds or row.kind in self.kinds)
            and (self.entity is None or row.entity == local_name(self.entity))
            and (self.variable is None or row.variable == self.variable)
            and (self.since_ms is None or row.at_ms >= self.since_ms)
            and (self.until_ms is None or row.at_ms <= self.until_ms)
            and (self.action is None or _is_of(row, self.action))
            and row.seq >= self.first
            and (self.last is None or row.seq <= self.last)
        )


def _is_of(row: Row, action: str) -> bool:
    return row.kind in ("action", "approval") and str(row.facts.get("action")).startswith(action)


class Names:
    """What numbers mean. A number never means two variables, so the kept snapshots and the records at hand tell."""

    def __init__(self, folder: Folder) -> None:
        self._known: dict[int, Variable] = {}
        for stored in reversed(folder.snapshots):
            try:
                self._known.update(unseal_snapshot(stored.envelope, folder.key).world.variables)
            except (TrustError, WireError):
                continue  # `log verify` says what is wrong with it

    def learn(self, variables: Mapping[int, Variable | None]) -> None:
        """Take in what a record defines."""
        self._known.update((number, v) for number, v in variables.items() if v is not None)

    def of(self, number: int) -> tuple[str | None, str, str | None]:
        """Return entity, path and unit of a variable; `#number` when nothing at hand says what it is."""
        v = self._known.get(number)
        return (
            (None, f"#{number}", None) if v is None else (local_name(v.entity), variable_path(v.entity, v.name), v.unit)
        )


def count(text: str) -> int:
    """Return a number of things from an argument."""
    if not text.isdecimal() or len(text) > 12:  # noqa: PLR2004 - more than any log holds
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from 0")
    return int(text)


def rows_of(stretch: Stretch, names: Names) -> Iterator[Row]:
    """Give what a verified record or range says, audit entries first."""
    names.learn(stretch.delta.variables)
    if stretch.last > stretch.first:
        yield _row(stretch, "squashed", None, None, {"from": stretch.first, "to": stretch.last})
    for told in stretch.audit:
        entity, variable = _about(told.entry.facts)
        yield Row(told.seq, told.at_ms, stretch.synced, told.entry.kind, entity, variable, told.entry.facts)
    yield from _delta_rows(stretch, names)


def _delta_rows(stretch: Stretch, names: Names) -> Iterator[Row]:
    delta = stretch.delta
    for key, head in delta.entities.items():
        facts: Mapping[str, Any] = (
            {"gone": True} if head is None else {"type": head.type, "state": head.state, **head.attributes}
        )
        yield _row(stretch, "entity", local_name(key), None, {"entity": key, **facts})
    for number, v in delta.variables.items():
        entity, path, unit = names.of(number)
        gone = {"gone": True} if v is None else {"unit": unit, "kind": v.kind, "source": v.source}
        yield _row(stretch, "variable", entity, path, {"variable": path, "number": number, **gone})
    for key, finding in delta.findings.items():
        path = key.rpartition("/")[0]
        told = {"ended": True} if finding is None else {"severity": finding.severity, "sentence": finding.sentence}
        entity = path.partition(".")[0] if finding is None else names.of(finding.number)[0]
        yield _row(stretch, "finding", entity, path, {"finding": key, **told})
    for number, state in delta.states.items():
        entity, path, unit = names.of(number)
        read = {
            "value": state.value,
            "unit": unit,
            "quality": state.quality,
            "read": None if state.value is None else iso_utc(state.at_ms),
        }
        yield _row(stretch, "value", entity, path, {"variable": path, **read})
    if delta.states:
        yield _row(stretch, "values", None, None, {"count": len(delta.states)})


def _row(stretch: Stretch, kind: str, entity: str | None, variable: str | None, facts: Mapping[str, Any]) -> Row:
    return Row(stretch.last, stretch.at_ms, stretch.synced, kind, entity, variable, facts)


def in_words(row: Row) -> str:
    """Return what a row says, for a person. The signed bytes that prove it are for machines and left out."""
    if row.kind == "action":
        return f"{_id(row)} {' '.join(_move(row.facts))}"
    if row.kind == "approval":
        said = "approved" if row.facts.get("act") == "approve" else "said no"
        who = f"{row.facts.get('operator')} (key {row.facts.get('keyid')}, counter {row.facts.get('counter')})"
        return f"{_id(row)} {who} {said}"
    return " ".join(f"{name}={value}" for name, value in row.facts.items() if value is not None)


def _id(row: Row) -> str:
    return str(row.facts.get("action"))[:8]


def _move(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say what a move was, and with it what was asked, kept, wanted or found."""
    yield f"{facts.get('move')}: {facts.get('from')} → {facts.get('to')}: {facts.get('reason')}"
    if facts.get("move") == "ask":
        yield f"| {facts.get('summary')}"
        with contextlib.suppress(WireError, ValueError):
            request = request_of(unpack(base64.b64decode(str(facts.get("request")), validate=True)))
            plan = f"plan sha256:{request.plan_digest.hex()[:16]}…"
            yield f"| {plan}, needs {request.approvers} {request.role} within {request.ttl_s} s"
        yield f"| because {facts.get('why')}"
    if facts.get("move") == "checkpoint":
        yield f"| the snapshot at record {facts.get('seq')}"
    yield from (f"| {name.removeprefix('sensor:')} {value!r}" for name, value in facts.items() if name[:7] == "sensor:")


def _about(facts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return entity and variable that an audit entry concerns, as far as it says."""
    finding = facts.get("finding")
    variable = finding.rpartition("/")[0] if isinstance(finding, str) and "/" in finding else None
    entity = facts.get("entity")
    if isinstance(entity, str):
        return local_name(entity), variable
    return (None if variable is None else variable.partition(".")[0]), variable


def instant(text: str) -> int:
    """Return the wall time in milliseconds that an argument says, UTC when it has no zone."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, wanted a time such as 2026-01-31 or 2026-01-31T12:00Z"
        ) from error
    return round((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp() * 1000)
