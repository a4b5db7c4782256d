"""The rulebook of a site, [[playbooks]], [policy] and [[approvers]]: what is wrong with it, and what it says in words.

Whatever could stop an action for certain is found here, before anything runs: a plan that is refused at the moment
it is needed helps nobody.
"""

from collections.abc import Iterable, Iterator, Mapping

from edge_agent.judge.playbooks import numbers_of
from edge_agent.model.checked import close_match, shown
from edge_agent.model.errors import Problem
from edge_agent.model.layout import local_name, variable_path
from edge_agent.model.profile import RegisterPoint, WriteRule
from edge_agent.model.reading import Value
from edge_agent.model.site import (
    HttpSettings,
    ModbusSettings,
    PlaybookSettings,
    PointPolicy,
    PolicySettings,
    Settings,
    Source,
    TriggerSettings,
    named,
)

LOOKS = 5
"""How often what was written is read back, a settling time apart, until it counts as not done."""
LONGEST_ACT_S = 30.0
"""While an action writes and reads back, no turn is made: readings wait in the inbox, and may for that long."""
LEAST_TTL_S = 10.0
VERIFIED = "a `write` table, and verified = true in the [provenance] of the profile"

Rules = Mapping[str, WriteRule | None]
"""Every variable, by `entity.point`, with how it may be written, when it may be at all."""
Numbers = Mapping[str, Mapping[str, int]]
"""Every variable, with what the names of its enumeration stand for."""


def rulebook_problems(settings: Settings, sources: Iterable[Source], place: str) -> Iterator[Problem]:
    """Give what is wrong with playbooks and policy, and between them and the rest."""
    sources = list(sources)
    rules: Rules = {
        variable_path(entity, name): point.write if isinstance(point, RegisterPoint) else None
        for (entity, name), (_, point) in named(sources).items()
    }
    numbers = {variable_path(entity, name): numbers_of(point) for (entity, name), (_, point) in named(sources).items()}
    entities = {e.id for e in settings.entities} | {local_name(s.entity) for s in sources}
    if settings.policy is not None:
        yield from _policy(settings.policy, rules, f"{place}policy")
    names: set[str] = set()
    for book in settings.playbooks:
        where = f"{place}playbooks.{book.name}"
        if book.name in names:
            yield Problem(where, "a second playbook of this name", "one name for each")
        names.add(book.name)
        yield from _trigger(book.on, rules, entities, f"{where}.on")
        yield from _playbook(book, settings, rules, numbers, where)
        yield from _too_slow(book, sources, f"{where}.deadline")


def rulebook_in_words(settings: Settings) -> Iterator[str]:
    """Say what may be written and how each playbook gets there, from what sets it off to how it ends; a line each."""
    policy = settings.policy
    if policy is None:
        yield "nothing is ever written to a device: there is no policy"
    elif not policy.points:
        yield "nothing is ever written to a device: the policy names no points"
    elif not settings.playbooks:
        yield "nothing is ever written to a device: there is no playbook"
    for book in settings.playbooks:
        yield f"playbook {book.name}: when {_when(book.on)}, ask to {book.summary} (risk {book.risk:g})"
        if policy is not None:
            yield from (f"  {line}" for line in _path(book, policy, settings))
    if policy is not None and settings.playbooks:
        yield f"at most {policy.actions_per_hour} actions an hour; " + "; ".join(map(_bounds, policy.points))
        for lock in policy.interlocks:
            yield f"nothing is written unless {lock.variable} is {lock.is_} {shown(lock.value)}: {lock.reason}"


def _path(book: PlaybookSettings, policy: PolicySettings, settings: Settings) -> Iterator[str]:
    count = approvers_needed(book.risk, policy)
    who = ", ".join(sorted(_able(book, settings)))
    yield f"{count} of {who} must approve within {policy.request_ttl:g} s"
    for step in book.steps:
        hold = "" if step.hold is None else f"; the device takes it back after {step.hold:g} s"
        yield f"then {step.point} = {shown(step.value)}, if {shown(step.expect)} stands there{hold}"
    goals = "".join(f" and {c.variable} is {c.is_} {shown(c.value)}" for c in book.criteria)
    yield f"good when it reads back{goals}, within {book.deadline:g} s"
    yield f"else {_else(book)}"


def _bounds(point: PointPolicy) -> str:
    step = "" if point.step is None else f" in steps of up to {point.step:g}"
    low, high = point.range
    return f"{point.point} {low:g} to {high:g}{step}, every {point.min_interval:g} s, {point.daily_writes} a day"


