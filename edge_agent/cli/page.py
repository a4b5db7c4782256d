"""A gateway as one HTML page: self-contained, without script, for a phone, a desk and paper. Pure: facts in, text out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from edge_agent.cli.markup import Child, Markup, el, joined, trusted
from edge_agent.cli.past import Past
from edge_agent.cli.plot import course_plot, drift_plot, spark
from edge_agent.cli.proofs import actions
from edge_agent.cli.status import in_words
from edge_agent.cli.style import STYLE
from edge_agent.cli.words import shown, verdict, why
from edge_agent.judge.hindsight import Seen
from edge_agent.judge.monitor import Insight
from edge_agent.model.action import Approver
from edge_agent.model.finding import SEVERITIES, Anomaly
from edge_agent.model.layout import local_name, record_ref
from edge_agent.model.reading import GOOD, REASONS, iso_utc
from edge_agent.model.world import World

MOST_PLOTS = 12
"""Pictures on a page; the gravest come first."""
MOST_NAMED = 12
"""Variables that are not good for one reason, by name."""
_SEVERE = {"low": "soft", "medium": "warn", "high": "bad", "critical": "bad"}


class Picture(NamedTuple):
    """What the statistics know of a variable, and its recent past."""

    found: Insight
    seen: list[Seen]


class Story(NamedTuple):
    """Everything that a page tells."""

    world: World
    past: Past
    pictures: list[Picture]
    """Of the watched variables, the gravest first; empty without a configuration."""
    roster: Mapping[str, Approver]
    """By keyid: approvals are verified against it once more."""
    health: dict[str, Any] | None
    """The status document of the agent that runs; None when there is none to ask."""
    silence: str
    """Then why."""
    on_disk: str
    """What the log holds and what of it waits, in words."""
    head: bytes
    keyids: list[str]
    """Of the keys that signed the records, oldest first."""
    made: str
    """When the page was made, and by what."""


def page(story: Story) -> str:
    """Return the whole page."""
    world = story.world
    return document(
        f"{world.world_id} · edge-agent report",
        el("header", el("h1", world.world_id), _stand(story), _tiles(story)),
        el("nav", *(el("a", word.capitalize(), href=f"#{word}") for word in _SECTIONS)),
        *(el("section", el("h2", word.capitalize()), *section(story), id=word) for word, section in _SECTIONS.items()),
    )


def document(title: str, *body: Child) -> str:
    """Return a page that loads nothing and runs nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", trusted(STYLE)),
    )
    return joined(trusted("<!doctype html>\n"), el("html", head, el("body", *body), lang="en"), trusted("\n"))


def drift_card(picture: Picture, until_ms: int, past: Past) -> Markup:
    """Return one variable's picture with what it means in words."""
    found = picture.found
    course = list(past.courses.get(found.subject.number, ()))
    plot: Child = None
    if picture.seen and found.baseline is not None:
        plot = joined(drift_plot(found, picture.seen), _legend(found))
    elif any(value is not None for _, value in course):
        plot = course_plot(course, found.subject.unit, until_ms)
    colour = "bad" if found.sentences else "soft" if found.baseline is None else "good"
    return el(
        "figure",
        el("h3", el("span", verdict(found), cls=f"tag {colour}"), found.subject.path),
        plot,
        el("figcaption", *(el("p", sentence) for sentence in why(found))),
        cls="card",
    )


def _legend(found: Insight) -> Markup:
    words = ("— value", "- - usual", "▒ three sigma about it", "lower: how rare it is, red above the alarm's bar")
    limits = [f"limit {limit:g}" for limit in (found.subject.above, found.subject.below) if limit is not None]
    return el("p", *(el("span", word) for word in (*words, *limits)), cls="legend soft")


def _stand(story: Story) -> Markup:
    world, past = story.world, story.past
    since = "" if past.since_ms is None else f", the past from record {past.first} of {_time(past.since_ms)}"
    return el("p", f"As of record {world.version}, {_time(world.at_ms)}{since}. {story.made}", cls="soft")


