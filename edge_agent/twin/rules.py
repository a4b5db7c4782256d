"""What is wrong with transition rules, told before they run: states that nothing reaches, and rules that contradict.

Two rules of one entity are compared when they look at the same variable; what different variables do together is not
known beforehand. Rules are taken in their order, as twin/transition.py takes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.model.reading import Value
from edge_agent.model.site import ConditionSettings, TransitionSettings

Rules = Sequence[tuple[int, TransitionSettings]]


class Flaw(NamedTuple):
    """What is wrong with the rule at a place of the list."""

    place: int
    field: str
    found: str
    wanted: str


def flaws(transitions: Sequence[TransitionSettings], starts: Mapping[str, str]) -> Iterator[Flaw]:
    """Give all that is wrong. `starts` is the state in which each entity begins, by its id."""
    for place, rule in enumerate(transitions):
        yield from _alone(place, rule)
    for entity, start in starts.items():
        own = [(place, rule) for place, rule in enumerate(transitions) if rule.entity == entity]
        yield from _unreached(own, start)
        for at, (place, rule) in enumerate(own):
            yield from _beside(place, rule, own[:at])


def _alone(place: int, rule: TransitionSettings) -> Iterator[Flaw]:
    when = rule.when
    number = isinstance(when.value, (int, float)) and not isinstance(when.value, bool)
    if rule.src == rule.dst:
        yield Flaw(place, "to", f"{rule.dst}, where it comes from", "another state")
    if when.is_ in ("above", "below") and not number:
        yield Flaw(place, "when.value", repr(when.value), "a number to be above or below")
    if when.hysteresis and when.is_ not in ("above", "below"):
        yield Flaw(
            place, "when.hysteresis", f'{when.hysteresis:g} with "{when.is_}"', 'one with "above" or "below" only'
        )


def _unreached(own: Rules, start: str) -> Iterator[Flaw]:
    reached, before = {start}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {rule.dst for _, rule in own if rule.src in before}
    for place, rule in own:
        if rule.src not in reached:
            yield Flaw(place, "from", f'"{rule.src}", which nothing reaches', f'a state reached from "{start}"')


def _beside(place: int, rule: TransitionSettings, earlier: Rules) -> Iterator[Flaw]:
    for other_place, other in earlier:
        if other.when.variable != rule.when.variable:
            continue
        first = f"transitions[{other_place}]"
        if other.src == rule.src and within(rule.when, other.when) and rule.when.lasting >= other.when.lasting:
            yield Flaw(place, "when", f"what {first} passes on first", "a condition that can ever be the one to pass")
        if (other.src, other.dst) == (rule.dst, rule.src) and together(rule.when, other.when):
            back = f"a condition that can hold together with that of {first}, its way back"
            yield Flaw(place, "when", back, "two that exclude one another, or it goes to and fro")


def within(inner: ConditionSettings, outer: ConditionSettings) -> bool:
    """Whether every value that fulfils `inner` fulfils `outer`."""
    if outer.is_ == inner.is_:
        return _beyond(inner, outer) if outer.is_ in ("above", "below") else inner.value == outer.value
    if inner.is_ == "equal":
        return _meets(inner.value, outer)
    return outer.is_ == "not" and inner.is_ in ("above", "below") and not _meets(outer.value, inner)


def together(one: ConditionSettings, other: ConditionSettings) -> bool:
    """Whether some value fulfils both."""
    kinds = {one.is_: one, other.is_: other}
    if "equal" in kinds:
        exact, rest = (one, other) if one.is_ == "equal" else (other, one)
        return _meets(exact.value, rest)
    if kinds.keys() == {"above", "below"}:
        low, high = kinds["above"].value, kinds["below"].value
        return isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high
    return True


def _beyond(inner: ConditionSettings, outer: ConditionSettings) -> bool:
    one, other = inner.value, outer.value
    if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
        return False
    return one >= other if outer.is_ == "above" else one <= other


def _meets(value: Value, condition: ConditionSettings) -> bool:
    wanted = condition.value
    if condition.is_ in ("equal", "not"):
        return (value == wanted) == (condition.is_ == "equal")
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return value > wanted if condition.is_ == "above" else value < wanted
    return False
