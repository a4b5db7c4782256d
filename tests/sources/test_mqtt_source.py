import asyncio
import contextlib
from collections import Counter

import pytest
from peers import CONNACK, Wire, fake_broker, packet, read_packet

from edge_agent.model.checked import Seconds
from edge_agent.model.errors import ConfigError, LinkError, TrustError, WireError
from edge_agent.model.profile import Availability, MqttAsk, PathPoint
from edge_agent.model.reading import Instant
from edge_agent.model.site import BrokerAccess, MqttSettings, Source
from edge_agent.mqtt import Session
from edge_agent.sources.mqtt import links
from edge_agent.twin.published import device
from edge_agent.twin.topics import is_filter, matches

POINTS = (
    PathPoint(name="temperature", path="$.temperature", range=(-60, 125)),
    PathPoint(name="humidity", path="$.air['relative humidity'][0]"),
    PathPoint(name="state", path="$.state", kind="state"),
)
WHOLE = (PathPoint(name="value", path="$", kind="state"),)


class Counting:
    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return Instant(self.now, self.now, synced=False)


def source(url, topic="home/room", name="room", points=POINTS, access=None, asks=(), **rest):
    settings = MqttSettings(name=name, url=url, topic=topic, access=access or BrokerAccess(), **rest)
    return Source(settings, f"w:sensor:{name}", "sensor", points, asks=asks)


def with_broker(broker, scenario, *sources, url=None):
    """Run a scenario with an open link and a `say(topic, payload)` that returns when the broker has it."""

    async def run():
        (link,) = links(sources or [source(broker.url)], Counting())
        device = Session(url or broker.url, BrokerAccess(), "device")
        await device.open()
        await link.open()
        try:
            return await asyncio.wait_for(scenario(link, device.publish), 60)
        finally:
            await link.close()
            await device.close()

    return asyncio.run(run())


def seen(readings):
    return {reading.point: (reading.value, reading.quality) for reading in readings}


def test_a_message_becomes_readings_with_the_topic_as_their_anchor(broker):
    async def scenario(link, say):
        await say("home/room", b'{"temperature": 0, "air": {"relative humidity": [40.5]}, "state": false}')
        return await link.read(link.polls[0])

    found = with_broker(broker, scenario)
    assert seen(found) == {"temperature": (0.0, "good"), "humidity": (40.5, "good"), "state": (False, "good")}
    assert {id(reading.anchor) for reading in found} == {id(found[0].anchor)}
    assert (found[0].anchor.source, found[0].anchor.detail) == ("room", "home/room")
    assert found[0].anchor.at.mono_ns == 1


def test_what_a_message_does_not_hold_has_not_been_read(broker):
    async def scenario(link, say):
        await say("home/room", b'{"linkquality": 7}')
        await say("home/room", b'{"temperature": -0.5, "linkquality": 7}')
        return await link.read(link.polls[0]), dict(link.dropped)

    found, dropped = with_broker(broker, scenario)
    assert seen(found) == {"temperature": (-0.5, "good")}
    assert dropped == {}  # nothing is lost that nobody asked for


def test_a_value_that_cannot_be_used_is_a_reading_with_its_reason(broker):
    async def scenario(link, say):
        await say("home/room", b'{"temperature": 999, "air": {"relative humidity": ["wet"]}, "state": null}')
        return await link.read(link.polls[0])

    assert seen(with_broker(broker, scenario)) == {
        "temperature": (None, "bad:range"),
        "humidity": (None, "bad:type"),
        "state": (None, "bad:sentinel"),
    }


@pytest.mark.parametrize(
    ("payload", "wanted"), [(b"Online", "Online"), (b"0", 0), (b"false", False), (b'""', ""), (b"21.5", 21.5)]
)
def test_a_plain_payload_is_the_value_of_the_whole(broker, payload, wanted):
    async def scenario(link, say):
        await say("home/room", payload)
        return await link.read(link.polls[0])

    found = with_broker(broker, scenario, source(broker.url, points=WHOLE))
    assert seen(found) == {"value": (wanted, "good")}
    assert type(found[0].value) is type(wanted)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b'{"temperature": NaN}', b"[" * 99, b" " * 70_000]
)
def test_a_message_that_is_none_is_a_wire_error_and_the_next_is_read(broker, payload):
    async def scenario(link, say):
        await say("home/room", payload)
        await say("home/room", b'{"temperature": 0}')
        with pytest.raises(WireError, match=r"^home/room: message: got ") as refusal:
            await link.read(link.polls[0])
        return refusal.value.reason, await link.read(link.polls[0])

    reason, found = with_broker(broker, scenario)
    assert reason == "garbage"
    assert seen(found) == {"temperature": (0.0, "good")}