def approvers_needed(risk: float, policy: PolicySettings) -> int:
    """Return how many distinct operators must approve what puts so much at risk."""
    return 2 if risk > policy.two_approvers_above else 1


def _policy(policy: PolicySettings, rules: Rules, where: str) -> Iterator[Problem]:
    if policy.request_ttl < LEAST_TTL_S:
        yield Problem(f"{where}.request_ttl", f"{policy.request_ttl:g} s", f"at least {LEAST_TTL_S:g} s to answer in")
    for point in policy.points:
        yield from _policy_point(point, rules, f"{where}.points.{point.point}")
    for i, lock in enumerate(policy.interlocks):
        yield from _known(lock.variable, rules, f"{where}.interlocks[{i}].variable")


def _policy_point(point: PointPolicy, rules: Rules, where: str) -> Iterator[Problem]:
    yield from _known(point.point, rules, where)
    rule = rules.get(point.point)
    if rule is None:
        if point.point in rules:
            yield Problem(where, "a point that its profile does not make writable", "a writable point", VERIFIED)
        return
    if not rule.range[0] <= point.range[0] <= point.range[1] <= rule.range[1]:
        allowed = f"within {rule.range[0]:g} to {rule.range[1]:g}, the profile's own"
        yield Problem(f"{where}.range", f"{point.range[0]:g} to {point.range[1]:g}", allowed)
    if point.min_interval < rule.min_interval:
        yield Problem(f"{where}.min_interval", f"{point.min_interval:g} s", f"at least {rule.min_interval:g} s")
    if point.daily_writes > rule.daily_budget:
        yield Problem(
            f"{where}.daily_writes", str(point.daily_writes), f"at most {rule.daily_budget}, the profile's own"
        )
    if point.daily_writes < 2:  # noqa: PLR2004 - a write and its inverse
        yield Problem(f"{where}.daily_writes", str(point.daily_writes), "at least 2: a write and its inverse")


def _trigger(on: TriggerSettings, rules: Rules, entities: set[str], where: str) -> Iterator[Problem]:
    kinds = [on.anomaly is not None, on.entity is not None, on.risk_above is not None]
    if sum(kinds) != 1 or (on.anomaly is None) != (on.variable is None) or (on.entity is None) != (on.state is None):
        wanted = (
            '{ anomaly = "shift", variable = "pump.temp" }, { entity = "pump", state = "hot" } or { risk_above = 0.7 }'
        )
        yield Problem(where, "none of the three, or several at once", wanted)
    if on.variable is not None:
        yield from _known(on.variable, rules, f"{where}.variable")
    if on.entity is not None and on.entity not in entities:
        yield Problem(f"{where}.entity", shown(on.entity), "an entity or a source", close_match(on.entity, entities))


def _playbook(
    book: PlaybookSettings, settings: Settings, rules: Rules, numbers: Numbers, where: str
) -> Iterator[Problem]:
    allowed = {} if settings.policy is None else {point.point: point for point in settings.policy.points}
    if not book.steps:
        yield Problem(f"{where}.steps", "none", "at least one write")
    if len({step.point for step in book.steps}) != len(book.steps):
        yield Problem(f"{where}.steps", "two writes to one point", "one write for each point")
    if (book.on_failure == "inverse") != bool(book.inverse):
        yield Problem(f"{where}.inverse", 'an inverse without on_failure = "inverse", or the other way round', "both")
    for i, step in enumerate(book.steps):
        at = f"{where}.steps[{i}]"
        yield from _write(step.point, step.value, rules, numbers, allowed, settings, at)
        rule = rules.get(step.point)
        if rule is not None and rule.reverts is not None and (step.hold is None) == (not step.for_good):
            yield Problem(
                f"{at}.hold",
                "nothing",
                'how long it shall hold, such as "60s": this device takes it back by itself',
                "or for_good = true",
            )
        if step.hold is not None and (rule is None or rule.reverts is None):
            yield Problem(
                f"{at}.hold", f"{step.hold:g} s", "none: by its profile this device takes nothing back by itself"
            )
        elif (
            step.hold is not None and rule is not None and rule.reverts is not None and step.hold > rule.reverts.longest
        ):
            yield Problem(f"{at}.hold", f"{step.hold:g} s", f"at most {rule.reverts.longest:g} s")
    for i, undo in enumerate(book.inverse):
        yield from _write(undo.point, undo.value, rules, numbers, allowed, settings, f"{where}.inverse[{i}]")
    for i, criterion in enumerate(book.criteria):
        yield from _known(criterion.variable, rules, f"{where}.criteria[{i}].variable")
    yield from _times(book, rules, where)
    yield from _somebody(book, settings, where)


