"""Actions and their proofs, as a page shows them: what was wanted, who approved it with which key, what came of it.

Each step stands with the number of the signed record in which it is sealed; that is where an auditor looks.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.cli.markup import Markup, el
from edge_agent.cli.past import Move, Past
from edge_agent.cli.words import shown
from edge_agent.model.action import Action, Approver
from edge_agent.model.layout import record_ref
from edge_agent.model.reading import iso_utc
from edge_agent.seal.approvals import opened

_STAGES = {
    "verified": "good",
    "refused": "warn",
    "expired": "warn",
    "rolled_back": "warn",
    "failed": "bad",
    "unknown": "bad",
}


def actions(past: Past, roster: Mapping[str, Approver]) -> Iterator[Markup]:
    """Give a card for each action, the newest first. Approvals are verified once more against the roster, by keyid."""
    found = sorted(past.actions.values(), key=lambda action: -action.at_ms)
    if not found:
        yield el("p", "No action was asked for in the records that were read.")
    for action in found:
        yield el("div", *_action(action, past.moves.get(action.id, []), roster), cls="card")


def _action(action: Action, moves: list[Move], roster: Mapping[str, Approver]) -> Iterator[Markup]:
    plan, request = action.plan, action.request
    yield el("h3", el("span", action.stage.replace("_", " "), cls=f"tag {_STAGES.get(action.stage, '')}"), plan.summary)
    yield el("p", action.reason)
    yield el("p", f"Why: {plan.why or 'it was not said'}")
    yield el("p", f"action {action.id} · risk {plan.risk:g} · evidence {', '.join(plan.anchors) or 'none'}", cls="key")
    head = el("tr", *(el("th", word) for word in ("point", "stood there", "written", "read back")))
    before = [*action.before, *[None] * (len(plan.steps) - len(action.before))]
    read = [*action.found, *[None] * (len(plan.steps) - len(action.found))]
    written = any(move.facts.get("move") == "intend" for move in moves) or bool(action.writes)
    rows = [
        el(
            "tr",
            el("td", f"{s.source}.{s.point}"),
            *(el("td", text) for text in (_or_dash(b), shown(s.value) if written else "not written", _or_dash(f))),
        )
        for s, b, f in zip(plan.steps, before, read, strict=False)
    ]
    yield el("table", el("thead", head), el("tbody", *rows))
    yield el("h3", "Who approved", style="margin-top: .6rem")
    yield el("ul", *(_approval(move, action, roster) for move in moves if move.kind == "approval"))
    if not any(move.kind == "approval" for move in moves):
        names = ", ".join(f"{name} (key {keyid})" for name, keyid in action.approvals)
        yield el("p", f"{names}; the record is older than those read" if names else "Nobody.", cls="soft")
    yield el(
        "p", f"wanted: {request.approvers} distinct, at least {request.role}, within {request.ttl_s} s", cls="soft"
    )
    yield el("h3", "What happened, by signed record", style="margin-top: .6rem")
    yield el("ol", *map(_move, (move for move in moves if move.kind == "action")), style="list-style: none; padding: 0")


def _approval(move: Move, action: Action, roster: Mapping[str, Approver]) -> Markup:
    facts = move.facts
    text = (
        f"{facts.get('operator')} said {facts.get('act')} with key {facts.get('keyid')}, counter {facts.get('counter')}"
    )
    try:
        found = opened(base64.b64decode(str(facts.get("envelope"))), roster)
    except ValueError:
        found = "envelope"
    if isinstance(found, str):
        cls, proof = "warn", f"signature not verified here ({found}): give the agent.toml that names this approver"
    elif found.approval.plan != action.request.plan_digest or found.approval.req.hex() != action.id:
        cls, proof = "bad", "the signature is of another plan"
    else:
        cls, proof = "good", "the signature is the approver's, over this very plan"
    return el(
        "li",
        text,
        el("br"),
        el("span", proof, cls=cls),
        el("br"),
        el("span", f"{record_ref(move.seq)} · {iso_utc(move.at_ms)}", cls="key"),
    )


def _move(move: Move) -> Markup:
    facts = move.facts
    told = [f"{name} = {shown(value)}" for name, value in facts.items() if name.startswith("sensor:")]
    if facts.get("move") == "checkpoint":
        told.append(f"checkpoint {record_ref(int(facts.get('seq') or 0))}, {str(facts.get('head'))[:16]}…")
    return el(
        "li",
        el("span", f"{record_ref(move.seq)} · {iso_utc(move.at_ms)}", cls="key"),
        f" {facts.get('move')} → {facts.get('to')}: {facts.get('reason')}",
        el("small", "; ".join(told)) if told else None,
    )


def _or_dash(value: Any) -> str:
    return "-" if value is None else shown(value)