def _tiles(story: Story) -> Markup:
    world, turns = story.world, story.past.turns
    newest: Mapping[str, Any] = turns[-1][1] if turns else {}
    states = [world.state_of(number) for number in world.variables]
    good = sum(state.quality == "good" for state in states)
    waiting = sum(action.stage == "waiting" for action in world.actions.values())
    open_ = len(world.findings)
    tiles = [
        ("risk now", _share(newest.get("risk")), _risk_class(newest.get("risk"))),
        ("risk ahead", _share(newest.get("ahead")), _risk_class(newest.get("ahead"))),
        ("findings open", str(open_), "warn" if open_ else "good"),
        ("values good", f"{good} of {len(states)}", "good" if good == len(states) else "warn"),
        ("actions that wait", str(waiting), "warn" if waiting else ""),
        ("agent", "runs" if story.health else "no answer", "good" if story.health else "warn"),
    ]
    return el(
        "div",
        *(el("div", el("b", value, cls=cls or None), el("small", name), cls="card tile") for name, value, cls in tiles),
        cls="tiles",
    )


def _findings(story: Story) -> Iterator[Markup]:
    ranked = sorted(story.world.findings.values(), key=lambda f: (-SEVERITIES.index(f.severity), f.since_ms))
    if not ranked:
        yield el("p", "No finding is open.")
    for finding in ranked:
        yield el("div", *_finding(finding), cls="card")
    yield from _missing(story)
    risk = [float(facts.get("risk") or 0.0) for _, facts in story.past.turns]
    drawn = spark(risk)
    if drawn is not None:
        yield el("p", f"Risk over the past, from {min(risk):.2f} to {max(risk):.2f}: ", drawn, cls="soft")


def _finding(finding: Anomaly) -> Iterator[Markup]:
    known = f" · known to {finding.acknowledged}" if finding.acknowledged is not None else ""
    yield el("p", el("span", finding.severity, cls=f"tag {_SEVERE.get(finding.severity, 'bad')}"), finding.sentence)
    yield el(
        "p",
        f"{finding.id} · since {_time(finding.since_ms)} · confidence {finding.confidence:.2f}{known}",
        cls="soft",
    )
    yield el("p", f"evidence: {', '.join(finding.anchors)}", cls="key")
    others = [witness.sentence for witness in finding.witnesses if witness.sentence != finding.sentence]
    if others:
        yield el("ul", *(el("li", sentence) for sentence in others), cls="soft")


def _missing(story: Story) -> Iterator[Markup]:
    """Tell what is not good, together what is so for the same reason: of a thousand values one must not be sought."""
    together: dict[tuple[str, str], list[str]] = {}
    for number, variable in story.world.variables.items():
        quality = story.world.state_of(number).quality
        if quality != GOOD:
            together.setdefault((variable.entity, quality), []).append(variable.name)
    for (entity, quality), names in sorted(together.items(), key=lambda each: -len(each[1])):
        named = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
        word, _, reason = quality.partition(":")
        tag = el("span", quality, cls=f"tag {'warn' if word == 'uncertain' else 'bad'}")
        yield el(
            "div",
            el("p", tag, f"{len(names)} of {local_name(entity)}: {REASONS.get(reason, reason)}"),
            el("p", named, cls="soft"),
            cls="card",
        )


def _values(story: Story) -> Iterator[Markup]:
    world = story.world
    for key, entity in world.entities.items():
        mine = [n for n, variable in world.variables.items() if variable.entity == key]
        state = f" · {entity.state}" if entity.state is not None else ""
        about = [f"{name} {value}" for name, value in entity.attributes.items()]
        about += [f"{relation} {local_name(other)}" for relation, other in entity.relations]
        rows = [_value_row(story, number) for number in mine]
        head = el(
            "tr",
            el("th", "variable"),
            el("th", "value", cls="num"),
            el("th", "quality, as of"),
            el("th", cls="spark-cell"),
        )
        yield el(
            "div",
            el("h3", local_name(key), el("small", f" {entity.type}{state}")),
            el("p", " · ".join(about), cls="soft") if about else None,
            el("table", el("thead", head), el("tbody", *rows), cls="part")
            if rows
            else el("p", "no variables", cls="soft"),
            cls="card",
        )


