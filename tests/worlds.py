"""Strategies for worlds, deltas and records: what the laws of the lower storeys are tested with."""

import struct

from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.model.finding import SEVERITIES, Anomaly
from edge_agent.model.world import Entity, State, Variable, World
from edge_agent.seal.keys import PrivateKey

KEY = PrivateKey.from_seed(bytes(range(32)))
OTHER_KEY = PrivateKey.from_seed(bytes(range(1, 33)))

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    singles,
    st.just(0),
    st.just(0.0),
    st.just(""),
    st.text(max_size=12),
)
qualities = st.sampled_from(["good", "uncertain:stale", "bad:timeout", "bad:unknown"])
times_ms = st.integers(-(2**40), 2**42)
# A world holds no -0.0 (twin/integrate.py): it equals 0.0, and no delta would tell the two apart.
standing = values.map(lambda value: value + 0.0 if type(value) is float else value)
states = st.builds(State, standing, times_ms, qualities)


def alarms(number: int) -> st.SearchStrategy[Anomaly]:
    """Return alarms of one variable."""
    return st.builds(
        Anomaly, names, st.just(number), st.just("shift"), st.sampled_from(SEVERITIES), st.text(max_size=9), times_ms,
        st.floats(0, 1), st.floats(0, 1), st.just(("sensor:src/x@1",)), st.just(()), st.none(),
    )  # fmt: skip


@st.composite
def worlds(draw, version: int = 0) -> World:
    """Return a whole world of up to four entities with up to six variables each."""
    locals_ = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ids = [f"w:thing:{name}" for name in locals_]
    entities = {
        key: Entity(
            id=key,
            type="thing",
            labels=tuple(draw(st.lists(names, max_size=2))),
            aliases=(f"source:{key}",),
            attributes=draw(st.dictionaries(names, st.text(max_size=5), max_size=2)),
            state=draw(st.none() | names),
            relations=tuple(draw(st.lists(st.tuples(names, st.sampled_from(ids)), max_size=2))),
            since_ms=draw(st.none() | times_ms),
        )
        for key in ids
    }
    number = draw(st.integers(0, 300))
    variables: dict[int, Variable] = {}
    rows: dict[str, dict[int, State]] = {key: {} for key in ids}
    for key in ids:
        for name in draw(st.lists(names, max_size=6, unique=True)):
            number += draw(st.integers(1, 200))
            variables[number] = Variable(number, key, name, draw(st.none() | st.just("V")), "gauge", "src")
            rows[key][number] = draw(states)
    findings = {}
    for number in draw(st.lists(st.sampled_from(sorted(variables)), max_size=2, unique=True)) if variables else []:
        key = f"f{number}"
        witnesses = [draw(alarms(n)) for n in draw(st.lists(st.sampled_from(sorted(variables)), max_size=2))]
        alarm = draw(alarms(number))
        acknowledged = draw(st.none() | names)
        findings[key] = replace(alarm, id=key, witnesses=tuple(witnesses), acknowledged=acknowledged)
    return World("w", version, draw(times_ms), entities, variables, rows, findings)


def single(value: float) -> float:
    """Return the nearest number that single precision can hold."""
    return struct.unpack(">f", struct.pack(">f", value))[0]
