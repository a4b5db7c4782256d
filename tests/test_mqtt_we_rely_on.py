"""What edge_agent/mqtt/session.py knows of the inside of paho. A new version of it must pass these first."""

import inspect
import socket

import paho.mqtt.client
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from peers import CONNACK, packet

from edge_agent.mqtt.session import _Client


class Noting(paho.mqtt.client.Client):
    """paho's own client on one end of a socket pair, noting what `_Client` overrides."""

    def __init__(self, end, **options):
        super().__init__(CallbackAPIVersion.VERSION2, "x", protocol=MQTTProtocolVersion.MQTTv5, **options)
        self.end, self.asked, self.published, self.closed = end, [], 0, 0

    def _create_socket(self):
        return self.end

    def _sock_recv(self, bufsize):
        self.asked.append((bufsize, len(self._in_packet["packet"])))
        return super()._sock_recv(bufsize)

    def _handle_publish(self):
        self.published += 1
        return super()._handle_publish()

    def _sock_close(self):
        self.closed += 1
        super()._sock_close()


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def connected(ends):
    client = Noting(ends[0])
    client.connect("nowhere", 1)
    ends[1].sendall(CONNACK["5"])
    client.loop_read()
    client.asked.clear()
    return client


def test_connect_takes_the_socket_from_create_socket_and_sends_connect_at_once(ends):
    client = Noting(ends[0])
    assert client.connect("nowhere", 1) is MQTTErrorCode.MQTT_ERR_SUCCESS
    assert client.socket() is ends[0]
    assert ends[1].recv(100).startswith(b"\x10")


def test_all_that_is_missing_of_a_body_is_asked_for_before_any_of_it_is_kept(connected, ends):
    ends[1].sendall(b"\x30\x80\x80\x80\x4b" + bytes(1000))
    connected.loop_read()
    assert [bufsize for bufsize, _ in connected.asked[:5]] == [1] * 5
    assert connected.asked[5] == (75 * 128**3, 0)


def test_an_oserror_of_recv_ends_the_connection(connected, ends, monkeypatch):
    def abort(_bufsize):
        raise ConnectionAbortedError

    monkeypatch.setattr(connected, "_sock_recv", abort)
    assert connected.loop_read() is MQTTErrorCode.MQTT_ERR_CONN_LOST
    assert connected.socket() is None


def test_every_publish_passes_handle_publish_and_its_first_byte_is_at_hand(connected, ends, monkeypatch):
    seen = []
    handle = connected._handle_publish
    monkeypatch.setattr(
        connected, "_handle_publish", lambda: (seen.append(connected._in_packet["command"]), handle())[1]
    )
    for first in (0x30, 0x32, 0x34):
        ends[1].sendall(packet(first, b"\x00\x01a" + (b"\x00\x01" if first > 0x31 else b"") + b"\x00x"))
        connected.loop_read()
    assert seen == [0x30, 0x32, 0x34]


def test_a_socket_is_closed_in_sock_close_alone():
    source = inspect.getsource(paho.mqtt.client.Client)
    assert source.count("sock.close()") == 1
    assert "sock.close()" in inspect.getsource(paho.mqtt.client.Client._sock_close)


def test_connack_may_change_the_keepalive_and_an_exception_in_a_callback_comes_out_of_loop_read(ends):
    def burst(*_):
        raise ZeroDivisionError

    client = Noting(ends[0])
    client.on_connect = burst
    client.connect("nowhere", 1, keepalive=7)
    ends[1].sendall(b"\x20\x06\x00\x00\x03\x13\x00\x00")  # ServerKeepAlive 0
    with pytest.raises(ZeroDivisionError):
        client.loop_read()
    assert client._keepalive == 0


def test_without_a_register_write_callback_publish_writes_at_once(connected, ends):
    ends[1].recv(1000)
    connected.publish("a", b"x", qos=1)
    assert ends[1].recv(100).startswith(b"\x32")
    assert not connected.want_write()


def test_with_manual_ack_nothing_is_acknowledged_until_we_say_so(ends):
    client = Noting(ends[0], manual_ack=True)
    client.connect("nowhere", 1)
    ends[1].sendall(CONNACK["5"] + packet(0x32, b"\x00\x01a\x00\x07\x00x"))
    client.loop_read()
    client.loop_read()
    ends[1].recv(1000)
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[1].recv(1)
    client.ack(7, 1)
    assert ends[1].recv(100).startswith(b"\x40")


def test_what_our_client_overrides_exists():
    overridden = [name for name in vars(_Client) if name.startswith("_") and not name.startswith("__")]
    ours = {"_noting"}
    assert {name for name in overridden if not hasattr(paho.mqtt.client.Client, name)} == ours


def test_what_our_client_adds_means_nothing_to_paho():
    added = [name for name in vars(_Client) if not name.startswith("_")] + ["sock", "trouble"]
    source = inspect.getsource(paho.mqtt.client.Client)
    assert [name for name in added if hasattr(paho.mqtt.client.Client, name) or f"self.{name}" in source.split()] == []
