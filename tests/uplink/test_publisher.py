import asyncio
import contextlib
import json

import pytest
from fake_gateway import KEY, Gateway

from edge_agent.model.errors import LinkError, StoreError
from edge_agent.mqtt import Message
from edge_agent.seal.canonical import split
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.receipts import Receipt, seal_receipt
from edge_agent.uplink import publisher as publisher_module
from edge_agent.uplink.commands import ASK_SNAPSHOT, ask_records
from edge_agent.uplink.pace import Pace
from edge_agent.uplink.parts import Assembly
from edge_agent.uplink.publisher import Publisher, Terms, will
from edge_agent.uplink.receipts import Receipts

MIRROR = PrivateKey.from_seed(b"\x03" * 32)
RECORD, SNAPSHOT, STATUS, COMMAND = (f"edge/v1/plant/{name}" for name in ("record", "snapshot", "status", "command"))


class FakeSession:
    """Keeps the contract of a session; what is published is acknowledged when the test says so."""

    def __init__(self, max_payload=200_000_000, acknowledges=True):
        self.max_payload = max_payload
        self.sent = []
        self.subscribed = []
        self._acknowledges = acknowledges
        self._answers = []
        self._inbox = asyncio.Queue()
        self._seen = asyncio.Event()

    async def subscribe(self, topics):
        self.subscribed += topics

    async def publish(self, topic, payload, *, retain=False):
        self.sent.append((topic, payload, retain))
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        if self._acknowledges or topic == STATUS:
            answer.set_result(None)
        self._seen.set()
        await answer

    async def next_message(self):
        message = await self._inbox.get()
        if isinstance(message, LinkError):
            raise message
        return message

    def receive(self, payload, retain=False, topic=COMMAND):
        self._inbox.put_nowait(Message(topic, payload, retain))

    def acknowledge(self, index):
        self._answers[index].set_result(None)

    def refuse(self, index):
        self._answers[index].set_exception(LinkError("the broker refused: Quota exceeded", "refused"))

    def lose(self):
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(LinkError("lost"))
        self._inbox.put_nowait(LinkError("lost"))

    async def until(self, count):
        """Wait until `count` messages were published, the status among them."""
        while len(self.sent) < count:
            self._seen.clear()
            await self._seen.wait()

    def records(self):
        return [[split(payload) for topic, payload, _ in self.sent if topic == RECORD]][0]


async def settled():
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(gateway, session, publisher=None, snapshot=None):
    async def make():
        return b"snapshot"

    publisher = publisher or Publisher(gateway, "plant", snapshot or make)
    task = asyncio.create_task(publisher.run(session))
    await settled()
    yield publisher
    session.lose()
    with pytest.raises(LinkError):
        await task


def run(test):
    asyncio.run(asyncio.wait_for(test, 60))


def gateway_of(records):
    gateway = Gateway()
    for n in range(records - 1):
        gateway.measure(flow=n)
    return gateway


def envelopes(gateway, first=1):
    return [envelope for seq, _, envelope in gateway.kept if seq >= first]


def test_what_the_log_holds_goes_out_in_order_and_new_records_follow_when_woken():
    async def test():
        gateway, session = gateway_of(5), FakeSession()
        async with running(gateway, session) as publisher:
            await publisher.delivered()
            assert [e for message in session.records() for e in message] == envelopes(gateway)
            assert gateway.acked == 5
            gateway.measure(flow=9)
            await settled()
            assert gateway.acked == 5
            publisher.wake()
            await publisher.delivered()
            assert session.records()[-1] == envelopes(gateway, 6)
            assert gateway.acked == 6
            assert publisher.counts == {"messages": 2, "records": 6}

    run(test())


