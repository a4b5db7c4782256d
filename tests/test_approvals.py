"""Every row of the table of checks, positive and negative: what is refused has its reason, and nothing is written."""

import msgpack
import pytest
from acting import ANNA, BERT, KEY, Bench, config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge_agent.sync as loop
from edge_agent.judge.approve import CHECKS, Desk, refusal
from edge_agent.model.action import Approver
from edge_agent.model.layout import APPROVAL_TYPE, RECORD_TYPE
from edge_agent.seal.approvals import Opened, answer, opened, payload_map
from edge_agent.seal.canonical import pack
from edge_agent.seal.envelope import seal
from edge_agent.seal.keys import PrivateKey

STRANGER = PrivateKey.from_seed(b"\x63" * 32)
ROSTER = {ANNA.public.keyid: Approver("anna", ANNA.public.keyid, ANNA.public.raw, "operator", 1.0, False)}


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    found.ask()
    return found


def signed(bench, key=ANNA, payload_type=APPROVAL_TYPE, **lies):
    """Return an approval whose payload was changed in some fields, and signed as it is."""
    fields = payload_map(answer(bench.action, "approve", "anna", 7, 60)) | lies
    return seal(payload_type, pack({name: value for name, value in fields.items() if value is not ...}), key)


def raw(bench, payload):
    return seal(APPROVAL_TYPE, payload, ANNA)


def flipped(envelope, at):
    at %= len(envelope)
    return envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]


REFUSED = [
    ("size", lambda b: b.letter() + bytes(8192)),
    ("envelope", lambda b: b.letter()[:-1]),
    ("envelope", lambda b: b""),
    ("envelope", lambda b: b"\x83"),
    ("envelope", lambda b: b.letter() + b"\xc0"),
    ("envelope", lambda b: pack({"payload": b"", "payloadType": APPROVAL_TYPE, "signatures": []})),
    ("envelope", lambda b: b"\x91" * 4000),
    ("type", lambda b: signed(b, payload_type=RECORD_TYPE)),
    ("keyid", lambda b: b.letter(key=STRANGER)),
    ("keyid", lambda b: b.letter(key=KEY)),
    ("revoked", lambda b: b.letter("eva")),
    ("signature", lambda b: b.letter(key=STRANGER).replace(STRANGER.public.keyid.encode(), ANNA.public.keyid.encode())),
    ("signature", lambda b: flipped(b.letter(), -1)),
    ("signature", lambda b: b.letter().replace(b"approve", b"reject_")),
    ("payload", lambda b: raw(b, pack({"v": 1, "pad": bytes(4096)}))),
    ("payload", lambda b: raw(b, msgpack.packb({"v": 1, "act": "approve"}, use_single_float=True)[:-1])),
    ("payload", lambda b: raw(b, b"\x82\xa1v\x01\xa1v\x01")),
    ("payload", lambda b: raw(b, b"\x82\xa1w\x01\xa1v\x01")),
    ("payload", lambda b: raw(b, b"\x81\xa1v\xcd\x00\x01")),
    ("payload", lambda b: signed(b, ctr=7.0)),
    ("payload", lambda b: raw(b, msgpack.packb({"v": msgpack.ExtType(4, b"x")}))),
    ("payload", lambda b: raw(b, b"")),
    ("fields", lambda b: signed(b, ttl=...)),
    ("fields", lambda b: signed(b, more=1)),
    ("fields", lambda b: signed(b, v=2)),
    ("fields", lambda b: signed(b, act="maybe")),
    ("fields", lambda b: signed(b, ctr="7")),
    ("fields", lambda b: signed(b, ctr=True)),
    ("fields", lambda b: signed(b, ctr=-1)),
    ("fields", lambda b: signed(b, ttl=2**64 - 1)),
    ("fields", lambda b: signed(b, nonce=b"short")),
    ("fields", lambda b: signed(b, plan=b"")),
    ("fields", lambda b: signed(b, ckpt={"seq": 1})),
    ("fields", lambda b: signed(b, ckpt={"seq": 1, "head": bytes(32), "x": 1})),
    ("fields", lambda b: raw(b, pack([]))),
    ("agent", lambda b: b.letter(agent="another")),
    ("akey", lambda b: b.letter(akey="0" * 16)),
    ("operator", lambda b: b.letter("anna", key=BERT)),
    ("request", lambda b: b.letter(req=b"z" * 16)),
    ("nonce", lambda b: b.letter(nonce=b"z" * 32)),
    ("plan", lambda b: b.letter(plan=b"z" * 32)),
    ("checkpoint", lambda b: b.letter(head=b"z" * 32)),
    ("checkpoint", lambda b: b.letter(seq=99)),
    ("policy", lambda b: b.letter(policy=b"z" * 32)),
    ("roster", lambda b: b.letter(roster=b"z" * 32)),
    ("role", lambda b: b.letter("carl")),
    ("age", lambda b: b.letter(ttl_s=0)),
]  # fmt: skip


