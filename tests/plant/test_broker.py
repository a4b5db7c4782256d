"""What of MQTT 3.1.1 the embedded broker is relied upon for."""

import asyncio
import contextlib

from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt import Session
from edge_agent.plant.broker import BrokerPlant

OLD = BrokerAccess(protocol="3.1.1")


@contextlib.asynccontextmanager
async def broker():
    found = BrokerPlant()
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


@contextlib.asynccontextmanager
async def session(url, name, **options):
    found = Session(url, OLD, name, **options)
    await found.open()
    try:
        yield found
    finally:
        await found.close()


async def next_on(listener, topic):
    async with asyncio.timeout(60):
        while (message := await listener.next_message()).topic != topic:
            pass
    return message


def run(case):
    asyncio.run(asyncio.wait_for(case, 60), debug=True)


def test_acknowledged_messages_reach_every_subscriber_in_order():
    async def case():
        async with broker() as found, session(found.url, "a") as a, session(found.url, "b") as b:
            for listener in (a, b):
                await listener.subscribe(["edge/v1/+/record"])
            async with session(found.url, "sender") as sender, asyncio.TaskGroup() as tasks:
                for number in range(200):
                    tasks.create_task(sender.publish("edge/v1/w/record", b"%d" % number))
            for listener in (a, b):
                seen = [await next_on(listener, "edge/v1/w/record") for _ in range(200)]
                assert [int(message.payload) for message in seen] == list(range(200))

    run(case())


def test_a_quarter_mebibyte_passes():
    async def case():
        async with broker() as found, session(found.url, "a") as a:
            await a.subscribe(["big"])
            await a.publish("big", b"x" * 256 * 1024)
            assert len((await next_on(a, "big")).payload) == 256 * 1024

    run(case())


def test_a_retained_message_stays_until_it_is_emptied():
    async def case():
        async with broker() as found, session(found.url, "a") as a:
            await a.publish("snapshot", b"old", retain=True)
            await a.publish("snapshot", b"new", retain=True)
            async with session(found.url, "b") as b:
                await b.subscribe(["snapshot"])
                assert await next_on(b, "snapshot") == ("snapshot", b"new", True)
            await a.publish("snapshot", b"", retain=True)
            async with session(found.url, "c") as c:
                await c.subscribe(["snapshot", "end"])
                await a.publish("end", b"")
                assert (await c.next_message()).topic == "end"

    run(case())


def connect_packet(name, will_topic, will):
    fields = b"".join(len(part).to_bytes(2, "big") + part for part in (name, will_topic, will))
    body = b"\0\4MQTT\4" + bytes([0x02 | 0x04 | 0x08 | 0x20]) + b"\0\x3c" + fields  # clean, will, QoS 1, retained
    return bytes([0x10, len(body)]) + body


def test_a_last_will_is_published_and_retained_when_a_client_vanishes():
    async def case():
        async with broker() as found, session(found.url, "watch") as watch:
            await watch.subscribe(["status"])
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            writer.write(connect_packet(b"sudden", b"status", b"gone"))
            assert await reader.readexactly(4) == b"\x20\2\0\0"
            writer.transport.abort()
            assert await next_on(watch, "status") == ("status", b"gone", False)
            async with session(found.url, "later") as later:
                await later.subscribe(["status"])
                assert await next_on(later, "status") == ("status", b"gone", True)

    run(case())


def test_a_last_will_is_not_published_after_a_goodbye():
    async def case():
        async with broker() as found, session(found.url, "watch") as watch:
            await watch.subscribe(["status", "end"])
            async with session(found.url, "polite", will=("status", b"gone")):
                pass
            await watch.publish("end", b"")
            assert (await watch.next_message()).topic == "end"

    run(case())


def test_a_client_of_the_same_name_takes_over():
    async def case():
        async with broker() as found, session(found.url, "twin"), session(found.url, "twin") as second:
            await second.subscribe(["news"])
            await second.publish("news", b"1")
            assert (await next_on(second, "news")).payload == b"1"

    run(case())


def test_it_starts_again_on_its_port():
    async def case():
        async with broker() as found:
            url = found.url
            await found.stop()
            await found.start()
            assert found.url == url
            async with session(url, "a"):
                pass

    run(case())