def test_a_retained_message_is_of_an_unknown_time_and_says_so(broker):
    async def run():
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        await device.publish("home/room", b'{"temperature": 0, "state": null}', retain=True)
        (link,) = links([source(broker.url)], Counting())
        await link.open()
        old = await link.read(link.polls[0])
        await device.publish("home/room", b'{"temperature": 1}', retain=True)
        new = await link.read(link.polls[0])
        await link.close()
        await device.close()
        return old, new

    old, new = asyncio.run(asyncio.wait_for(run(), 60))
    assert seen(old) == {"temperature": (0.0, "uncertain:stale"), "state": (None, "bad:sentinel")}
    assert seen(new) == {"temperature": (1.0, "good")}


def test_sources_of_one_broker_share_a_session_and_each_gets_its_own(broker):
    sources = [
        source(broker.url, "home/a", "a"),
        source(broker.url, "home/b", "b"),
        source(broker.url, "home/+", "all"),
        source(broker.url, "other/#", "other"),
    ]

    async def scenario(link, say):
        reading = {poll.source: asyncio.create_task(link.read(poll)) for poll in link.polls}
        await asyncio.sleep(0)  # all of them wait before the first message comes, in the order of their creation
        await say("home/b", b'{"temperature": 2}')
        await say("home/a", b'{"temperature": 1}')
        found = {name: seen(await reading[name]) for name in ("a", "b", "all")}
        again = asyncio.create_task(link.read(link.polls[2]))
        await say("other", b'{"temperature": 0}')
        found["other"] = seen(await reading["other"])
        found["again"] = seen(await again)
        return found

    found = with_broker(broker, scenario, *sources)
    assert {name: values["temperature"][0] for name, values in found.items()} == {
        "a": 1.0,
        "b": 2.0,
        "all": 2.0,
        "other": 0.0,
        "again": 1.0,
    }


def test_when_the_read_that_listens_is_given_up_another_listens(broker):
    sources = [source(broker.url, "home/a", "a"), source(broker.url, "home/b", "b"), source(broker.url, "home/c", "c")]

    async def scenario(link, say):
        first, second, third = [asyncio.create_task(link.read(poll)) for poll in link.polls]
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await say("home/c", b'{"temperature": 3}')
        await say("home/b", b'{"temperature": 2}')
        await say("home/a", b'{"temperature": 0}')
        return [seen(await reading)["temperature"][0] for reading in (third, second, link.read(link.polls[0]))]

    assert with_broker(broker, scenario, *sources) == [3.0, 2.0, 0.0]


def test_a_source_that_is_not_read_loses_its_oldest_messages_counted_and_no_other_does(broker):
    sources = [source(broker.url, "home/a", "a"), source(broker.url, "home/b", "b")]

    async def scenario(link, say):
        reading = asyncio.create_task(link.read(link.polls[1]))
        for i in range(130):
            await say("home/a", b'{"temperature": %d}' % (i % 100))
        await say("home/b", b'{"temperature": 0}')
        other = seen(await reading)
        first = seen(await link.read(link.polls[0]))
        return other["temperature"][0], first["temperature"][0], dict(link.dropped)

    assert with_broker(broker, scenario, *sources) == (0.0, 30.0, {"nobody read": 30})


