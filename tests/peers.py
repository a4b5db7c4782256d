"""Peers for tests: a real mosquitto, certificates made on the spot, and a wire that can be cut."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_READY_S = 10


def free_port():
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Authority:
    """A certificate authority in a folder; `issue` makes a key and a certificate, as paths of PEM files."""

    def __init__(self, folder, name="authority"):
        self._folder = Path(folder)
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = self._folder / f"{name}.crt"
        ca = self._certificate(self._name, self._key.public_key(), days=1).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.ca_file.write_bytes(self._signed(ca))

    def issue(self, name, hosts=("localhost", "127.0.0.1"), days=1):
        """Return (certificate file, key file). With `days` below 0 the certificate has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        certificate = self._certificate(subject, key.public_key(), days).add_extension(names, critical=False)
        cert_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert_file.write_bytes(self._signed(certificate))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _certificate(self, subject, public_key, days):
        now = dt.datetime.now(dt.UTC)
        end = now + dt.timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, end) - dt.timedelta(days=2))
            .not_valid_after(end)
        )

    def _signed(self, certificate):
        return certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Broker:
    """A real mosquitto on an ephemeral port of 127.0.0.1, in memory only, everybody allowed.

    `tls=(certificate file, key file)` makes it speak TLS; with `client_ca` it wants a client certificate too.
    `users={"name": "password"}` shuts out everybody else. `options` are more lines of mosquitto.conf.
    """

    def __init__(self, folder, *, tls=None, client_ca=None, users=None, options=""):
        self._program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if self._program is None:
            raise FileNotFoundError(
                "mosquitto was not found; these tests talk to a real one: apt-get install mosquitto"
            )
        self._folder = Path(folder)
        self.port = free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self._config = self._folder / f"mosquitto-{self.port}.conf"
        self._log = self._folder / f"mosquitto-{self.port}.log"
        self._config.write_text("\n".join(self._lines(tls, client_ca, users)) + "\n" + options)
        self._process = None
        self.start()

    def _lines(self, tls, client_ca, users):
        yield from (f"listener {self.port} 127.0.0.1", "persistence false", "log_dest stderr", "log_type all")
        yield from ("max_queued_messages 100000", f"allow_anonymous {'false' if users else 'true'}")
        if os.geteuid() == 0:
            yield "user root"  # else it becomes another user, who may not read the test's folder
        if tls is not None:
            yield from (f"certfile {tls[0]}", f"keyfile {tls[1]}")
        if client_ca is not None:
            yield from (f"cafile {client_ca}", "require_certificate true")
        if users:
            yield f"password_file {self._passwords(users)}"

    def _passwords(self, users):
        path = self._folder / f"mosquitto-{self.port}.passwd"
        path.touch(mode=0o600)
        tool = Path(self._program).with_name("mosquitto_passwd")
        tool = tool if tool.exists() else shutil.which("mosquitto_passwd")
        for name, password in users.items():
            subprocess.run([str(tool), "-b", str(path), name, password], check=True, capture_output=True)
        return path

    def start(self):
        """Start it, and return when it accepts connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + _READY_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mosquitto did not start:\n{self.log()}")
            time.sleep(0.005)  # between two attempts to connect

    def _accepts(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        """End it as a service manager would; a signal that comes before it sleeps is only seen when it wakes up."""
        deadline = time.monotonic() + _READY_S
        while self._process.poll() is None and time.monotonic() < deadline:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        self._process.wait(0)

    def kill(self):
        """End it without a chance to say goodbye."""
        self._process.kill()
        self._process.wait(_READY_S)

    def restart(self):
        """Start it again on the same port; it remembers nothing."""
        if self._process.poll() is None:
            self.stop()
        self.start()

    def log(self):
        """Return what it has written so far."""
        return self._log.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.stop()


class Wire:
    """A TCP relay to 127.0.0.1:`target_port` that a test can cut, stall and heal; `async with Wire(…) as wire`."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._server = None
        self._pumps = set()
        self._writers = set()
        self._flowing = asyncio.Event()
        self._allowance = {}
        self.port = 0
        self.connections = 0

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    async def __aenter__(self):
        await self.heal()
        return self

    async def __aexit__(self, *_):
        await self.cut()

    async def heal(self):
        """Let connections in again, and let bytes flow again in those that were stalled."""
        self._allowance.clear()
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self):
        """Reset every connection and refuse new ones."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def stall(self):
        """Keep every connection open but let no byte through."""
        self._flowing.clear()

    def cut_after(self, count, towards):
        """Let `count` more bytes through `towards` "broker" or "client", then close the connection, once."""
        self._allowance[towards] = count

    async def _connected(self, reader, writer):
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, far_writer)
        self._writers.update(ends)
        for source, sink, towards in ((reader, far_writer, "broker"), (far_reader, writer, "client")):
            pump = asyncio.create_task(self._pump(source, sink, towards, ends))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source, sink, towards, ends):
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                await self._flowing.wait()
                left = self._allowance.get(towards, len(chunk) + 1)
                sink.write(chunk[:left])
                await sink.drain()
                if len(chunk) >= left:
                    del self._allowance[towards]
                    break
                if towards in self._allowance:
                    self._allowance[towards] = left - len(chunk)
        for writer in ends:
            writer.close()
            self._writers.discard(writer)


CONNACK = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}
"""The bytes of an MQTT broker's welcome, by protocol."""


@contextlib.asynccontextmanager
async def fake_broker(script):
    """Listen on 127.0.0.1 and run `script(reader, writer)` for each connection; yields the url."""
    scripts = set()

    async def connected(reader, writer):
        scripts.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await script(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in scripts:
            task.cancel()
        await asyncio.gather(*scripts, return_exceptions=True)
        await server.wait_closed()


async def read_packet(reader):
    """Return (first byte, body) of the next MQTT packet."""
    command = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return command, await reader.readexactly(length)


def packet(command, body):
    """Return the bytes of an MQTT packet."""
    length, head = len(body), bytearray([command])
    while True:
        length, byte = divmod(length, 128)[0], length % 128
        head.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


@contextlib.asynccontextmanager
async def liar(target_port, topic, pass_on):
    """Relay MQTT to a real broker at 127.0.0.1:`target_port`, and lie about messages on `topic`; yields the url.

    Each is acknowledged at once. What reaches the broker in its place are the messages that `pass_on(its bytes)`
    returns, of QoS 0, so that nobody acknowledges twice.
    """

    async def script(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            while True:
                command, body = await read_packet(reader)
                end = 2 + int.from_bytes(body[:2], "big")
                if command & 0xF6 != 0x32 or body[2:end] != topic.encode():
                    far_writer.write(packet(command, body))
                    continue
                writer.write(packet(0x40, body[end : end + 2]))
                for told in pass_on(body[:end] + body[end + 2 :]):
                    far_writer.write(packet(0x30, told))
        finally:
            back.cancel()
            far_writer.close()

    async with fake_broker(script) as url:
        yield url


async def _copy(reader, writer):
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
    writer.close()