@pytest.mark.parametrize(("word", "make"), REFUSED)
def test_each_is_refused_with_its_reason_audited_and_nothing_is_written(bench, word, make):
    bench.turn([make(bench)])
    assert bench.action.stage == "waiting"
    assert bench.refused() == {word: 1}
    assert bench.plant.writes == []
    bench.approve()
    assert bench.action.stage == "verified", "and an honest one still counts"


def test_the_honest_one_counts_at_both_ends_of_its_time(bench):
    bench.turn([bench.letter(ttl_s=60)], seconds=60.0)
    assert bench.action.stage == "verified"


def test_one_that_comes_too_late_by_its_own_word_is_refused(bench):
    bench.turn([bench.letter(ttl_s=5)], seconds=6)
    assert bench.refused() == {"age": 1}


def test_the_wall_clock_neither_ages_nor_renews(bench):
    at_ms, mono_ns, synced = bench.plant.clock
    bench.plant.clock = bench.plant.clock._replace(at_ms=at_ms - 86_400_000, synced=not synced)
    bench.turn([bench.letter()], seconds=61)
    assert bench.actions[0].stage == "expired"
    assert bench.plant.writes == []
    assert mono_ns


@pytest.mark.parametrize("days", [-1, 1, 400])
def test_a_jump_of_the_wall_clock_takes_no_time_from_an_approval_and_gives_it_none(bench, days):
    bench.plant.clock = bench.plant.clock._replace(at_ms=bench.plant.clock.at_ms + days * 86_400_000)
    bench.turn([bench.letter(ttl_s=5)], seconds=6)
    assert bench.action.stage == "waiting"
    bench.turn([bench.letter(ttl_s=60)], seconds=4)
    assert bench.action.stage == "verified"
    assert bench.refused() == {"age": 1}


def test_a_clock_of_the_boot_that_went_backwards_makes_no_approval_young(bench):
    """It cannot; and if it did, a request would seem to be made in the future, and stay open for ever."""
    now = bench.plant.now().mono_ns // 1_000_000
    letter = opened(bench.letter(), bench.ground.roster)
    desk = Desk(bench.standing.world.actions, bench.standing.world.operators)
    present, _ = loop._present(bench.standing, bench.ground, bench.plant.now(), {})
    assert refusal(letter, desk, present) is None
    assert refusal(letter, desk, present._replace(mono_ms=now - 5000)) == "age"


@pytest.mark.parametrize(
    ("word", "changed"),
    [("policy", {"policy": b"z" * 32}), ("roster", {"roster": b"z" * 32}), ("boot", {"boot": b"z" * 16})],
)
def test_what_changed_since_it_was_asked_is_found_by_each_check_though_the_request_be_open_still(bench, word, changed):
    """It was closed a moment before; should that ever fail, the approval is held against what is so now."""
    letter = opened(bench.letter(), bench.ground.roster)
    desk = Desk(bench.standing.world.actions, bench.standing.world.operators)
    present, _ = loop._present(bench.standing, bench.ground, bench.plant.now(), {})
    assert refusal(letter, desk, present._replace(**changed)) == word