def test_a_lost_broker_ends_every_read_and_the_link_can_be_opened_again(broker):
    async def run():
        async with Wire(broker.port) as wire:
            (link,) = links([source(wire.url, "home/a", "a"), source(wire.url, "home/b", "b")], Counting())
            await link.open()
            reading = [asyncio.create_task(link.read(poll)) for poll in link.polls]
            await asyncio.sleep(0)
            await wire.cut()
            ends = await asyncio.gather(*reading, return_exceptions=True)
            with pytest.raises(LinkError):
                await link.read(link.polls[0])
            with pytest.raises(LinkError):
                await link.open()
            await wire.heal()
            await link.open()
            device = Session(broker.url, BrokerAccess(), "device")
            await device.open()
            await device.publish("home/b", b'{"temperature": 0}')
            found = await link.read(link.polls[1])
            await device.close()
            await link.close()
            return ends, found

    ends, found = asyncio.run(asyncio.wait_for(run(), 60))
    assert [(type(end), end.reason) for end in ends] == [(LinkError, "link")] * 2
    assert seen(found) == {"temperature": (0.0, "good")}


def test_closing_ends_every_read(broker):
    async def scenario(link, _say):
        reading = [asyncio.create_task(link.read(poll)) for poll in link.polls]
        await asyncio.sleep(0)
        await link.close()
        await link.close()
        return await asyncio.gather(*reading, return_exceptions=True)

    sources = [source(broker.url, "home/a", "a"), source(broker.url, "home/b", "b")]
    assert [type(end) for end in with_broker(broker, scenario, *sources)] == [LinkError] * 2


def test_nothing_is_open_until_it_is_opened():
    async def run():
        (link,) = links([source("mqtt://127.0.0.1:1")], Counting())
        with pytest.raises(LinkError, match="not open"):
            await link.read(link.polls[0])
        with pytest.raises(LinkError):
            await link.open()
        await link.close()

    asyncio.run(run())


def test_nothing_is_ever_written():
    async def run():
        (link,) = links([source("mqtt://host")], Counting())
        with pytest.raises(TrustError, match=r"room\.state: got a write of False"):
            await link.write("room", "state", value=False)

    asyncio.run(run())


def test_a_topic_from_the_wire_is_made_harmless_before_it_is_an_anchor(broker):
    topic = "home/\u202e" + "x" * 200

    async def scenario(link, say):
        with contextlib.suppress(LinkError):  # a broker may refuse such a topic itself
            await say(topic, b'{"temperature": 0}')
        await say("home/room", b'{"temperature": 0}')
        return await link.read(link.polls[0])

    detail = with_broker(broker, scenario, source(broker.url, "home/#"))[0].anchor.detail
    assert detail.isprintable()
    assert len(detail) <= 80


# --- several topics of one device, availability, times, silence

TASMOTA = (
    PathPoint(name="power", path="$.ENERGY.Power", topic="tele/{device}/SENSOR"),
    PathPoint(
        name="relay", path="$.POWER", topic="stat/{device}/RESULT", kind="state", values={"ON": True, "OFF": False}
    ),
    PathPoint(name="firmware", path="$.StatusFWR.Version", topic="stat/{device}/STATUS2", identity="firmware"),
)
LAST_WILL = Availability("tele/{device}/LWT")
Z2M_WILL = Availability("{topic}/availability", path="$.state")


def tasmota(url, **rest):
    return source(url, None, points=TASMOTA, device="plug1", availability=LAST_WILL, **rest)


def test_one_device_may_speak_on_several_topics(broker):
    async def scenario(link, say):
        await say("tele/plug2/SENSOR", b'{"ENERGY": {"Power": 99}}')
        await say("tele/plug1/SENSOR", b'{"Time": "2026-11-25T17:00:00", "ENERGY": {"Power": 0}, "POWER": "ON"}')
        await say("stat/plug1/RESULT", b'{"POWER": "OFF"}')
        return await link.read(link.polls[0]), await link.read(link.polls[0])

    power, relay = with_broker(broker, scenario, tasmota(broker.url))
    assert seen(power) == {"power": (0.0, "good")}
    assert seen(relay) == {"relay": (False, "good")}
    assert power[0].anchor.detail == "tele/plug1/SENSOR"


