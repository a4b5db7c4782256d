"""The whole way: a gateway's records through a real broker into a mirror."""

import asyncio
import contextlib
import json

import pytest
from fake_gateway import KEY, OTHER_KEY, Gateway
from peers import Broker, Wire, fake_broker

from edge_agent.model.errors import ConfigError, LinkError, TrustError, WireError
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Message, Session
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.uplink import mirror as mirror_module
from edge_agent.uplink.follower import AuditTold, DetailMissed, Gap, ValueChange
from edge_agent.uplink.mirror import Mirror
from edge_agent.uplink.publisher import Publisher, Terms, will
from edge_agent.uplink.receipts import Receipts

MIRROR = PrivateKey.from_seed(b"\x03" * 32)
RECORD, SNAPSHOT, STATUS, COMMAND = (f"edge/v1/plant/{name}" for name in ("record", "snapshot", "status", "command"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(mirror_module, "_GRACE_S", 0.2)
    monkeypatch.setattr(mirror_module, "_FIRST_PATIENCE_S", 0.2)
    monkeypatch.setattr(mirror_module, "_FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(mirror_module, "_LONGEST_RETRY_S", 0.1)


def run(test):
    asyncio.run(asyncio.wait_for(test, 60), debug=True)


def gateway_of(records):
    gateway = Gateway()
    for n in range(records - 1):
        gateway.measure(flow=n)
    return gateway


@contextlib.asynccontextmanager
async def publishing(gateway, url, release="broker", protocol="5"):
    """Run a publisher for the gateway, connecting again whenever the link is lost, as the service does."""

    async def snapshot():
        return gateway.snapshot()

    async def serve():
        while True:
            session = Session(url, BrokerAccess(protocol=protocol), "agent", will=will("plant"))
            try:
                await session.open()
                await publisher.run(session)
            except LinkError:
                await asyncio.sleep(0.05)
            finally:
                await session.close()

    receipts = Receipts("plant", MIRROR.public, gateway, asyncio.get_running_loop().time())
    publisher = Publisher(gateway, "plant", snapshot, Terms(release, receipts))
    task = asyncio.create_task(serve())
    try:
        yield publisher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def raw_session(url):
    """A session of somebody else on the same broker."""
    session = Session(url, BrokerAccess(), "somebody")
    await session.open()
    yield session
    await session.close()


async def until(mirror, seq, told=None):
    """Follow until the mirror has verified record `seq`; return what was told."""
    told = [] if told is None else told
    while mirror.world.version < seq or any(not isinstance(each, Exception) for each in mirror._told):
        told.append(await mirror.next_change())
    return told


async def ready(mirror):
    """Connect the mirror, without waiting for a message."""
    await mirror._connected()
    assert mirror._session is not None


def same(mirror, gateway):
    return mirror._follower.state == state_digest(gateway.world) and mirror.world == gateway.world


def test_a_mirror_that_watches_from_the_first_record_holds_the_gateways_world(broker):
    async def test():
        gateway = gateway_of(1)
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            await ready(mirror)
            async with publishing(gateway, broker.url) as publisher:
                for n in range(20):
                    gateway.measure(temperature=float(n), flow=n)
                    publisher.wake()
                told = await until(mirror, 21)
        assert same(mirror, gateway)
        assert [c.value for c in told if isinstance(c, ValueChange) and c.path == "pump.flow"] == list(range(20))
        assert mirror.counts == {"sessions": 1, "records": 21, "dropped": 0}

    run(test())


def test_the_world_is_never_ahead_of_the_record_whose_changes_are_told(broker):
    async def test():
        gateway = gateway_of(20)
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            await ready(mirror)
            async with publishing(gateway, broker.url):
                while mirror.world.version < 20:
                    change = await mirror.next_change()
                    assert mirror.world.version == change.seq

    run(test())


def test_what_was_sealed_while_a_snapshot_was_on_its_way_is_kept_for_it(broker):
    async def test():
        gateway = gateway_of(10)
        snapshot = gateway.snapshot()
        async with Mirror(broker.url, "plant", KEY.public) as mirror, raw_session(broker.url) as session:
            await ready(mirror)
            later = [gateway.measure(flow=n) for n in (50, 51, 52)]
            await session.publish(RECORD, b"".join(later))
            await session.publish(SNAPSHOT, snapshot)
            told = await until(mirror, 13)
            assert same(mirror, gateway)
            assert [c.value for c in told if isinstance(c, ValueChange)][-3:] == [50, 51, 52]
            assert mirror.counts["asked"] == 0

    run(test())


def test_iterating_needs_no_more_than_a_for_loop(broker):
    async def test():
        gateway = gateway_of(5)
        async with publishing(gateway, broker.url):
            async for change in Mirror(broker.url, "plant", KEY.public):
                if isinstance(change, ValueChange) and change.value == 3:
                    break
        assert (change.path, change.unit, change.quality, change.seq) == ("pump.flow", "degC", "good", 5)

    run(test())


def test_a_late_joiner_takes_the_retained_snapshot_and_asks_for_the_records_after_it(broker):
    async def test():
        gateway = gateway_of(10)
        async with publishing(gateway, broker.url) as publisher:
            publisher.publish_snapshot(gateway.snapshot())
            await publisher.delivered()
            for n in range(5):
                gateway.measure(flow=100 + n)
            publisher.wake()
            await publisher.delivered()
            async with Mirror(broker.url, "plant", KEY.public) as mirror:
                await ready(mirror)
                gateway.measure(flow=200)
                publisher.wake()
                told = await until(mirror, 16)
                assert same(mirror, gateway)
                assert [c.value for c in told if isinstance(c, ValueChange)] == [8, 100, 101, 102, 103, 104, 200]
                assert (mirror.counts["snapshots"], mirror.counts["gaps"], mirror.counts["asked"]) == (1, 1, 1)

    run(test())


def test_a_late_joiner_without_a_retained_snapshot_asks_for_one(broker):
    async def test():
        gateway = gateway_of(10)
        async with publishing(gateway, broker.url) as publisher:
            await publisher.delivered()
            async with Mirror(broker.url, "plant", KEY.public) as mirror:
                await until(mirror, 10)
                assert same(mirror, gateway)
                assert mirror.counts["asked"] == 1

    run(test())


def test_records_that_the_broker_lost_are_asked_for_and_every_change_is_told_in_order(broker):
    async def test():
        gateway = gateway_of(3)
        async with publishing(gateway, broker.url) as publisher, Mirror(broker.url, "plant", KEY.public) as mirror:
            told = await until(mirror, 3)
            for n in range(4):
                gateway.measure(flow=10 + n)
            gateway.acked = 6  # acknowledged, and yet nobody ever got them
            publisher._sent = 6
            publisher.wake()
            await until(mirror, 7, told)
            assert same(mirror, gateway)
            assert [c.value for c in told if isinstance(c, ValueChange)][-4:] == [10, 11, 12, 13]
            assert (mirror.counts["gaps"], mirror.gap) == (1, None)
            assert publisher.counts["resends"] == 1

    run(test())


def test_a_lost_tail_is_noticed_by_the_status_alone(broker):
    async def test():
        gateway = gateway_of(4)
        gateway.acked = 4
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            mirror._follower.take(gateway.envelope(1))
            async with publishing(gateway, broker.url):
                await until(mirror, 4)
                assert same(mirror, gateway)
                assert mirror.counts["gaps"] == 0

    run(test())


def test_when_nobody_has_the_records_any_more_a_snapshot_heals(broker):
    async def test():
        gateway = gateway_of(3)
        async with publishing(gateway, broker.url) as publisher, Mirror(broker.url, "plant", KEY.public) as mirror:
            told = await until(mirror, 3)
            for n in range(4):
                gateway.measure(flow=10 + n)
            gateway.acked = 6
            publisher._sent = 6
            del gateway.kept[:6]
            publisher.wake()
            await until(mirror, 7, told)
            assert same(mirror, gateway)
            assert DetailMissed(4, 7, "snapshot", 7) in told

    run(test())


def test_a_broker_that_is_killed_and_forgets_everything_costs_no_record(broker):
    async def test():
        gateway = gateway_of(2)
        async with publishing(gateway, broker.url) as publisher, Mirror(broker.url, "plant", KEY.public) as mirror:
            told = await until(mirror, 2)
            broker.kill()
            for n in range(50):
                gateway.measure(flow=100 + n)
            publisher.wake()
            following = asyncio.create_task(until(mirror, 52, told))
            await asyncio.sleep(0)
            broker.restart()
            await following
            assert same(mirror, gateway)
            assert [c.value for c in told if isinstance(c, ValueChange)][-50:] == [100 + n for n in range(50)]
            assert mirror.counts["sessions"] == 2

    run(test())


def test_links_that_are_cut_in_mid_packet_on_both_sides_cost_no_record_and_no_order(broker):
    async def test():
        gateway = gateway_of(1)
        async with (
            Wire(broker.port) as near,
            Wire(broker.port) as far,
            publishing(gateway, near.url) as publisher,
            Mirror(far.url, "plant", KEY.public) as mirror,
        ):
            told = await until(mirror, 1)
            for turn in range(6):
                near.cut_after(700 + 900 * turn, "broker")
                far.cut_after(1500 + 700 * turn, "client")
                for n in range(20):
                    gateway.measure(flow=20 * turn + n)
                publisher.wake()
                await until(mirror, 21 + 20 * turn, told)
            assert same(mirror, gateway)
            assert [c.value for c in told if isinstance(c, ValueChange)] == list(range(120))
            assert near.connections + far.connections > 4

    run(test())


def test_a_squashed_backlog_arrives_as_one_and_says_so(broker):
    async def test():
        gateway = gateway_of(10)
        gateway.squash(3, 8)
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            await ready(mirror)
            async with publishing(gateway, broker.url):
                told = await until(mirror, 10)
        assert same(mirror, gateway)
        assert DetailMissed(3, 8, "squashed", 8) in told

    run(test())


def test_a_lie_is_raised_in_its_place_and_the_mirror_goes_on_with_what_is_true(broker):
    async def test():
        gateway = gateway_of(3)
        async with Mirror(broker.url, "plant", KEY.public) as mirror, raw_session(broker.url) as liar:
            await ready(mirror)
            await liar.publish(RECORD, b"".join(gateway.envelope(n) for n in (1, 2, 3)) + gateway.lie(state=bytes(32)))
            told = await until(mirror, 3)
            with pytest.raises(TrustError, match="record 4: its delta does not lead to the state"):
                await mirror.next_change()
            assert [c.value for c in told if isinstance(c, ValueChange)] == [0, 1]
            await liar.publish(RECORD, b"junk")
            with pytest.raises(WireError):
                await mirror.next_change()
            await liar.publish(RECORD, Gateway(key=OTHER_KEY).measure(flow=1))
            await liar.publish(SNAPSHOT, gateway.snapshot())  # the answer: it brings no such key
            with pytest.raises(TrustError, match="signed by key"):
                await mirror.next_change()
            await liar.publish(SNAPSHOT, Gateway(key=OTHER_KEY).snapshot())
            with pytest.raises(TrustError, match="signed by key"):
                await mirror.next_change()
            await liar.publish(RECORD, gateway.measure(flow=7))
            assert ValueChange("pump.flow", 7, "degC", "good", 3_995, 4) in await until(mirror, 4)
            assert mirror.counts["lies"] == 4

    run(test())


def test_a_cloned_gateway_is_named_a_fork_and_no_snapshot_hides_it(broker):
    async def test():
        gateway, clone = gateway_of(5), gateway_of(4)
        for n in range(5):
            clone.measure(flow=70 + n)
        async with publishing(gateway, broker.url) as publisher, Mirror(broker.url, "plant", KEY.public) as mirror:
            await until(mirror, 5)
            await publisher.delivered()
            async with raw_session(broker.url) as session:
                await session.publish(RECORD, b"".join(clone.envelope(n) for n in range(5, 10)))
                with pytest.raises(TrustError, match="record 5: a fork of the chain"):
                    await mirror.next_change()
                await session.publish(RECORD, clone.envelope(6))
                with pytest.raises(TrustError, match="record 6: a fork of the chain"):
                    await mirror.next_change()
                await session.publish(SNAPSHOT, clone.snapshot(), retain=True)
            gateway.measure(flow=6)
            publisher.wake()
            await until(mirror, 6)
            assert same(mirror, gateway)

    run(test())


def test_a_mirror_may_be_asked_with_a_time_limit_and_loses_nothing(broker):
    async def test():
        gateway, seen = gateway_of(1), []
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            while mirror._session is None:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(mirror.next_change(), 0.001)
            async with publishing(gateway, broker.url) as publisher:
                for n in range(30):
                    gateway.measure(flow=n)
                    publisher.wake()
                    with contextlib.suppress(TimeoutError):
                        seen.append(await asyncio.wait_for(mirror.next_change(), 0.001))
                await until(mirror, 31, seen)
            assert [c.value for c in seen if isinstance(c, ValueChange)] == list(range(30))

    run(test())


def test_a_mirror_that_is_left_while_it_connects_leaves_nothing_behind():
    async def hang(reader, _writer):
        await reader.read(-1)
        gone.set()

    gone = asyncio.Event()

    async def test():
        async with fake_broker(hang) as url:
            async with Mirror(url, "plant", KEY.public) as mirror:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(mirror.next_change(), 0.05)
            await gone.wait()

    run(test())


def test_asking_is_bounded_when_nobody_answers(broker):
    async def test():
        gateway = gateway_of(5)
        async with Mirror(broker.url, "plant", KEY.public) as mirror, raw_session(broker.url) as session:
            await ready(mirror)
            await session.subscribe([COMMAND])
            for n in (1, 5):
                await session.publish(RECORD, gateway.envelope(n))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.2):
                    while True:
                        await mirror.next_change()
            asked = [(await session.next_message()).payload for _ in range(mirror.counts["asked"])]
            assert asked[:3] == [b'{"v":1,"ask":"records","from":2}'] * 2 + [b'{"v":1,"ask":"snapshot"}']
            assert len(asked) <= 4
            assert mirror.gap == Gap(2, 4)

    run(test())


@pytest.mark.parametrize("status", [b"", b"[" * 900, b'{"seq":"x"}', b'{"seq":-5}', b"x" * 5000, b'{"seq":99999999}'])
def test_a_status_is_a_hint_and_does_no_harm(broker, status):
    async def test():
        gateway = gateway_of(2)
        async with raw_session(broker.url) as session, Mirror(broker.url, "plant", KEY.public) as mirror:
            await session.publish(STATUS, status, retain=True)
            await ready(mirror)
            await session.publish(RECORD, gateway.envelope(1) + gateway.envelope(2))
            await until(mirror, 2)
            assert same(mirror, gateway)

    run(test())


def test_a_status_that_is_longer_than_any_is_not_read(broker):
    async def test():
        mirror = Mirror(broker.url, "plant", KEY.public)
        for padding, known in ((900, 7), (1024, 1)):
            mirror._known_seq = 1
            mirror._take_status(Message(STATUS, json.dumps({"seq": 7, "x": "x" * padding}).encode(), retain=True))
            assert mirror._known_seq == known

    run(test())


def test_a_bad_url_is_told_at_once():
    with pytest.raises(ConfigError):
        Mirror("broker", "plant", KEY.public)


def test_a_mirror_waits_for_a_broker_that_is_not_there_yet(broker):
    async def test():
        gateway = gateway_of(3)
        broker.stop()
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            following = asyncio.create_task(until(mirror, 3))
            await asyncio.sleep(0.1)
            broker.restart()
            async with publishing(gateway, broker.url):
                await following
            assert same(mirror, gateway)

    run(test())


NEXT_KEY = PrivateKey.from_seed(b"\x04" * 32)


def test_a_mirror_that_missed_a_rotation_asks_for_the_key_and_calls_nobody_a_liar(broker):
    async def test():
        gateway = gateway_of(3)
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            for n in (1, 2, 3):
                mirror._follower.take(gateway.envelope(n))
            gateway.rotate(NEXT_KEY)
            gateway.measure(flow=70)
            gateway.squash(4, 5)
            gateway.measure(flow=71)
            async with publishing(gateway, broker.url) as publisher:
                told = await until(mirror, 6)
                assert same(mirror, gateway)
                assert [c.value for c in told if isinstance(c, ValueChange)] == [70, 71]
                assert DetailMissed(4, 5, "squashed", 5) in told
                assert "rotate" in [c.entry.kind for c in told if isinstance(c, AuditTold)]
                assert publisher.counts["snapshots"] >= 1
            assert mirror.counts["lies"] == 0
            assert mirror.keys.keyid == NEXT_KEY.public.keyid

    run(test())


def test_a_stranger_is_a_liar_once_the_gateway_has_shown_its_keys_and_not_by_an_old_retained_snapshot(broker):
    async def test():
        gateway = gateway_of(3)
        async with Mirror(broker.url, "plant", KEY.public) as mirror, raw_session(broker.url) as session:
            await session.publish(SNAPSHOT, gateway.snapshot(), retain=True)
            await ready(mirror)
            await session.publish(RECORD, gateway.measure(flow=5))
            await until(mirror, 4)
            stranger = Gateway(key=OTHER_KEY)
            await session.publish(RECORD, stranger.envelope(1) + gateway.measure(flow=6))
            await until(mirror, 5)  # what is true is not held up
            while mirror.counts["asked"] == 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(mirror.next_change(), 0.05)
            assert (mirror.counts["strangers"], mirror.counts["lies"]) == (1, 0)
            mirror._take_snapshot(gateway.snapshot(), jump=False, live=False)
            assert (len(mirror._strange), mirror.counts["lies"]) == (1, 0)
            await session.publish(SNAPSHOT, gateway.snapshot())
            with pytest.raises(TrustError, match="signed by key"):
                await mirror.next_change()
            assert not mirror.lied

    run(test())


class Kept:
    """A keeper in memory that looks how far the gateway has released when a place is kept."""

    def __init__(self, gateway, place=None):
        self.gateway, self.place, self.released = gateway, place, []

    def load(self):
        return self.place

    def save(self, place):
        self.released.append(self.gateway.acked)
        self.place = place


@pytest.fixture
def _signs_often(monkeypatch):
    monkeypatch.setattr(mirror_module, "_RECEIPT_EVERY_S", 0.1)


async def released(mirror, gateway, seq, told=None):
    """Follow until the gateway's record `seq` was released."""
    told = [] if told is None else told
    while gateway.acked < seq:
        with contextlib.suppress(TimeoutError):
            told.append(await asyncio.wait_for(mirror.next_change(), 0.02))


@pytest.mark.usefixtures("_signs_often")
def test_a_mirrors_receipts_release_what_it_verified(broker):
    async def test():
        gateway = gateway_of(20)
        async with (
            publishing(gateway, broker.url, "mirror") as publisher,
            Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror,
        ):
            now_s = asyncio.get_running_loop().time
            begun_s = now_s()
            await released(mirror, gateway, 20)
            gateway.measure(flow=100)
            publisher.wake()
            await released(mirror, gateway, 21)
            assert same(mirror, gateway)
            assert publisher._terms.receipts.confirms(21)
            most = 3 + (now_s() - begun_s) / mirror_module._RECEIPT_EVERY_S
            assert 2 <= mirror.counts["receipts"] <= most, "one receipt is for many records"

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_change_that_was_not_asked_beyond_is_not_signed_for(broker):
    async def test():
        gateway = gateway_of(1)
        async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror:
            await ready(mirror)
            async with publishing(gateway, broker.url, "mirror") as publisher:
                await mirror.next_change()
                while len(mirror.waiting) > 0:
                    await mirror.next_change()
                await publisher.delivered()
                assert (mirror.world.version, mirror.counts["receipts"], gateway.acked) == (1, 0, 0)
                await released(mirror, gateway, 1)

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_receipt_that_was_lost_is_sent_again_when_the_gateway_comes_back_or_reminds(broker, monkeypatch):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)

    async def test():
        gateway = gateway_of(5)
        async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror:
            async with publishing(gateway, broker.url):
                await until(mirror, 5)
            gateway.acked = 0  # the gateway's process is a new one, and heard no receipt
            async with publishing(gateway, broker.url, "mirror"):
                await released(mirror, gateway, 5)

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_broker_that_acknowledges_and_forgets_delays_release_and_loses_nothing(broker, monkeypatch):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)

    async def test():
        gateway = gateway_of(3)
        async with (
            publishing(gateway, broker.url, "mirror") as publisher,
            Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror,
        ):
            told = await until(mirror, 3)
            for n in range(4):
                gateway.measure(flow=10 + n)
            publisher.published = publisher._sent = 7  # acknowledged, and yet nobody ever got them
            await until(mirror, 7, told)
            await released(mirror, gateway, 7)
            assert [c.value for c in told if isinstance(c, ValueChange)][-4:] == [10, 11, 12, 13]
            assert publisher.counts["reminders"] >= 1

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_forked_mirror_is_told_of_and_releases_nothing(broker):
    async def test():
        gateway, clone = gateway_of(5), gateway_of(4)
        for n in range(4):
            clone.measure(flow=70 + n)
        async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror:
            for n in range(1, 9):
                mirror._follower.take(clone.envelope(n))
            async with publishing(gateway, broker.url, "mirror") as publisher:
                receipts = publisher._terms.receipts
                while not receipts.fault:
                    with contextlib.suppress(TimeoutError, TrustError):
                        await asyncio.wait_for(mirror.next_change(), 0.02)
                assert receipts.fault == "beyond"
                assert gateway.acked == 0
                assert receipts.take_notes()[0].facts["seq"] == 8

    run(test())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_record_larger_than_a_real_broker_takes_arrives_in_parts_whether_the_broker_says_so_or_hangs_up(
    tmp_path, protocol
):
    async def test():
        gateway = gateway_of(3)
        gateway.measure(temperature="x" * 20_000)
        gateway.measure(flow=5)
        async with Mirror(broker.url, "plant", KEY.public) as mirror:
            await ready(mirror)
            async with publishing(gateway, broker.url, protocol=protocol) as publisher:
                told = await until(mirror, 5)
                assert same(mirror, gateway)
                assert [c.value for c in told if isinstance(c, ValueChange)][-2:] == ["x" * 20_000, 5]
                assert publisher.counts["parts"] >= 4
        assert (mirror.counts["lies"], mirror.counts["snapshots"]) == (0, 0)

    with Broker(tmp_path, options="max_packet_size 6000\n") as broker:
        run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_mirror_with_a_place_goes_on_from_it_and_tells_every_change(broker, monkeypatch):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)

    async def test():
        gateway = gateway_of(5)
        kept, told = Kept(gateway), []
        async with publishing(gateway, broker.url, "mirror") as publisher:
            for turn in range(3):
                async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR, keeps=kept) as mirror:
                    await until(mirror, gateway.head_seq, told)
                    await released(mirror, gateway, gateway.head_seq, told)
                for n in range(10):
                    gateway.measure(flow=100 + 10 * turn + n)
                publisher.publish_snapshot(gateway.snapshot())  # a retained one, that leaves nothing out all the same
                await publisher.delivered()
            async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR, keeps=kept) as mirror:
                await until(mirror, 35, told)
                assert same(mirror, gateway)
        assert sorted({c.seq for c in told if isinstance(c, AuditTold)}) == list(range(1, 36))
        assert [c.value for c in told if isinstance(c, ValueChange)][-30:] == [100 + n for n in range(30)]
        assert kept.released[0] == 0, "its place is kept before it signs"

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_mirror_that_begins_anew_releases_nothing_that_it_did_not_see(broker, monkeypatch):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)

    async def test():
        gateway, told = gateway_of(20), []
        gateway.acked = 5
        async with publishing(gateway, broker.url, "mirror") as publisher:
            publisher.publish_snapshot(gateway.snapshot())
            await publisher.delivered()
            async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror:
                while not publisher.counts["apart"]:
                    with contextlib.suppress(TimeoutError):
                        told.append(await asyncio.wait_for(mirror.next_change(), 0.02))
                assert (mirror.world.version, gateway.acked) == (20, 5)
                assert publisher._terms.receipts.confirms(20)
                await released(mirror, gateway, 20, told)
                late = [c.seq for c in told if isinstance(c, AuditTold)]
                assert late == list(range(6, 21)), "each of them once, however often they came"
                assert publisher.counts["resends"] >= 1

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_records_that_the_gateway_lost_do_not_hold_up_the_release_of_the_others(broker, monkeypatch):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)

    async def test():
        gateway = gateway_of(20)
        gateway.acked = 3
        del gateway.kept[9:12]  # 10 to 12 were damaged
        async with publishing(gateway, broker.url, "mirror") as publisher:
            publisher.publish_snapshot(gateway.snapshot())
            await publisher.delivered()
            async with Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror:
                await released(mirror, gateway, 20)
        assert gateway.acknowledged[-1] == 20
        assert not {10, 11, 12} & set(gateway.acknowledged), "nobody can sign for what is gone"

    run(test())


@pytest.mark.usefixtures("_signs_often")
def test_a_lie_is_not_forgotten_over_a_restart(broker):
    async def test():
        gateway = gateway_of(3)
        kept = Kept(gateway)
        async with (
            Mirror(broker.url, "plant", KEY.public, keeps=kept) as mirror,
            raw_session(broker.url) as session,
        ):
            await ready(mirror)
            await session.publish(
                RECORD, b"".join(gateway.envelope(n) for n in (1, 2, 3)) + gateway.lie(prev=bytes(32))
            )
            await until(mirror, 3)
            with pytest.raises(TrustError, match="fork"):
                await mirror.next_change()
        again = Mirror(broker.url, "plant", KEY.public, keeps=kept)
        assert (again.lied, again.world.version) == (True, 3)

    run(test())