def test_a_role_that_is_too_small_is_refused_and_a_greater_one_suffices(tmp_path):
    text = config(book='role = "supervisor"').replace('name = "bert"', 'name = "bert"\nrole = "supervisor"')
    bench = Bench(tmp_path, text)
    bench.ask()
    bench.approve("anna")
    assert bench.refused() == {"role": 1}
    bench.approve("bert")
    assert bench.action.stage == "verified"


def test_a_replayed_approval_never_counts_twice(bench):
    letter = bench.letter()
    bench.turn([letter, letter])
    bench.turn([letter])
    bench.restart()
    bench.turn([letter])
    bench.restart(boot=b"c" * 16)
    bench.turn([letter])
    assert len(bench.plant.writes) == 1
    assert bench.refused() == {"consumed": 4}


def test_counters_must_rise_across_requests_and_restarts(bench):
    bench.approve("anna", act="reject", ctr=1000)
    bench.plant.points["volts"] = 50.0
    bench.turn()
    bench.restart()
    bench.ask()
    bench.turn([bench.letter("anna", ctr=1000)])
    assert bench.refused() == {"counter": 1}
    bench.turn([bench.letter("anna", ctr=1001)])
    assert bench.action.stage == "verified"


def test_an_approval_of_another_boot_is_refused(bench):
    letter = bench.letter()
    bench.restart(boot=b"c" * 16)
    bench.turn([letter])
    assert bench.refused() == {"request": 1}
    assert bench.plant.writes == []


def test_one_who_was_revoked_meanwhile_voids_what_waits(bench):
    letter = bench.letter("bert")
    bench.configure(bench.text.replace('name = "bert"', 'name = "bert"\nrevoked = true'))
    bench.turn([letter])
    assert bench.refused() == {"revoked": 1}
    assert bench.plant.writes == []
    assert bench.actions[0].stage == "expired"


def test_whoever_is_on_the_roster_may_say_no(bench):
    bench.approve("carl", act="reject")
    assert bench.action.stage == "refused"


def test_every_word_of_the_table_is_tried():
    tried = {word for word, _ in REFUSED} | {"consumed", "boot", "counter", "again", "locked"}
    assert {word for word, _ in CHECKS} <= tried


def test_refusals_are_told_once_a_second_however_many_there_are(bench):
    before = len(bench.ledger.sealed)
    for _ in range(40):
        bench.turn([b"junk"] * 5, refused={"rate": 20}, seconds=0.05)
    records = [r for r in bench.ledger.records()[before:] if r.audit]
    assert len(records) <= 3
    assert bench.refused() == {"envelope": 200, "rate": 800}


@given(st.binary(max_size=300))
def test_whatever_bytes_come_the_decoder_answers_with_a_word(data):
    assert isinstance(opened(data, ROSTER), str)


@given(st.data())
def test_a_signed_approval_with_a_byte_changed_removed_or_added_is_never_one(data):
    request = {"agent": "w", "akey": "k" * 16, "req": b"r" * 16, "nonce": b"n" * 32, "plan": b"p" * 32}
    versions = {"ckpt": {"seq": 1, "head": b"h" * 32}, "policy": b"o" * 32, "roster": b"s" * 32}
    fields = {"v": 1, "act": "approve", **request, **versions, "op": "anna", "ctr": 1, "ttl": 60}
    envelope = seal(APPROVAL_TYPE, pack(fields), ANNA)
    assert isinstance(opened(envelope, ROSTER), Opened)
    at = data.draw(st.integers(0, len(envelope) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != envelope[at]))
    changed = envelope[:at] + bytes([byte]) + envelope[at + 1 :]
    for lie in (
        changed,
        envelope[:at],
        envelope[:at] + envelope[at + 1 :],
        envelope[:at] + bytes([byte]) + envelope[at:],
    ):
        assert isinstance(opened(lie, ROSTER), str)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


FIELDS = ("v", "act", "agent", "akey", "req", "nonce", "plan", "ckpt", "policy", "roster", "op", "ctr", "ttl", "more")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_whatever_an_operator_signs_in_anger_is_opened_or_refused_and_never_raises(fields):
    found = opened(seal(APPROVAL_TYPE, pack(fields), ANNA), ROSTER)
    assert isinstance(found, (str, Opened))