def _write(
    point: str,
    value: Value,
    rules: Rules,
    numbers: Numbers,
    allowed: Mapping[str, PointPolicy],
    settings: Settings,
    where: str,
) -> Iterator[Problem]:
    yield from _known(point, rules, f"{where}.point")
    rule = rules.get(point)
    if rule is None:
        if point in rules:
            yield Problem(
                f"{where}.point", "a point that its profile does not make writable", "a writable point", VERIFIED
            )
        return
    policy = allowed.get(point)
    if settings.policy is not None and policy is None:
        yield Problem(
            f"{where}.point", shown(point), "a point that [[policy.points]] names", close_match(point, allowed)
        )
    if isinstance(value, str):
        names = numbers.get(point, {})
        if value not in names:
            wanted = f"one of {', '.join(names)}" if names else "a number"
            yield Problem(f"{where}.value", shown(value), wanted, close_match(value, names))
        value = names.get(value)
    if value is None:
        return
    refusal = rule.refusal(value)
    if refusal:
        yield Problem(
            f"{where}.value", refusal.partition(", ")[0].removeprefix("got "), refusal.partition("wanted ")[2]
        )
    elif policy is not None and not policy.range[0] <= value <= policy.range[1]:
        yield Problem(f"{where}.value", shown(value), f"{policy.range[0]:g} to {policy.range[1]:g}, as policy says")


def _times(book: PlaybookSettings, rules: Rules, where: str) -> Iterator[Problem]:
    settling = [rule.settle for step in book.steps if (rule := rules.get(step.point)) is not None]
    if 2 * LOOKS * sum(settling) > LONGEST_ACT_S:
        found = f"{sum(settling):g} s of settling, {2 * LOOKS} times over when it must be rolled back"
        yield Problem(f"{where}.steps", found, f"at most {LONGEST_ACT_S:g} s: no turn is made meanwhile")
    if book.deadline < 2 * sum(settling):
        yield Problem(
            f"{where}.deadline", f"{book.deadline:g} s", f"at least {2 * sum(settling):g} s, twice what settles"
        )


def _too_slow(book: PlaybookSettings, sources: Iterable[Source], where: str) -> Iterator[Problem]:
    """Find criteria that are not read again in time: what was read before the writes says nothing of them."""
    watched = {criterion.variable for criterion in book.criteria}
    for source in sources:
        if not isinstance(source.settings, (ModbusSettings, HttpSettings)):
            continue
        for point in source.points:
            times = point.every if isinstance(point, RegisterPoint) else 1
            period_s = source.settings.poll * times
            path = variable_path(source.entity, point.name)
            if path in watched and book.deadline <= period_s:
                yield Problem(where, f"{book.deadline:g} s", f"more than the {period_s:g} s after which {path} is read")


def _somebody(book: PlaybookSettings, settings: Settings, where: str) -> Iterator[Problem]:
    """Find a playbook that nobody may approve: it would ask for ever."""
    if settings.policy is None:
        return
    able = _able(book, settings)
    needed = approvers_needed(book.risk, settings.policy)
    if len(able) < needed:
        found = f"{len(able)} who may approve it"
        wanted = f"{needed} [[approvers]] of role {book.role} and max_risk {book.risk:g} or more"
        yield Problem(where, found, wanted)


def _able(book: PlaybookSettings, settings: Settings) -> set[str]:
    return {
        who.name
        for who in settings.approvers
        if not who.revoked and who.max_risk >= book.risk and (book.role == "operator" or who.role == "supervisor")
    }


def _known(variable: str, rules: Rules, where: str) -> Iterator[Problem]:
    if variable not in rules:
        yield Problem(where, shown(variable), "a variable, `entity.point`", close_match(variable, rules))


def _when(on: TriggerSettings) -> str:
    if on.anomaly is not None:
        kind = "an anomaly" if on.anomaly == "any" else f"a {on.anomaly}"
        return f"there is {kind} on {on.variable}, {on.severity} or worse"
    return f"{on.entity} is {on.state}" if on.entity is not None else f"the risk is above {on.risk_above:g}"


def _else(book: PlaybookSettings) -> str:
    if book.on_failure == "leave":
        return "it is left as it is, and a person is called"
    what = (
        "what stood before"
        if book.on_failure == "restore"
        else ", ".join(f"{undo.point} = {shown(undo.value)}" for undo in book.inverse)
    )
    return f"{what} is written and read back; if that fails too, a person is called ({book.if_it_fails})"
