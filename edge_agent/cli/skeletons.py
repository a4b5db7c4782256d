"""What `profiles new` prints, by protocol. The form of each line stands in model/profile.py and model/framing.py."""

from collections.abc import Mapping
from typing import Final

_HEAD = """# @NAME@.toml: fill in what stands between < and >, then: edge-agent profiles check @NAME@.toml
name = "@NAME@"                  # as this file
title = "<maker, model and what it is>"
protocol = "{protocol}"
entity_type = "device"           # energy_meter, sensor, pump, …
{keys}
[provenance]
source = "<the document and its page, or the driver and its file>"
date = "<the day you read it, such as 2026-11-24>"
verified = false                 # true when you saw it in the document and on a device; without it nothing is writable
"""
_IDENTITY = """
# How the device shows that it is the one: until it has, its values are uncertain and it is not written to.
# [identity]
# expect = [{ point = "model", any_of = ["<what it answers>"] }]
# firmware = { point = "firmware", first = "1.0", last = "1.9" }
"""
_MODBUS = """
[limits]
max_registers = 125              # registers in one read
max_gap = 0                      # registers nobody asked for that a read may cross
# forbidden = [[0xF010, 0xF010]] # first and last address of what may never be touched
# pause = "20ms"                 # silence between two requests
timeout = "1s"

# One [[points]] for each value. Addresses are those on the wire, from 0: a manual's 40001 is 0, its 30013 is 12.
[[points]]
name = "voltage"
function = 4                     # 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers
address = 0
type = "float32"                 # bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16 …, string
# order = "CDAB"                 # ABCD when not given; `probe --all-orders` shows all four
# scale = 0.1                    # value = raw * scale + offset
unit = "V"
range = [0.0, 500.0]             # outside it a value is bad
# sentinels = [0x8000]           # raw values that mean "no value"
# kind = "counter"               # gauge, counter or state

# Registers as the device answered them, and what its display said: every point must be shown.
[[examples]]
function = 4
address = 0
registers = [0x4366, 0x8000]
values = { voltage = 230.5 }
"""
_SERIAL = """
[framing]                        # how a frame is found: line, delimiter, fixed, length, nmea or dsmr
kind = "line"
checksum = "none"                # or xor, sum8, crc8, crc16-modbus …: hex digits behind `mark`
# mark = "*"

# In lines `name,value[,value…]` a point is a field; in frames of bytes it stands `at` a byte and has a type.
[[points]]
name = "temperature"
field = "<the name before the comma>"
unit = "degC"
range = [-60.0, 125.0]

# A line as the device said it, and what it means: every point must be shown.
[[examples]]
text = "<name,21.5>"
values = { temperature = 21.5 }
"""
_JSON = """
[[points]]
name = "temperature"
path = "$.temperature"           # $.a.b, $.list[0], $ for the whole message
unit = "degC"
range = [-60.0, 125.0]

# A message as the device said it, and what it means: every point must be shown.
[[examples]]
text = '<{"temperature": 21.5}>'
values = { temperature = 21.5 }
"""
_MQTT_KEYS = 'topic = "<maker>/{device}" # {device} is what agent.toml names the device\n# time = "$.last_seen"           # where the device writes its own time\n'
_HTTP_KEYS = 'path = "/status"                 # what is asked for\n'
_AVAILABILITY = """
# Its last will, by which the broker says that it has gone:
# [availability]
# topic = "{topic}/availability"
"""


def _head(protocol: str, keys: str = "") -> str:
    return _HEAD.replace("{protocol}", protocol).replace("{keys}\n", keys)


SKELETONS: Final[Mapping[str, str]] = {
    "modbus": _head("modbus") + _IDENTITY + _MODBUS,
    "serial": _head("serial") + _IDENTITY + _SERIAL,
    "mqtt": _head("mqtt", _MQTT_KEYS) + _IDENTITY + _AVAILABILITY + _JSON,
    "http": _head("http", _HTTP_KEYS) + _IDENTITY + _JSON,
}