def test_the_last_will_of_a_device_makes_all_its_values_bad_until_it_speaks_again(broker):
    async def scenario(link, say):
        found = []
        for topic, payload in (
            ("tele/plug1/SENSOR", b'{"ENERGY": {"Power": 5}}'),
            ("tele/plug1/LWT", b"Offline"),
            ("tele/plug1/LWT", b"sleepy"),
            ("tele/plug1/LWT", b"Online"),
            ("tele/plug1/SENSOR", b'{"ENERGY": {"Power": 0}}'),
        ):
            await say(topic, payload)
        found = [seen(await link.read(link.polls[0])) for _ in range(3)]
        return found, dict(link.dropped)

    found, dropped = with_broker(broker, scenario, tasmota(broker.url))
    gone = (None, "bad:offline")
    assert found == [
        {"power": (5.0, "good")},
        {"power": gone, "relay": gone, "firmware": gone},
        {"power": (0.0, "good")},
    ]
    assert dropped == {"unknown availability": 1}


@pytest.mark.parametrize(
    ("payload", "gone"), [(b"offline", True), (b'{"state":"offline"}', True), (b'{"state":"online"}', False)]
)
def test_a_retained_last_will_counts_and_what_is_retained_of_a_device_that_has_gone_does_not(broker, payload, gone):
    async def run():
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        await device.publish("z/lamp/availability", payload, retain=True)
        await device.publish("z/lamp", b'{"temperature": 21}', retain=True)
        (link,) = links([source(broker.url, "z/{device}", device="lamp", availability=Z2M_WILL)], Counting())
        await link.open()
        await device.publish("z/lamp", b'{"temperature": 22}')
        found = {}
        while found.get("temperature") != (22.0, "good"):
            last = found
            found = seen(await link.read(link.polls[0]))
        await link.close()
        await device.close()
        return last["temperature"]

    last = asyncio.run(asyncio.wait_for(run(), 60))
    assert last == ((None, "bad:offline") if gone else (21.0, "uncertain:stale"))


OWN = 1_795_622_400_000


class Synced:
    def __init__(self):
        self.now_ms = OWN + 1000

    def __call__(self):
        return Instant(self.now_ms, 9_000_000_000_000, synced=True)


def test_pain_5_a_state_out_of_a_cache_is_never_dated_anew(broker):
    """A bridge that starts again publishes what it remembers (zigbee2mqtt#3496), and not as retained."""

    async def scenario(link, say):
        link._now = Synced()
        for temperature, seconds in ((20, 0), (20, 0), (19, -5), (0, 1), (7, 500), (8, 2)):
            await say("home/room", b'{"temperature": %d, "last_seen": %d}' % (temperature, OWN + 1000 * seconds))
        return [await link.read(link.polls[0]) for _ in range(4)], dict(link.dropped)

    found, dropped = with_broker(broker, scenario, source(broker.url, time="$.last_seen"))
    assert [(seen(each)["temperature"], each[0].anchor.at.at_ms - OWN) for each in found] == [
        ((20.0, "good"), 0),
        ((0.0, "good"), 1000),
        ((7.0, "uncertain:clock"), 1000),  # from the future: doubted, and what comes after it is heard
        ((8.0, "good"), 1000),
    ]
    assert dropped == {"told before": 1, "older than known": 1}


def test_a_retained_message_with_a_time_of_its_own_is_dated_by_it(broker):
    async def run(age_ms):
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        text = f'{{"temperature": 0, "last_seen": {OWN + 1000 - age_ms}}}'
        await device.publish("home/room", text.encode(), retain=True)
        (link,) = links([source(broker.url, time="$.last_seen")], Synced())
        await link.open()
        found = await link.read(link.polls[0])
        await link.close()
        await device.close()
        return seen(found)["temperature"], found[0].anchor.at.at_ms - OWN

    assert asyncio.run(asyncio.wait_for(run(20_000), 60)) == ((0.0, "good"), -19_000)
    assert asyncio.run(asyncio.wait_for(run(31_000), 60)) == ((0.0, "uncertain:stale"), -30_000)


