"""MQTT: one session with a broker. Knows bytes and topics, no word of the domain; session.py alone knows the library."""

from edge_agent.mqtt.dial import endpoint
from edge_agent.mqtt.session import Message, Session

__all__ = ["Message", "Session", "endpoint"]
