"""Brokers that lie between a gateway and its mirror: whatever they do with messages, the mirror ends with the truth."""

import asyncio
import random

import pytest
import test_mirror
from fake_gateway import KEY
from peers import liar
from test_mirror import MIRROR, RECORD, gateway_of, publishing, released, same, until

from edge_agent.uplink import mirror as mirror_module
from edge_agent.uplink.follower import DetailMissed, ValueChange
from edge_agent.uplink.mirror import Mirror

TURNS = 60
impatient = test_mirror._impatient


def forgets_every_third():
    count = 0

    def pass_on(message):
        nonlocal count
        count += 1
        return [] if count % 3 == 0 else [message]

    return pass_on


def doubles():
    return lambda message: [message, message]


def swaps_neighbours():
    held = []

    def pass_on(message):
        if not held:
            held.append(message)
            return []
        return [message, held.pop()]

    return pass_on


def sends_everything_again():
    sent = []

    def pass_on(message):
        sent.append(message)
        return list(sent[-40:])

    return pass_on


def flips_bits():
    rng = random.Random(4)

    def pass_on(message):
        wrong = bytearray(message)
        wrong[rng.randrange(len(message) // 2, len(message))] ^= 1 << rng.randrange(8)
        return [bytes(wrong), message]

    return pass_on


def does_all_of_it():
    rng, sent = random.Random(5), []

    def pass_on(message):
        sent.append(message)
        told = rng.choices(sent[-20:], k=rng.randrange(4))
        return told if rng.random() < 0.3 else [*told, message]

    return pass_on


LIES = [forgets_every_third, doubles, swaps_neighbours, sends_everything_again, flips_bits, does_all_of_it]


async def truth(mirror, seq, told):
    """Follow until record `seq`, whatever is said to be a lie on the way."""
    while mirror.world.version < seq or mirror.waiting:
        try:
            await until(mirror, seq, told)
        except mirror_module.TrustError as lie:
            told.append(lie)
        except mirror_module.WireError as lie:
            told.append(lie)


async def freed(mirror, gateway, seq, told):
    """Follow until record `seq` was released; who is a stranger turns out when the gateway has shown its keys."""
    while gateway.acked < seq:
        try:
            await released(mirror, gateway, seq, told)
        except (mirror_module.TrustError, mirror_module.WireError) as lie:
            told.append(lie)


@pytest.mark.parametrize("lie", LIES)
def test_whatever_a_broker_does_with_records_the_mirror_ends_with_the_gateways_world(broker, monkeypatch, lie):
    monkeypatch.setattr("edge_agent.uplink.publisher._FIRST_PATIENCE_S", 0.1)
    monkeypatch.setattr(mirror_module, "_RECEIPT_EVERY_S", 0.1)

    async def test():
        gateway, told = gateway_of(1), []

        async def work():
            for n in range(TURNS):
                gateway.measure(flow=n)
                publisher.wake()
                await asyncio.sleep(0.004)  # so that records travel in many messages

        async with (
            liar(broker.port, RECORD, lie()) as url,
            publishing(gateway, url, "mirror") as publisher,
            Mirror(broker.url, "plant", KEY.public, signs=MIRROR) as mirror,
        ):
            await truth(mirror, 1, told)
            working = asyncio.create_task(work())
            await truth(mirror, TURNS + 1, told)
            await working
            await freed(mirror, gateway, TURNS + 1, told)
            assert same(mirror, gateway)
            values = [c.value for c in told if isinstance(c, ValueChange) and c.value is not None]
            assert values == sorted(set(values)), "each change is told once and in order"
            if not any(isinstance(c, DetailMissed) for c in told):
                assert values == list(range(TURNS))
            assert mirror.gap is None

    asyncio.run(asyncio.wait_for(test(), 60))
