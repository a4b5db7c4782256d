"""The hands at the buses: what they touch, and what they say when a bus is not there."""

import asyncio

import pytest
from acting import config
from fake_time import run
from sites import site

from edge_agent.model.errors import LinkError
from edge_agent.model.reading import Anchor, Reading
from edge_agent.service.clock import Clock
from edge_agent.service.wiring import HANDS_S, WRITE_S, BusHands
from edge_agent.sources import Poll


def test_an_action_of_a_device_that_is_not_configured_any_more_finds_no_bus(tmp_path):
    hands = BusHands(site(tmp_path, config()), [], Clock())
    for touch in (hands.read("gone", "relay"), hands.write("gone", "relay", True, None)):
        with pytest.raises(LinkError, match="no source of this name"):
            asyncio.run(touch)
    assert hands.near("gone") == ()


def test_what_a_write_that_goes_astray_could_hit_is_the_device_s_own_memory(tmp_path):
    assert BusHands(site(tmp_path, config()), [], Clock()).near("meter") == ("relay", "next", "level")


class Bus:
    """A runner and its link in one, whose device holds what the test says."""

    polls = (Poll("meter", "1", ("volts",), 1.0, 1.0, "fc4"), Poll("meter", "1", ("relay", "next"), 1.0, 1.0, "fc1"))
    asked = ()

    def __init__(self, **held):
        self.link, self.held = self, held

    async def ask(self, what):
        return await what()

    async def read(self, poll):
        self.asked += (poll.detail,)
        anchor = Anchor("meter", poll.detail, Clock()())
        return [Reading(anchor, name, *self.held[name]) for name in poll.points]


def on(tmp_path, bus):
    hands = BusHands(site(tmp_path, config()), [], Clock())
    hands._runners = {"meter": bus}
    return hands


def test_each_look_asks_the_device_anew_and_never_what_was_heard_before(tmp_path):
    bus = Bus(relay=(False,), next=(False,))
    hands = on(tmp_path, bus)
    assert asyncio.run(hands.read("meter", "relay")) is False
    bus.held["relay"] = (True,)
    assert asyncio.run(hands.read("meter", "relay")) is True
    assert bus.asked == ("fc1", "fc1")


@pytest.mark.parametrize("quality", ["uncertain:firmware", "bad:range"])
def test_a_value_that_is_not_good_is_none_to_an_action(tmp_path, quality):
    hands = on(tmp_path, Bus(relay=(True, quality), next=(False,)))
    assert asyncio.run(hands.read("meter", "relay")) is None
    assert asyncio.run(hands.read("meter", "next")) is False


def test_a_point_that_no_poll_reads_is_not_read(tmp_path):
    with pytest.raises(LinkError, match="no poll reads it"):
        asyncio.run(on(tmp_path, Bus()).read("meter", "level"))


def test_an_action_waits_for_a_bus_so_long_and_no_longer(tmp_path):
    """No turn is made meanwhile; and what is written late was expected of a plant of long ago."""

    class Busy(Bus):
        async def ask(self, what):
            await asyncio.sleep(1e6)

    async def waited(touch):
        began = asyncio.get_running_loop().time()
        with pytest.raises(LinkError, match="the bus had no time"):
            await touch
        return asyncio.get_running_loop().time() - began

    hands = on(tmp_path, Busy())
    assert run(waited(hands.read("meter", "relay"))) == HANDS_S
    assert run(waited(hands.write("meter", "relay", True, None))) == WRITE_S == 3.0