def test_pain_5_what_was_heard_and_is_retained_is_dated_as_it_was_heard_after_a_reconnect(broker):
    """Between losing the broker and this all values are bad; a door that does not move says nothing more for days."""

    async def run():
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        (link,) = links([source(broker.url)], Counting())
        await link.open()
        await device.publish("home/room", b'{"temperature": 0}', retain=True)
        found = [await link.read(link.polls[0])]
        await link.open()
        found.append(await link.read(link.polls[0]))
        await device.publish("home/room", b'{"temperature": 1}')
        found.append(await link.read(link.polls[0]))
        await link.close()
        await device.publish("home/room", b'{"temperature": 3}', retain=True)
        await link.open()
        found.append(await link.read(link.polls[0]))
        await link.close()
        await device.close()
        return found

    found = asyncio.run(asyncio.wait_for(run(), 60))
    stale = "uncertain:stale"
    assert [seen(each)["temperature"] for each in found] == [(0.0, "good"), (0.0, stale), (1.0, "good"), (3.0, stale)]
    first, again, *_ = found
    assert again[0].anchor.at == first[0].anchor.at


def test_after_a_deaf_session_what_is_retained_and_known_is_not_told_again():
    """Else a device that is silent would seem to come back each time the broker is asked."""
    settings = MqttSettings(name="a", url="mqtt://h", topic="t")
    listening = device(Source(settings, "w:s:a", "s", POINTS), settings, "sources.a", [])

    def told(payload, after_loss, *, retained=True):
        listening.connected(after_loss=after_loss)
        found = listening.take("t", payload, Counting()(), retained=retained, dropped=Counter())
        return [(each.value, each.quality) for each in found]

    assert told(b'{"temperature": 0}', after_loss=False, retained=False) == [(0.0, "good")]
    assert told(b'{"temperature": 0}', after_loss=False) == []
    assert told(b'{"temperature": 0}', after_loss=True) == [(0.0, "uncertain:stale")]
    assert told(b'{"temperature": 5}', after_loss=False) == [(5.0, "uncertain:stale")]  # it was missed


def deaf_broker(subscribed, heard):
    """A broker that takes subscriptions and forgets them: it never sends a message until `heard` is set."""

    async def script(reader, writer):
        await read_packet(reader)
        writer.write(CONNACK["5"])
        while True:
            command, body = await read_packet(reader)
            if command == 0x82:
                writer.write(packet(0x90, body[:2] + b"\0\x01"))
                subscribed.append(asyncio.current_task())
            if len(subscribed) == heard:
                writer.write(packet(0x30, b"\x00\x09home/room\x00" + b'{"temperature": 0}'))

    return fake_broker(script)


@pytest.mark.parametrize("subscriptions", [1, 2])
def test_pain_14_a_subscription_that_brings_nothing_is_made_anew(subscriptions):
    async def run():
        subscribed = []
        async with deaf_broker(subscribed, subscriptions) as url:
            (link,) = links(
                [source(url, stale_after=Seconds(0.2)), source(url, "x", "y", stale_after=Seconds(60))], Counting()
            )
            await link.open()
            found = await link.read(link.polls[0])
            await link.close()
        return seen(found), len(subscribed), len(set(subscribed))

    found, count, connections = asyncio.run(asyncio.wait_for(run(), 60))
    assert found == {"temperature": (0.0, "good")}
    assert (count, connections) == (subscriptions, 1)


def test_pain_14_a_session_that_stays_deaf_is_given_up_so_that_it_is_made_anew():
    async def run():
        subscribed = []
        async with deaf_broker(subscribed, 99) as url:
            (link,) = links(
                [source(url, stale_after=Seconds(0.1)), source(url, "x", "y", stale_after=Seconds(0.3))], Counting()
            )
            await link.open()
            with pytest.raises(LinkError, match=r"connected, but nothing came for 0\.6 s") as loss:
                await link.read(link.polls[0])
            await link.close()
        return loss.value.reason

    assert asyncio.run(asyncio.wait_for(run(), 60)) == "stale"


def test_what_is_retained_does_not_make_a_deaf_session_seem_to_hear(broker):
    async def run():
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        await device.publish("home/room", b'{"temperature": 0}', retain=True)
        (link,) = links([source(broker.url, stale_after=Seconds(1))], Counting())
        await link.open()
        first = await link.read(link.polls[0])
        with pytest.raises(LinkError, match="nothing came for"):
            await link.read(link.polls[0])
        await link.close()
        await device.close()
        return seen(first)

    assert asyncio.run(asyncio.wait_for(run(), 60)) == {"temperature": (0.0, "uncertain:stale")}


