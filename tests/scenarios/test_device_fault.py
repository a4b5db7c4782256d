"""A device that falls silent and a process that changes, told apart by the whole loop with its real detectors."""

import random

from test_sync import Bench

PUMP = """
[drift]
warmup = 60
false_alarm_every = "1d"
[[sources]]
name = "meter"
kind = "modbus"
url = "tcp://127.0.0.1"
points = [
    {{ name = "volts", function = 4, address = 0, type = "float32" }},
    {{ name = "amps", function = 4, address = 2, type = "float32" }},
    {{ name = "watts", function = 4, address = 4, type = "float32" }},
    {{ name = "hertz", function = 4, address = 6, type = "float32" }},
]
"""
NAMES = ("volts", "amps", "watts", "hertz")


def findings_after(bench, turns, read):
    """Let turns pass, each with a reading of every variable; return what is open then."""
    for _ in range(turns):
        bench.turn(*(bench.reading(name, *read(name)) for name in NAMES))
    return list(bench.standing.world.findings.values())


def test_a_device_that_falls_silent_is_one_finding_about_the_device_and_ends_when_it_speaks_again(tmp_path):
    bench, rng = Bench(tmp_path, PUMP), random.Random(1)

    def usual(_name):
        return (rng.gauss(50, 1),)

    assert findings_after(bench, 400, usual) == []
    (found,) = findings_after(bench, 60, lambda _: (None, "bad:timeout"))
    assert found.kind == "device"
    assert found.sentence.startswith("meter: 4 of the 4 variables that meter gives fail since ")
    assert found.sentence.endswith("; the device, not the process")
    assert [f for f in findings_after(bench, 400, usual) if f.kind == "device"] == []


def test_a_process_that_changes_is_one_finding_with_its_witnesses_and_no_fault_of_the_device(tmp_path):
    bench, rng = Bench(tmp_path, PUMP), random.Random(2)
    findings_after(bench, 400, lambda _: (rng.gauss(50, 1),))
    (found,) = findings_after(bench, 60, lambda name: (rng.gauss(50 if name == "hertz" else 54, 1),))
    assert found.kind != "device"
    assert {bench.standing.world.variables[w.number].name for w in found.witnesses} == {"volts", "amps", "watts"}
    assert found.sentence.startswith("meter.")
    assert found.sentence.rpartition("; ")[2].endswith(" agree")
