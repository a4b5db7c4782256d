"""One MQTT connection, driven by the event loop: no thread of the library, no callback anywhere else.

A `Session` is opened once and ends once. It never connects again by itself, keeps nothing for later and sends
nothing twice: whoever owns it does, because only the owner knows what is still worth sending. Messages go out
with QoS 1 and are done when the broker acknowledged them. Incoming ones are acknowledged when they are taken out
of the inbox, so that a slow reader makes the broker wait, not this process grow.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.model.checked import shown
from edge_agent.model.errors import LinkError
from edge_agent.model.site import BrokerAccess
from edge_agent.mqtt.dial import Login, dial, endpoint

_IN_FLIGHT = 20
"""Unacknowledged messages in either direction: what mosquitto allows by default, and paho too."""
_INBOX_PACKETS = 16
"""The inbox holds at most this many times `max_packet` in bytes, whatever the number of its messages."""
_LARGEST_PACKET = 268_435_455
_TOPIC_ROOM = 1024
"""What a packet needs beside its payload: a topic of ours has at most 80 bytes."""
_GOODBYE_S = 2.0
_CONNACK = 0
"""Stands for the number of CONNECT among those of packets, which begin at 1."""
_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class Message(NamedTuple):
    """A message as the broker sent it; not yet checked by anybody."""

    topic: str
    payload: bytes
    retain: bool


class Session:
    """One connection to the broker at `url`, from `open` to `close` or loss.

    `will` is (topic, payload) that the broker publishes, retained, when the connection ends without a goodbye.
    `inbox` bounds the messages that wait to be taken; the oldest is dropped for a new one, and counted in
    `dropped`. A packet of more than `max_packet` bytes ends the session. Silence for twice `keepalive_s`, or a
    request without an answer for `answer_s`, does so too.

    `lost` is set when the session has ended, for whatever reason; `loss` then says why.
    """

    def __init__(
        self,
        url: str,
        access: BrokerAccess,
        client_id: str,
        *,
        will: tuple[str, bytes] | None = None,
        inbox: int = 1000,
        max_packet: int = 1024 * 1024,
        keepalive_s: int = 20,
        answer_s: float = 60.0,
    ) -> None:
        self._host, self._port, self._tls = endpoint(url)
        self._access = access
        self._client_id = client_id
        self._will = will
        self._max_packet = max_packet
        self._keepalive_s = keepalive_s
        self._answer_s = answer_s
        self._inbox: deque[tuple[Message, int]] = deque()
        self._inbox_limit = inbox
        self._inbox_bytes = 0
        self._news = asyncio.Event()
        self._answers: dict[int, tuple[float, asyncio.Future[None]]] = {}
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._client: _Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._accepted = False
        self._guard = _Guard(lambda error: self._lose(f"failed: {error!r}", cause=error))
        self.name = f"{'mqtts' if self._tls else 'mqtt'}://{self._host}:{self._port}"
        self.max_payload = _LARGEST_PACKET
        """How many bytes of payload the broker takes in one message, once it is open."""
        self.server_certificate: bytes | None = None
        """What the broker showed over TLS (DER), once it is connected."""
        self.dropped = 0
        self.lost = asyncio.Event()
        self.loss: LinkError | None = None

    async def open(self, timeout_s: float = 10) -> None:
        """Connect, and return when the broker has accepted. Raises LinkError, and may not be tried again."""
        assert self._client is None, "a session is opened once"
        stage = "TCP or TLS connection"
        try:
            async with asyncio.timeout(timeout_s):
                sock, login = await dial(self._host, self._port, self._access, timeout_s, tls=self._tls)
                self.server_certificate = sock.getpeercert(True) if isinstance(sock, ssl.SSLSocket) else None
                stage = "CONNACK"
                self._start(sock, login)
                await self._answer(_CONNACK)
        except TimeoutError:
            self._lose(f"no {stage} within {timeout_s:g} s", "timeout")
        except LinkError as error:
            self._lose(str(error), error.reason, error)
        finally:
            if not self._accepted:
                self._lose("given up while it was opened")
        self._check_not_lost()

    async def subscribe(self, topics: Sequence[str], qos: int = 1) -> None:
        """Subscribe, and return when the broker has granted it. Raises LinkError when it refuses or is lost."""
        self._check_not_lost()
        assert self._client is not None
        _, mid = self._client.subscribe([(topic, qos) for topic in topics])
        await self._answer(mid)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1, and return when the broker has acknowledged it.

        Calls that overlap are sent in the order in which they were made. Raises LinkError: reason "refused" when
        the broker refused this message (the session goes on), otherwise when the session is lost.
        """
        async with self._in_flight:
            self._check_not_lost()
            assert self._client is not None
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            await self._answer(info.mid if info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS else None)

    async def next_message(self) -> Message:
        """Take the oldest message out of the inbox, or wait for one. Raises LinkError when empty and lost."""
        while not self._inbox:
            self._check_not_lost()
            self._news.clear()
            await self._news.wait()
        return self._take()

    async def close(self) -> None:
        """Say goodbye, so that the will is not published, and let go. May be called at any time, and again."""
        if self._client is not None and self.loss is None:
            with self._guard:
                self._client.disconnect()
            self._settle()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lost.wait(), _GOODBYE_S)
        self._lose("closed")

    def _start(self, sock: socket.socket, login: Login) -> None:
        """Send CONNECT, and let the event loop drive from here on."""
        client = _Client(_PROTOCOLS[self._access.protocol], self._client_id, sock, self._max_packet)
        self._client = client
        client.username_pw_set(login.username, login.password)
        if self._will is not None:
            client.will_set(*self._will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.start(self._host, self._port, self._keepalive_s)
        if self.loss is None:
            asyncio.get_running_loop().add_reader(sock, self._readable)
            self._tick()

    async def _answer(self, mid: int | None) -> None:
        """Wait until the broker has answered the packet of this number. Raises LinkError."""
        self._check_not_lost()
        loop = asyncio.get_running_loop()
        if mid is None or mid in self._answers:
            raise LinkError(f"{self.name}: no packet number is free")
        answer: asyncio.Future[None] = loop.create_future()
        self._answers[mid] = (loop.time() + self._answer_s, answer)
        self._settle()
        try:
            await answer
        finally:
            del self._answers[mid]

    def _answered(self, mid: int, refused: str | None = None) -> None:
        _, answer = self._answers.get(mid, (0.0, None))
        if answer is None or answer.done():
            return
        if refused is None:
            answer.set_result(None)
        else:
            answer.set_exception(LinkError(f"{self.name}: the broker refused: {refused}", "refused"))

    def _take(self) -> Message:
        message, mid = self._inbox.popleft()
        self._inbox_bytes -= len(message.payload)
        if mid and self._client is not None and self.loss is None:
            with self._guard:
                self._client.ack(mid, 1)
            self._settle()
        return message

    def _check_not_lost(self) -> None:
        if self._client is None and self.loss is None:
            raise LinkError(f"{self.name}: not opened")
        if self.loss is not None:
            raise LinkError(str(self.loss), self.loss.reason) from self.loss

    def _lose(self, why: str, reason: str = "link", cause: BaseException | None = None) -> None:
        """End the session, once: release the socket and the timer, and wake up everybody who waits."""
        if self.loss is not None:
            return
        self.loss = LinkError(why if why.startswith(self.name) else f"{self.name}: {why}", reason)
        self.loss.__cause__ = cause
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            self._client.drop()
        for _, answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LinkError(str(self.loss), reason))
        self.lost.set()
        self._news.set()

    # What the event loop calls. An exception in here has no caller who could see it: the guard makes it the loss.

    def _readable(self) -> None:
        if self._client is None or self.loss is not None:
            return
        with self._guard:
            self._client.loop_read()
            if self._client.has_decrypted():  # the socket itself will not become readable for these bytes
                asyncio.get_running_loop().call_soon(self._readable)
        while len(self._inbox) > self._inbox_limit or self._inbox_bytes > _INBOX_PACKETS * self._max_packet:
            self._take()
            self.dropped += 1
        self._settle()

    def _writable(self) -> None:
        assert self._client is not None
        with self._guard:
            self._client.loop_write()
        self._settle()

    def _tick(self) -> None:
        """Ping, notice silence, and notice a broker that lives but does not answer."""
        assert self._client is not None
        loop = asyncio.get_running_loop()
        with self._guard:
            self._client.loop_misc()
        oldest = next(iter(self._answers.values()), None)
        if oldest is not None and loop.time() > oldest[0]:
            self._lose(f"no PUBACK or SUBACK within {self._answer_s:g} s", "timeout")
        if self.loss is None:
            self._timer = loop.call_later(min(self._keepalive_s, self._answer_s) / 4, self._tick)
        self._settle()

    def _settle(self) -> None:
        """Watch for the socket to take more bytes exactly while there are some."""
        if self._client is None or self.loss is not None:
            return
        loop, wants = asyncio.get_running_loop(), self._client.want_write()
        if wants and not self._writing:
            loop.add_writer(self._client.sock, self._writable)
        elif self._writing and not wants:
            loop.remove_writer(self._client.sock)
        self._writing = wants

    # What paho calls, always from within one of the above. None of these calls into paho.

    def _on_connect(self, _c: Client, _u: Any, _f: Any, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            self._lose(f"the broker refused: {_words(reason, properties)}", "refused")
            return
        self._accepted = True
        self._in_flight = asyncio.Semaphore(min(getattr(properties, "ReceiveMaximum", _IN_FLIGHT), _IN_FLIGHT))
        self.max_payload = getattr(properties, "MaximumPacketSize", self.max_payload) - _TOPIC_ROOM
        self._answered(_CONNACK)

    def _on_disconnect(
        self, client: Client, _u: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        assert isinstance(client, _Client)
        if flags.is_disconnect_packet_from_server:
            self._lose(f"the broker ended the connection: {_words(reason, properties)}")
        else:
            hint = " before it accepted: does it want a client certificate?" if self._tls and not self._accepted else ""
            self._lose((client.trouble or f"ended: {_words(reason, properties)}") + hint)

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        found = Message(message.topic, bytes(message.payload), message.retain)  # a topic that is not UTF-8 raises
        self._inbox.append((found, message.mid if message.qos else 0))
        self._inbox_bytes += len(found.payload)
        self._news.set()

    def _on_publish(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, properties: Properties | None) -> None:
        self._answered(mid, _words(reason, properties) if reason.is_failure else None)

    def _on_subscribe(
        self, _c: Client, _u: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = [_words(reason, properties) for reason in reasons if reason.is_failure]
        self._answered(mid, refused[0] if refused else None)


class _Guard:
    """Turns an exception of its block, which has nobody above it, over to the session; cancellation passes."""

    def __init__(self, lose: Callable[[Exception], None]) -> None:
        self._lose = lose

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._lose(error)
        return True


class _Client(Client):
    """paho's client on a socket made elsewhere, with the caps that it lacks.

    It relies on the inside of paho 2.1 and 2.2: `_create_socket` is where `connect` takes its socket from,
    `_sock_recv` is asked for all that is missing of a packet's body before any of it is kept, `_handle_publish`
    sees every PUBLISH, `_sock_close` is the only way a socket is closed, and `_keepalive` is what CONNACK set.
    tests/test_mqtt_we_rely_on.py holds each.
    """

    def __init__(
        self,
        protocol: MQTTProtocolVersion,
        client_id: str,
        sock: socket.socket,
        max_packet: int,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id, protocol=protocol, reconnect_on_failure=False, manual_ack=True
        )
        self.sock = sock
        self._event_loop = asyncio.get_running_loop()
        self._max_packet = max_packet
        self.trouble = ""
        """What the socket said when it failed, for a person."""

    def start(self, host: str, port: int, keepalive_s: int) -> None:
        """Send CONNECT for a session that begins clean."""
        self._longest_keepalive = keepalive_s
        if self.protocol is not MQTTProtocolVersion.MQTTv5:
            self.connect(host, port, keepalive_s)
            return
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.MaximumPacketSize = self._max_packet
        limits.ReceiveMaximum = _IN_FLIGHT
        self.connect(host, port, keepalive_s, clean_start=True, properties=limits)

    def has_decrypted(self) -> bool:
        """Whether TLS holds bytes that were read from the socket already."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def drop(self) -> None:
        """Close the socket without a goodbye."""
        self._sock_close()
        self.sock.close()  # paho does not know it before `connect`

    def _create_socket(self) -> socket.socket:
        return self.sock

    def _sock_close(self) -> None:
        # The event loop must let go before the descriptor may mean something else. paho closes when it is collected,
        # too, which may be after the loop has ended: when a program fails.
        if self.sock.fileno() >= 0:
            self._event_loop.remove_reader(self.sock)
            self._event_loop.remove_writer(self.sock)
        super()._sock_close()

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._max_packet:
            self.trouble = f"got a packet of {bufsize} bytes, wanted at most {self._max_packet}"
            raise ConnectionAbortedError(self.trouble)
        with self._noting():
            found = super()._sock_recv(bufsize)
        if not found:
            self.trouble = "the broker closed the connection"
        return found

    def _sock_send(self, buf: bytes | bytearray) -> int:
        with self._noting():
            return super()._sock_send(buf)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            self.trouble = str(error)
            raise

    def _handle_publish(self) -> MQTTErrorCode:
        if self._in_packet["command"] & 0x04:  # QoS 2, never asked for: paho would keep 65 535 of them unread
            self.trouble = "got a message of QoS 2, wanted at most 1"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _handle_connack(self) -> MQTTErrorCode:
        outcome = super()._handle_connack()
        if not 0 < self._keepalive <= self._longest_keepalive:  # a broker may ask for more pings, never for none
            self._keepalive = self._longest_keepalive
        return outcome


def _words(reason: ReasonCode, properties: Properties | None) -> str:
    """Return what the broker says, which is text from the network, for a person."""
    said = getattr(properties, "ReasonString", "")
    return f"{reason} {shown(said)}" if said else str(reason)