def test_a_device_is_asked_after_connecting_and_again(broker):
    ask = MqttAsk("cmnd/{device}/Status", "2", Seconds(0.2))

    async def run():
        device = Session(broker.url, BrokerAccess(), "device")
        await device.open()
        await device.subscribe(["cmnd/#"])
        (link,) = links([tasmota(broker.url, asks=(ask,))], Counting())
        await link.open()
        reading = asyncio.create_task(link.read(link.polls[0]))
        asked = [await device.next_message() for _ in range(2)]
        await device.publish("stat/plug1/STATUS2", b'{"StatusFWR": {"Version": "14.3.0"}}')
        found = await reading
        await link.close()
        await device.close()
        return [(each.topic, each.payload) for each in asked], seen(found)

    asked, found = asyncio.run(asyncio.wait_for(run(), 60))
    assert asked == [("cmnd/plug1/Status", b"2")] * 2
    assert found == {"firmware": ("14.3.0", "good")}


def test_pain_11_memory_stays_flat_whatever_topics_come():
    problems = []
    settings = MqttSettings(name="a", url="mqtt://h", topic="#", time="$.t")
    listening = device(Source(settings, "w:s:a", "s", POINTS), settings, "sources.a", problems)
    assert problems == []
    for i in range(3000):
        payload = b'{"temperature": 0, "t": %d}' % (OWN + i)
        listening.take(f"t/{i}", payload, Synced()(), retained=False, dropped=Counter())
    assert len(listening._heard) == 1000


@pytest.mark.parametrize(
    ("settings", "place", "wanted"),
    [
        ({"topic": "z/{device}"}, "sources.room.topic", "`device` to be given"),
        ({"topic": "z/{devise}", "device": "a"}, "sources.room.topic", "no places but {device} and {topic}"),
        ({"topic": "z/{device}", "device": "+"}, "sources.room.device", "a name without + and #"),
        ({"topic": "z/{device}", "device": "a/#"}, "sources.room.device", "a name without + and #"),
        ({"topic": None}, "sources.room.topic", "a topic, here or in the profile"),
        ({"topic": "z", "time": "last_seen"}, "sources.room.time", "a path such as"),
        ({"topic": "z", "availability": Availability("z#")}, "sources.room.availability.topic", "a topic, with +"),
        ({"topic": "z", "availability": Availability("z", path="x")}, "sources.room.availability.path", "a path such as"),
    ],
)  # fmt: skip
def test_what_cannot_be_listened_to_is_a_problem_in_words(settings, place, wanted):
    with pytest.raises(ConfigError) as refusal:
        links([source("mqtt://host", **settings)], Counting())
    assert any(p.place == place and wanted in p.wanted for p in refusal.value.problems), refusal.value.problems


# --- topics


