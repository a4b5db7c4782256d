"""What `edge-agent run` loads: each megabyte and each tenth of a second is missed on a small board."""

import re
import signal
import subprocess
import sys

from peers import free_port
from sites import METER, written

UPSTREAM = '[upstream]\nurl = "mqtt://127.0.0.1:{port}"\n'
NEEDLESS = {
    "rich", "PIL", "amqtt", "http", "http.client", "email", "html", "xml", "unittest", "multiprocessing", "tempfile",
    "cryptography.x509", "cryptography.hazmat.primitives.serialization", "bcrypt", "difflib", "shutil", "lzma", "bz2", "encodings.idna", "unicodedata", "pymodbus.server",
    "pymodbus.client", "edge_agent.plant", "edge_agent.uplink.mirror", "edge_agent.uplink.formats",
    "edge_agent.sources.serial", "edge_agent.sources.mqtt", "edge_agent.sources.http", "edge_agent.sources.file",
}  # fmt: skip


def loaded(config):
    """Return the modules that a run imported until it was stopped, as Python itself tells."""
    command = [sys.executable, "-v", "-m", "edge_agent.cli", "run", str(config)]
    with (config.parent / "imports").open("w") as told:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
    assert process.stdout.readline() == "READY\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    return set(re.findall(r"^import '(\S+)' #", (config.parent / "imports").read_text(), re.MULTILINE))


def test_a_run_with_a_modbus_site_loads_nothing_of_other_sources_screens_and_servers(tmp_path):
    found = loaded(written(tmp_path, UPSTREAM + METER, free_port()))
    assert {"edge_agent.sources.modbus", "paho.mqtt.client", "pymodbus.framer"} <= found
    assert not NEEDLESS & found