def test_status_comes_first_and_the_will_speaks_of_the_same_topic():
    async def test():
        gateway, session = gateway_of(2), FakeSession()
        async with running(gateway, session) as publisher:
            topic, payload, retain = session.sent[0]
            assert (topic, retain, session.subscribed) == (STATUS, True, [COMMAND])
            said = json.loads(payload)
            assert said.pop("at") > 1_600_000_000_000
            assert said == {"v": 1, "world": "plant", "online": True, "seq": 0}
            await publisher.farewell(session)
            last = json.loads(session.sent[-1][1])
            assert (last["online"], last["seq"]) == (False, 2)

    run(test())
    topic, payload = will("plant")
    assert topic == STATUS
    assert json.loads(payload) == {"v": 1, "world": "plant", "online": False, "seq": None, "at": None}


def test_messages_are_filled_up_to_the_limit_and_a_larger_record_goes_in_parts_and_in_its_place():
    async def test():
        gateway = gateway_of(40)
        gateway.measure(temperature="x" * 5000)
        gateway.measure(flow=1)
        session, assembly, found = FakeSession(max_payload=3000), Assembly(), {RECORD: [], SNAPSHOT: []}
        snapshot = gateway.snapshot()
        async with running(gateway, session) as publisher:
            publisher.publish_snapshot(snapshot)
            await publisher.delivered()
            messages = [each for each in session.sent if each[0] != STATUS]
            for topic, payload, retain in messages:
                assert len(payload) <= 3000
                assert not retain, "of a snapshot in parts a broker would keep the last alone"
                whole = assembly.take(payload)
                found[topic] += [] if whole is None else [whole]
            assert [e for m in found[RECORD] for e in split(m)] == envelopes(gateway)
            assert found[SNAPSHOT] == [snapshot]
            assert len(messages) < 30
            assert publisher.counts["parts"] == 4
            count = len(session.sent)
            session.receive(ask_records(41))
            await session.until(count + 4)
            assert [topic for topic, *_ in session.sent[count:]] == [RECORD] * 3 + [STATUS]
            assert all(len(payload) <= 3000 for _, payload, _ in session.sent)

    run(test())


def test_a_record_counts_as_delivered_with_its_last_part():
    async def test():
        gateway = gateway_of(2)
        gateway.measure(temperature="x" * 5000)
        session = FakeSession(max_payload=2000, acknowledges=False)
        async with running(gateway, session):
            sent = len(session.sent)
            assert sent >= 5
            for index in range(1, sent - 1):
                session.acknowledge(index)
            await settled()
            assert gateway.acked == 2
            session.acknowledge(sent - 1)
            await settled()
            assert gateway.acked == 3

    run(test())


