"""The hands at the buses: what they touch, and what they say when a bus is not there."""

import asyncio

import pytest
from acting import config
from sites import site

from edge_agent.model.errors import LinkError
from edge_agent.service.clock import Clock
from edge_agent.service.wiring import BusHands


def test_an_action_of_a_device_that_is_not_configured_any_more_finds_no_bus(tmp_path):
    hands = BusHands(site(tmp_path, config()), [], Clock())
    for touch in (hands.read("gone", "relay"), hands.write("gone", "relay", True, None)):
        with pytest.raises(LinkError, match="no source of this name"):
            asyncio.run(touch)
    assert hands.near("gone") == ()


def test_what_a_write_that_goes_astray_could_hit_is_the_device_s_own_memory(tmp_path):
    assert BusHands(site(tmp_path, config()), [], Clock()).near("meter") == ("relay", "next", "level")