@pytest.mark.parametrize(
    ("wanted", "topic", "answer"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a", False),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("/+", "/a", True),
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("#", "a/b/c", True),
        ("#", "/", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("a/+/#", "a", False),
        ("a/+/#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("A", "a", False),
        ("", "", True),
        ("a//b", "a//b", True),
        ("a/+/b", "a//b", True),
        ("0", "0", True),
        # one filter by another
        ("#", "+/#", True),
        ("+/#", "#", False),
        ("a/+", "a/#", False),
        ("a/#", "a/+", True),
        ("a/+/#", "a/#", False),
        ("a/+", "a/+", True),
        ("a/b", "a/+", False),
    ],
)
def test_a_filter_matches_as_the_specification_says(wanted, topic, answer):
    assert matches(wanted, topic) is answer


@pytest.mark.parametrize(
    "topic", ["a", "a/b", "+", "#", "a/+/b", "a/#", "+/+/#", "/a", "a//b", "$SYS/#", "x" * 65535, "0"]
)
def test_what_one_may_subscribe_to(topic):
    assert is_filter(topic)


@pytest.mark.parametrize(
    "topic", ["", "a+", "a/b#", "#/a", "a/#/b", "++", "a/+b", "##", "a\0b", "a\nb", "x" * 65536, "\u202ea"]
)
def test_what_one_may_not_subscribe_to(topic):
    assert not is_filter(topic)


# --- configuration


def test_a_poll_waits_for_what_speaks_by_itself():
    (link,) = links([source("mqtt://host", stale_after=Seconds(5))], Counting())
    (poll,) = link.polls
    assert (link.bus, poll.source, poll.unit, poll.detail) == ("mqtt://host", "room", "home/room", "home/room")
    assert (poll.period_s, poll.timeout_s) == (None, 5.0)
    assert poll.points == ("temperature", "humidity", "state")
    assert links([source("mqtt://host")], Counting())[0].polls[0].timeout_s == 30.0


def test_sources_are_grouped_by_broker_and_by_how_they_are_let_in():
    found = links(
        [
            source("mqtt://a", name="1"),
            source("mqtt://b", name="2"),
            source("mqtt://a", name="3"),
            source("mqtt://a", name="4", access=BrokerAccess(username="u")),
        ],
        Counting(),
    )
    assert [[poll.source for poll in link.polls] for link in found] == [["1", "3"], ["2"], ["4"]]
    assert len({link._client_id for link in found}) == 3


def test_every_problem_is_listed():
    bad = (PathPoint(name="p", path="temperature"), PathPoint(name="q", path="$..a"))
    with pytest.raises(ConfigError) as refusal:
        links([source("http://host", "a/#/b", "one", bad), source("mqtt://host:0", name="two")], Counting())
    assert [problem.place for problem in refusal.value.problems] == [
        "sources.one.url",
        "sources.one.topic",
        "sources.one.points.p.path",
        "sources.one.points.q.path",
        "sources.two.url",
    ]
    assert 'got "temperature", wanted a path such as $, $.a.b, $.list[0]' in str(refusal.value)


def test_a_session_takes_on_sources_and_lets_go_of_others_without_being_opened_anew(broker):
    """What is retained of a new topic comes at once; the others miss nothing."""

    def four(*names):
        return [source(broker.url, f"home/{name}", name, stale_after=Seconds(3600)) for name in names]

    async def scenario(link, say):
        polls = {poll.source: poll for poll in link.polls}
        await say("home/c", b'{"temperature": 3}', retain=True)
        waiting = {name: asyncio.create_task(link.read(polls[name])) for name in ("a", "b")}
        await asyncio.sleep(0)
        (successor,) = links(four("a", "c", "d"), Counting())
        session = link._session
        assert link.renew(successor, frozenset({"a"}))
        assert link._session is session
        waiting["b"].cancel()
        polls = {poll.source: poll for poll in link.polls}
        new = seen(await link.read(polls["c"]))
        await say("home/a", b'{"temperature": 1}')
        await say("home/d", b'{"temperature": 4}')
        old, late = seen(await waiting["a"]), seen(await link.read(polls["d"]))
        await say("home/b", b'{"temperature": 2}')
        await say("home/a", b'{"temperature": 5}')
        again = seen(await link.read(polls["a"]))
        return list(polls), [found["temperature"][0] for found in (new, old, late, again)]

    names, values = with_broker(broker, scenario, *four("a", "b"))
    assert names == ["a", "c", "d"]
    assert values == [3.0, 1.0, 4.0, 5.0]


def test_a_session_that_is_named_after_a_source_that_goes_or_let_in_otherwise_is_opened_anew(broker):
    (link,) = links([source(broker.url, "home/a", "a"), source(broker.url, "home/b", "b")], Counting())
    before = link.polls
    others = [
        [source(broker.url, "home/b", "b")],
        [source(broker.url, "home/a", "a", access=BrokerAccess(username="x"))],
        [source("mqtt://127.0.0.2", "home/a", "a")],
    ]
    for sources in others:
        (successor,) = links(sources, Counting())
        assert not link.renew(successor, frozenset({"a", "b"}))
    (successor,) = links([source(broker.url, "home/a", "a")], Counting())
    assert not link.renew(successor, frozenset()), "it was changed itself"
    assert link.polls is before
