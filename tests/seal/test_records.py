import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import KEY, OTHER_KEY, single, states, times_ms, worlds

from edge_agent.model.errors import TrustError, WireError
from edge_agent.model.record import Entry, Record, Snapshot
from edge_agent.model.world import Delta, State
from edge_agent.seal.canonical import pack, unpack
from edge_agent.seal.digest import state_digest
from edge_agent.seal.envelope import seal, unseal
from edge_agent.seal.records import seal_record, seal_snapshot, unseal_record, unseal_snapshot
from edge_agent.twin.diff import diff

entries = st.builds(
    Entry,
    st.sampled_from(["turn", "start"]),
    st.dictionaries(
        st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5) | st.none() | st.booleans(), max_size=3
    ),
)


def record_of(delta, at_ms=0, audit=()):
    return Record("w", 3, b"p" * 32, b"b" * 16, at_ms, 5, True, delta, tuple(audit), b"s" * 32)


@given(worlds(), worlds(), times_ms, st.lists(entries, max_size=3))
def test_what_was_sealed_is_unsealed(before, after, at_ms, audit):
    record = record_of(diff(before, after), at_ms, audit)
    sealed = seal_record(record, KEY)
    found, again = unseal_record(sealed.envelope, KEY.public)
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(record)
    assert again == sealed
    types = {n: type(s.value) for n, s in record.delta.states.items()}
    assert {n: type(s.value) for n, s in found.delta.states.items()} == types


@given(worlds(version=4), st.sampled_from(["start", "interval", "checkpoint", "stop", "request"]))
def test_a_snapshot_brings_the_world_back(world, reason):
    snapshot = Snapshot(world, b"h" * 32, state_digest(world), reason)
    found = unseal_snapshot(seal_snapshot(snapshot, KEY), KEY.public)
    assert state_digest(found.world) == snapshot.state
    assert (found.world.version, found.world.at_ms, found.head, found.reason) == (4, world.at_ms, b"h" * 32, reason)


def test_a_snapshot_whose_world_is_not_what_it_claims_is_refused():
    world = _small_world()
    envelope = seal_snapshot(Snapshot(world, b"h" * 32, b"?" * 32, "start"), KEY)
    with pytest.raises(WireError, match="digest it claims"):
        unseal_snapshot(envelope, KEY.public)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_never_passes(place, bit):
    sealed = seal_record(record_of(Delta({}, {}, {1: State(230.5, 1, "good")}, {})), KEY)
    broken = bytearray(sealed.envelope)
    broken[place % len(broken)] ^= 1 << bit
    with pytest.raises((TrustError, WireError)):
        unseal_record(bytes(broken), KEY.public)


def test_an_envelope_cut_at_any_byte_never_passes():
    envelope = seal_record(record_of(Delta({}, {}, {}, {})), KEY).envelope
    for end in range(len(envelope)):
        with pytest.raises((TrustError, WireError)):
            unseal_record(envelope[:end], KEY.public)


def test_another_key_and_another_type_are_refused_by_name():
    sealed = seal_record(record_of(Delta({}, {}, {}, {})), KEY)
    with pytest.raises(TrustError, match=KEY.public.keyid):
        unseal_record(sealed.envelope, OTHER_KEY.public)
    with pytest.raises(TrustError, match="payload type"):
        unseal(sealed.envelope, "application/vnd.edge-agent.snapshot+msgpack", KEY.public)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2), ("v", None), ("seq", "3"), ("seq", 3.0), ("prev", "text"), ("synced", 1), ("audit", [["turn"]]),
        ("delta", {"surprise": {}}),
        ("delta", {"states": [[0, "good", [1, 0], [1, 2]]]}),
        ("delta", {"states": [[0, "good", [1, 1], [1]]]}),
        ("delta", {"states": [[0, "good", [1], b"\x00\x00\x00"]]}),
        ("delta", {"states": [[0, "good", [1], b"\x7f\xc0\x00\x00"]]}),
        ("delta", {"states": [[0, "good", [1], [1]], [0, "good", [1], [2]]]}),
        ("delta", {"entities": {"w:a:b": {"type": "a"}}}),
        ("delta", {"variables": {1: ["w:a:b", "x"]}}),
        ("delta", {"findings": {"f": [1, "shift"]}}),
        ("extra", 1),
    ],
)  # fmt: skip
def test_a_record_with_a_signature_and_nonsense_is_refused_all_the_same(field, value):
    raw = unpack(unpack(seal_record(record_of(Delta({}, {}, {}, {})), KEY).envelope)["payload"])
    raw[field] = value
    envelope = seal("application/vnd.edge-agent.record+msgpack", pack(raw), KEY)
    with pytest.raises(WireError):
        unseal_record(envelope, KEY.public)


@given(st.dictionaries(st.integers(1, 10**6), states, max_size=40), times_ms)
def test_states_keep_value_type_time_and_quality_over_the_wire(found, at_ms):
    record = record_of(Delta({}, {}, found, {}), at_ms)
    again, _ = unseal_record(seal_record(record, KEY).envelope, KEY.public)
    assert again.delta.states == found


def test_a_changed_single_precision_value_costs_less_than_eight_bytes_signature_included():
    found = {n: State(single(230 + n / 7), 1_700_000_000_000, "good") for n in range(1, 501, 2)}
    sealed = seal_record(record_of(Delta({}, {}, found, {}), 1_700_000_000_100), KEY)
    assert len(sealed.envelope) / len(found) < 8


def _small_world():
    from edge_agent.twin.baseline import empty_world

    return empty_world("w")