def _value_row(story: Story, number: int) -> Markup:
    variable, state = story.world.variables[number], story.world.state_of(number)
    word, _, reason = state.quality.partition(":")
    meaning = REASONS.get(reason)
    value = "-" if state.value is None else f"{shown(state.value)} {variable.unit or ''}".rstrip()
    as_of = el("small", _time(state.at_ms) if state.value is not None else "never read")
    return el(
        "tr",
        el("td", variable.name),
        el("td", value, cls="num"),
        el(
            "td",
            el("span", state.quality, cls={"good": "good", "uncertain": "warn"}.get(word, "bad")),
            as_of,
            title=meaning,
        ),
        el("td", spark(story.past.values(number)), cls="spark-cell"),
    )


def _drift(story: Story) -> Iterator[Markup]:
    if not story.pictures:
        yield el(
            "p", "Without the configuration nothing is known of what is usual: give agent.toml instead of the folder."
        )
        return
    until = story.world.at_ms
    shares = story.pictures[0].found.shares
    yield el(
        "p",
        f"{shares} watched variables share one budget of false alarms. What is usual is as of the newest snapshot. The gravest come first.",
        cls="soft",
    )
    known = [picture for picture in story.pictures if picture.found.sentences or picture.found.baseline is not None]
    yield el("div", *(drift_card(picture, until, story.past) for picture in known[:MOST_PLOTS]), cls="grid")
    if known[MOST_PLOTS:]:
        yield el("p", f"And {len(known) - MOST_PLOTS} more that show less: edge-agent drift lists them.", cls="soft")
    new = len(story.pictures) - len(known)
    if new:
        yield el(
            "p", f"Of {new} nothing is usual yet, or only limits are watched: edge-agent drift says why.", cls="soft"
        )


def _actions(story: Story) -> Iterator[Markup]:
    return actions(story.past, story.roster)


def _health(story: Story) -> Iterator[Markup]:
    yield el("p", f"On disk: {story.on_disk}")
    if story.health is None:
        yield el("p", "The agent was not asked, so that nothing is known of its buses: ", story.silence)
        return
    lines = list(in_words(story.health))
    yield el("div", *(el("p", line.strip(), style=_indent(line)) for line in lines), cls="card")


def _indent(line: str) -> str:
    return f"padding-left: {max(0, len(line) - len(line.lstrip()) - 2) / 4:g}rem"


def _proof(story: Story) -> Iterator[Markup]:
    world, past = story.world, story.past
    yield el(
        "p",
        f"Records {past.first} to {past.last} were verified for this page, each with its signature, and the world by its digest. "
        "The page itself is not signed: what counts is the log, which anybody can verify with the key that was taken at installation.",
    )
    facts = {
        "key" if len(story.keyids) == 1 else "keys, oldest first": ", ".join(story.keyids),
        "newest record": f"{record_ref(world.version)}, digest {story.head.hex()}",
        "to verify": "edge-agent log verify WHERE --key agent.pub",
    }
    yield el("dl", *(part for name, text in facts.items() for part in (el("dt", name), el("dd", text, cls="key"))))


_SECTIONS: Mapping[str, Callable[[Story], Iterator[Markup]]] = {
    "findings": _findings,
    "actions": _actions,
    "drift": _drift,
    "values": _values,
    "health": _health,
    "proof": _proof,
}


def _time(at_ms: int) -> str:
    """Return a wall time as a person reads it; proofs keep the milliseconds."""
    return iso_utc(at_ms)[:19].replace("T", " ") + " UTC"


def _share(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "-"


def _risk_class(value: object) -> str:
    level = value if isinstance(value, int | float) else 0.0
    return "bad" if level >= 0.5 else "warn" if level >= 0.1 else "good"  # noqa: PLR2004 - the thirds of the severities
