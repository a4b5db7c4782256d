"""What a device taught is known again after a restart, and to the firmware that taught it alone."""

import json

from edge_agent.model.checked import Seconds
from edge_agent.model.profile import RegisterPoint
from edge_agent.model.site import ModbusSettings, Source
from edge_agent.service.clock import Clock
from edge_agent.service.lessons import Lessons
from edge_agent.sources.modbus import links
from edge_agent.store.baselines import Baselines


def bus(firmware=None):
    points = [RegisterPoint(name=f"p{a}", function=3, address=a, type="uint16") for a in range(6)]
    points.append(RegisterPoint(name="fw", function=3, address=50, type="uint16", identity="firmware"))
    settings = ModbusSettings(name="m", url="tcp://127.0.0.1:5020", unit=3, poll=Seconds(1))
    (link,) = links([Source(settings, "w:device:m", "device", tuple(points), profile="meter")], Clock())
    device = link.devices["m"]
    if firmware is not None:
        says(link, firmware)
    return link, device


def says(link, firmware):
    device = link.devices["m"]
    block = next(block for block in device.blocks if block.points[0].name == "fw")
    device.answered(block, [(firmware, "good")])
    link._plan()


def refuse(link, device, address):
    """Refuse every block with this address, as the device would, until it stands alone."""
    while True:
        block = next(b for b in device.blocks if b.start <= address < b.start + b.count)
        if not device.refused(block):
            break
    link._plan()


def spans(link):
    return [poll.detail for poll in link.polls]


def test_pain_15_a_finding_is_known_after_a_restart_by_device_and_firmware(tmp_path):
    link, device = bus(firmware=7)
    lessons = Lessons(Baselines(tmp_path / "lessons.json", what="lessons"), [link])
    assert lessons.news() is None
    refuse(link, device, 2)
    wanted = ["fc3 50+1 unit 3", "fc3 0+2 unit 3", "fc3 3+3 unit 3", "fc3 2+1 unit 3"]
    assert spans(link) == wanted
    lessons.save(lessons.news())
    assert lessons.news() is None
    kept = json.loads((tmp_path / "lessons.json").read_text())["lessons"]
    assert kept == {"tcp://127.0.0.1:5020 unit 3 meter 7": {"illegal": [[0, 3, 2]], "cuts": []}}

    again, _ = bus()
    Lessons(Baselines(tmp_path / "lessons.json", what="lessons"), [again])
    assert spans(again) == ["fc3 50+1 unit 3", "fc3 0+6 unit 3"]  # who knows which firmware it is
    says(again, 7)
    assert spans(again) == wanted
    says(again, 8)
    assert spans(again) == ["fc3 50+1 unit 3", "fc3 0+6 unit 3"]
    says(again, 7)
    assert spans(again) == wanted


def test_what_is_kept_of_other_buses_stays_and_garbage_is_passed_over(tmp_path):
    file = Baselines(tmp_path / "lessons.json", what="lessons")
    key = "tcp://127.0.0.1:5020 unit 3 meter 7"
    file.save(json.dumps({"another": {"illegal": [], "cuts": []}, key: {"illegal": "x"}, key + "1": 7}))
    link, device = bus()
    lessons = Lessons(file, [link])
    says(link, 7)
    refuse(link, device, 0)
    assert json.loads(lessons.news()).keys() >= {"another", key}


def test_a_damaged_file_is_no_file(tmp_path):
    path = tmp_path / "lessons.json"
    for content in (b"", b"{}", b'{"v": 1, "crc32": "00000000", "lessons": {}}\n'):
        path.write_bytes(content)
        link, _ = bus()
        assert Lessons(Baselines(path, what="lessons"), [link]).news() is None
    Baselines(path).save("{}")  # baselines are no lessons
    file = Baselines(path, what="lessons")
    assert file.load() is None
    assert "wanted lessons" in file.fault