@pytest.mark.parametrize(
    ("took_s", "sizes"), [(0.0, [16, 32, 64, 128, 256, 256]), (6.0, [16, 8, 4, 4]), (2.0, [16, 16])]
)
def test_messages_grow_on_a_quick_link_and_shrink_on_a_slow_one(took_s, sizes):
    pace = Pace()
    found = []
    for _ in sizes:
        found.append(pace.message_bytes // 1024)
        pace.acknowledged(pace.message_bytes, took_s)
    assert found == sizes


def test_one_lost_session_is_an_accident_and_two_over_the_largest_message_halve_it_down_to_the_least():
    pace = Pace()
    for _ in range(4):
        pace.acknowledged(pace.message_bytes, 0.0)  # up to 128 KiB
    for sizes in ([256_000, 4_000], [], [100_000], [131_072]):
        pace.lost(sizes)
        assert pace.message_bytes == 256 * 1024
    pace.lost([256_000])
    assert pace.message_bytes == 128_000
    pace.acknowledged(128_000, 0.0)
    assert pace.message_bytes == 128_000
    pace = Pace()
    for _ in range(20):
        pace.lost([pace.message_bytes])
    assert pace.message_bytes == 4 * 1024


def test_acknowledgements_out_of_order_count_only_when_all_before_them_came():
    async def test():
        gateway, session = gateway_of(6), FakeSession(max_payload=1, acknowledges=False)
        async with running(gateway, session):
            await session.until(7)
            for index in (3, 2, 6):
                session.acknowledge(index)
                await settled()
                assert gateway.acked == 0
            session.acknowledge(1)
            await settled()
            assert gateway.acked == 3
            session.acknowledge(5)
            session.acknowledge(4)
            await settled()
            assert gateway.acked == 6
            assert gateway.acknowledged == sorted(gateway.acknowledged)

    run(test())


def test_others_run_between_two_messages_so_that_a_backlog_does_not_hold_the_loop():
    async def test():
        gateway, session, seen = gateway_of(30), FakeSession(max_payload=1, acknowledges=False), []

        async def watch():
            while len(session.sent) < 9:
                seen.append(len(session.sent))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        async with running(gateway, session):
            await watching
        assert set(seen) >= set(range(1, 8)), "each count is seen on the way"

    run(test())


def test_the_window_bounds_what_is_in_flight():
    async def test():
        gateway, session = gateway_of(30), FakeSession(max_payload=1, acknowledges=False)
        async with running(gateway, session) as publisher:
            assert len(session.records()) == 8
            session.acknowledge(2)
            await settled()
            assert len(session.records()) == 8  # the oldest still holds the window
            session.acknowledge(1)
            await settled()
            assert len(session.records()) == 10
            publisher.wake()
            await settled()
            assert len(session.records()) == 10

    run(test())


def test_what_was_open_when_a_session_was_lost_is_sent_again_in_the_next_one():
    async def test():
        gateway, session = gateway_of(6), FakeSession(max_payload=1, acknowledges=False)
        async with running(gateway, session) as publisher:
            session.acknowledge(1)
            session.acknowledge(2)
            session.acknowledge(4)
        assert gateway.acked == 2
        again = FakeSession()
        async with running(gateway, again, publisher):
            assert [e for m in again.records() for e in m] == envelopes(gateway, 3)
            assert gateway.acked == 6

    run(test())


def test_an_answer_to_an_earlier_session_means_nothing():
    async def test():
        gateway, session = gateway_of(3), FakeSession(acknowledges=False)
        publisher = Publisher(gateway, "plant", None)
        first = asyncio.create_task(publisher.run(session))
        await settled()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        again = FakeSession(acknowledges=False)
        async with running(gateway, again, publisher):
            assert session._answers[1].cancelled()
            assert gateway.acked == 0

    run(test())


def test_a_refused_record_ends_the_run_is_counted_and_nothing_after_it_is_acknowledged():
    async def test():
        gateway, session = gateway_of(4), FakeSession(max_payload=1, acknowledges=False)
        publisher = Publisher(gateway, "plant", None)
        task = asyncio.create_task(publisher.run(session))
        await session.until(5)
        session.acknowledge(1)
        session.acknowledge(3)
        session.refuse(2)
        with pytest.raises(
            LinkError, match=r"Quota exceeded \(a message of \d+ bytes, up to record 2, was on its way"
        ) as caught:
            await task
        assert caught.value.reason == "refused"
        assert publisher.counts["refused"] == 1
        assert gateway.acked == 1

    run(test())


def test_a_snapshot_goes_out_retained_in_its_place_and_only_the_newest():
    async def test():
        gateway, session = gateway_of(3), FakeSession(acknowledges=False)
        async with running(gateway, session) as publisher:
            publisher.publish_snapshot(b"one")
            publisher.publish_snapshot(b"two")
            await settled()
            gateway.measure(flow=3)
            publisher.wake()
            await settled()
            assert session.sent[2] == (SNAPSHOT, b"two", True)
            assert [topic for topic, *_ in session.sent] == [STATUS, RECORD, SNAPSHOT, RECORD]
            session.acknowledge(3)
            session.acknowledge(1)
            await settled()
            assert gateway.acked == 3
            session.acknowledge(2)
            await publisher.delivered()
            assert gateway.acked == 4

    run(test())


def test_a_snapshot_that_was_asked_for_is_made_and_published():
    async def test():
        gateway, session = gateway_of(1), FakeSession()
        async with running(gateway, session) as publisher:
            session.receive(ASK_SNAPSHOT)
            await session.until(3)
            assert session.sent[-1] == (SNAPSHOT, b"snapshot", True)
            assert publisher.counts["snapshots"] == 1

    run(test())


def test_records_that_were_asked_for_are_sent_again_with_the_status_at_the_end_and_the_cursor_stays():
    async def test():
        gateway, session = gateway_of(9), FakeSession()
        async with running(gateway, session) as publisher:
            session.receive(ask_records(4))
            await session.until(4)
            assert session.records()[-1] == envelopes(gateway, 4)
            assert gateway.acked == 9
            session.receive(ask_records(10))
            await session.until(5)
            assert [topic for topic, *_ in session.sent] == [STATUS, RECORD, RECORD, STATUS, STATUS]
            assert json.loads(session.sent[-1][1])["seq"] == 9
            assert publisher.counts["resends"] == 2

    run(test())


def test_one_resend_is_under_way_at_a_time_and_new_records_pass_it():
    async def test():
        gateway, session = gateway_of(4), FakeSession(max_payload=1)
        async with running(gateway, session) as publisher:
            await publisher.delivered()
            session._acknowledges = False
            session.receive(ask_records(1))
            await session.until(6)
            session.receive(ask_records(2))
            gateway.measure(flow=7)
            publisher.wake()
            await session.until(7)
            assert publisher.counts["command:busy"] == 1
            assert session.records()[-2:] == [envelopes(gateway)[:1], envelopes(gateway, 5)]
            session.acknowledge(6)
            await settled()
            assert gateway.acked == 5
            session._acknowledges = True
            session.acknowledge(5)
            await settled()
            assert [m[0] for m in session.records()[-4:]] == envelopes(gateway, 2)

    run(test())


def test_retained_oversized_malformed_and_too_many_commands_are_refused_and_counted():
    async def test():
        gateway, session = gateway_of(1), FakeSession()
        async with running(gateway, session) as publisher:
            session.receive(ASK_SNAPSHOT, retain=True)
            session.receive(b"{" * 8193)
            session.receive(b"{}")
            for _ in range(20):
                session.receive(ASK_SNAPSHOT)
            await settled()
            await settled()
            refused = {word: n for word, n in publisher.counts.items() if word.startswith("command:")}
            assert refused == {"command:retained": 1, "command:size": 1, "command:form": 1, "command:rate": 16}

    run(test())


ACK = "edge/v1/plant/ack"


def waiting_for(gateway):
    receipts = Receipts("plant", MIRROR.public, gateway, asyncio.get_running_loop().time())
    return Publisher(gateway, "plant", None, Terms("mirror", receipts))


def receipt(gateway, seq, key=MIRROR, first=1):
    return seal_receipt(Receipt("plant", first, seq, gateway.digest_of(seq)), key)


def test_with_the_mirrors_release_records_are_kept_until_it_has_signed_for_them():
    async def test():
        gateway, session = gateway_of(6), FakeSession()
        async with running(gateway, session, waiting_for(gateway)) as publisher:
            assert session.subscribed == [COMMAND, ACK]
            await publisher.delivered()
            assert (gateway.acked, publisher.published) == (0, 6)
            session.receive(receipt(gateway, 5, KEY), topic=ACK)
            session.receive(receipt(gateway, 6), topic=ACK, retain=True)
            session.receive(receipt(gateway, 6), topic=COMMAND)
            await settled()
            assert gateway.acked == 0
            session.receive(receipt(gateway, 4), topic=ACK)
            await settled()
            assert gateway.acked == 4
            session.receive(receipt(gateway, 2), topic=ACK)
            session.receive(receipt(gateway, 6), topic=ACK)
            await settled()
            assert gateway.acknowledged == [4, 6]

    run(test())


def test_receipts_release_nothing_where_the_broker_does():
    async def test():
        gateway, session = gateway_of(6), FakeSession(max_payload=1, acknowledges=False)
        terms = waiting_for(gateway)._terms._replace(release="broker")
        async with running(gateway, session, Publisher(gateway, "plant", None, terms)):
            session.receive(receipt(gateway, 5), topic=ACK)
            await settled()
            assert (terms.receipts.last.seq, gateway.acked) == (5, 0)
            session.acknowledge(1)
            await settled()
            assert gateway.acked == 1

    run(test())


def test_what_the_mirror_never_saw_is_not_released_and_sent_again(monkeypatch):
    monkeypatch.setattr(publisher_module, "_FIRST_PATIENCE_S", 0.01)

    async def test():
        gateway, session = gateway_of(9), FakeSession(max_payload=1)
        gateway.acked = 2
        async with running(gateway, session, waiting_for(gateway)) as publisher:
            await publisher.delivered()
            session.receive(receipt(gateway, 9, first=8), topic=ACK)
            await settled()
            count = len(session.sent)
            await session.until(count + 6)
            assert session.records()[-5:] == [[e] for e in envelopes(gateway, 3)[:5]], "up to where the mirror began"
            assert (gateway.acked, publisher.counts["apart"]) == (2, 1)
            session.receive(receipt(gateway, 5, first=3), topic=ACK)
            await settled()
            assert gateway.acked == 5
            session.receive(receipt(gateway, 9, first=6), topic=ACK)
            await settled()
            assert gateway.acknowledged == [5, 9]

    run(test())


def test_what_is_missing_in_the_log_is_not_waited_for():
    async def test():
        gateway, session = gateway_of(9), FakeSession()
        gateway.acked = 2
        del gateway.kept[2:4]
        async with running(gateway, session, waiting_for(gateway)):
            session.receive(receipt(gateway, 9, first=6), topic=ACK)
            await settled()
            assert gateway.acked == 2
            session.receive(receipt(gateway, 9, first=5), topic=ACK)
            await settled()
            assert gateway.acked == 9

    run(test())


def test_what_the_broker_has_and_the_mirror_has_not_signed_is_sent_again_by_the_next_process_and_not_the_next_session():
    async def test():
        gateway, session = gateway_of(6), FakeSession()
        publisher = waiting_for(gateway)
        async with running(gateway, session, publisher):
            await publisher.delivered()
        again = FakeSession()
        async with running(gateway, again, publisher):
            assert json.loads(again.sent[0][1])["seq"] == 6
            assert again.records() == []
        another = FakeSession()
        async with running(gateway, another, waiting_for(gateway)):
            assert [e for m in another.records() for e in m] == envelopes(gateway)

    run(test())


def test_what_the_mirror_has_signed_for_is_not_sent_any_more():
    async def test():
        gateway, session = gateway_of(30), FakeSession(max_payload=1, acknowledges=False)
        async with running(gateway, session, waiting_for(gateway)):
            session.receive(receipt(gateway, 28), topic=ACK)
            await settled()
            assert gateway.acked == 28
            for index in range(1, 9):
                session.acknowledge(index)
            await settled()
            assert session.records()[8:] == [[e] for e in envelopes(gateway, 29)]

    run(test())


def test_a_mirror_that_says_nothing_is_reminded_ever_less_and_not_once_it_has_all(monkeypatch):
    monkeypatch.setattr(publisher_module, "_FIRST_PATIENCE_S", 0.01)
    monkeypatch.setattr(publisher_module, "_LONGEST_PATIENCE_S", 0.04)

    async def test():
        gateway, session = gateway_of(3), FakeSession()
        async with running(gateway, session, waiting_for(gateway)) as publisher:
            await session.until(5)
            assert [topic for topic, *_ in session.sent[2:]] == [STATUS] * 3
            session.receive(receipt(gateway, 3), topic=ACK)
            await settled()
            reminded = publisher.counts["reminders"]
            await asyncio.sleep(0.1)
            assert publisher.counts["reminders"] == reminded

    run(test())


def test_a_failing_disk_ends_the_run_with_its_own_error():
    async def test():
        async def fails():
            raise StoreError("disk full")

        publisher = Publisher(gateway_of(1), "plant", fails)
        session = FakeSession()
        session.receive(ASK_SNAPSHOT)
        with pytest.raises(StoreError, match="disk full"):
            await publisher.run(session)

    run(test())


def test_nothing_is_published_while_there_is_nothing():
    async def test():
        gateway, session = gateway_of(1), FakeSession()
        gateway.acked = 1
        async with running(gateway, session) as publisher:
            await publisher.delivered()
            assert [topic for topic, *_ in session.sent] == [STATUS]

    run(test())
