"""drift: what is usual, why it alarms or not, and the picture, on any terminal and in a pipe."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from folders import story
from PIL import Image

from edge_agent.cli.chart import ASCII, UNICODE, chart
from edge_agent.cli.main import main
from edge_agent.cli.png import _dashes, _font, _wrapped, png
from edge_agent.config import load
from edge_agent.judge.baseline import Baseline
from edge_agent.judge.charts import charts_of
from edge_agent.judge.detectors.shift import KS
from edge_agent.judge.expected import Expected
from edge_agent.judge.hindsight import MOST, Seen, look_back
from edge_agent.judge.watch import Watch

COMMAND = [sys.executable, "-m", "edge_agent.cli"]
BASE = Baseline(50.0, 0.0, 1.0, 0.01, 500)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    return folder / "agent.toml", story(folder)


def drift(*words, **env):
    return subprocess.run([*COMMAND, "drift", *map(str, words)], capture_output=True, timeout=60, env=os.environ | env)


def on_terminal(columns, *words, **env):
    """Return what a command prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    started = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=slave, stderr=slave, env=plain | {"TERM": "xterm"} | env
    )
    os.close(slave)
    told = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so when the last writer has gone
            break
        if not part:
            break
        told += part
    os.close(master)
    assert started.wait(60) == 0
    return told.decode()


def test_the_picture_and_the_reason_of_an_alarm(gateway):
    told = drift(gateway[0], "meter.volts").stdout.decode()
    assert "meter.volts: ALARM" in told
    assert "usual: 230" in told
    assert "comes by chance once in" in told
    assert UNICODE.value in told
    assert "\033" not in told
    rare = [line for line in told.splitlines() if UNICODE.rare in line]
    assert any(line.lstrip().startswith("alarm") for line in rare), "the bar is passed in the picture"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(gateway, columns):
    told = on_terminal(columns, "drift", gateway[0], "meter.volts")
    bare = re.sub(r"\033\[[0-9;]*m", "", told).replace("\r", "")
    assert max(map(len, bare.splitlines())) <= columns
    assert "\033[31m" in told


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(gateway, env):
    assert "\033" not in on_terminal(80, "drift", gateway[0], "meter.volts", **env)


def test_a_terminal_that_knows_ascii_alone_gets_a_picture_in_ascii(gateway):
    done = drift(gateway[0], "meter.volts", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert ASCII.value in done.stdout.decode()


def test_json_says_the_same_to_a_program_and_html_is_a_page_with_the_picture(gateway, tmp_path, capsys):
    assert main(["drift", str(gateway[0]), "meter.volts", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "ALARM"
    assert found["baseline"]["mean"] == pytest.approx(230, abs=1)
    assert main(["drift", str(gateway[0]), "meter.volts", "--html", str(tmp_path / "volts.html")]) == 0
    page = (tmp_path / "volts.html").read_text()
    assert page.startswith("<!doctype html>")
    assert 'class="bar"' in page
    assert found["why"][0].split(" since")[0] in page


def colours(painted):
    return {colour for count, colour in painted.convert("RGB").getcolors(1 << 20) if count > 20}


def near(colour, others):
    return any(max(abs(a - b) for a, b in zip(colour, other, strict=True)) < 24 for other in others)


@pytest.mark.parametrize("has_letters", [True, False])
def test_png_is_the_picture_and_the_words(gateway, tmp_path, monkeypatch, has_letters):
    if not has_letters:
        monkeypatch.setattr("edge_agent.cli.png.LETTERS", "no-such-letters.ttf")
    assert main(["drift", str(gateway[0]), "meter.volts", "--png", str(tmp_path / "volts.png")]) == 0
    with Image.open(tmp_path / "volts.png") as painted:
        assert painted.format == "PNG"
        width, height = painted.size
        assert width == 1272
        found = colours(painted)
        assert near((11, 98, 196), found), "the value"
        assert near((179, 38, 30), found), "the alarm's bar"
        words = painted.convert("RGB").crop((0, height * 2 // 3, width, height))
        assert near((26, 29, 33), colours(words)), "what it means"


def test_png_wants_one_variable(gateway, capsys):
    assert main(["drift", str(gateway[0]), "--png", "all.png"]) == 1
    assert "--html draws them all" in capsys.readouterr().err


def test_one_form_at_a_time_and_none_is_passed_over(gateway, capsys):
    with pytest.raises(SystemExit) as left:
        main(["drift", str(gateway[0]), "meter.volts", "--png", "a.png", "--html", "a.html"])
    assert left.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_words_of_any_length_stay_within_a_png():
    font = _font(12)
    lines = list(_wrapped("a " + "x" * 300 + " end", font, 400.0))
    assert "".join(lines).replace(" ", "") == "a" + "x" * 300 + "end"
    assert max(map(font.getlength, lines)) <= 400.0


def test_a_name_that_is_markup_and_one_without_a_picture_are_words_in_a_png():
    with Image.open(io.BytesIO(png("<b>&\u03c3", None, ["a \u00b1 <i>", "word " * 40]))) as painted:
        painted.load()
        assert near((26, 29, 33), colours(painted))
    assert list(_dashes([(0.0, 0.0), (10.0, 0.0)], 4.0, 3.0)) == [[(0.0, 0.0), (4.0, 0.0)], [(7.0, 0.0), (10.0, 0.0)]]
    corner = list(_dashes([(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], 4.0, 3.0))
    assert corner == [[(0.0, 0.0), (4.0, 0.0)], [(5.0, 2.0), (5.0, 5.0)]]


def test_a_variable_that_is_not_watched_is_said_with_the_close_match(gateway, capsys):
    assert main(["drift", str(gateway[0]), "meter.volt"]) == 1
    assert 'did you mean "meter.volts"?' in capsys.readouterr().err


def look(changes, until_s):
    return look_back(
        Expected(BASE, None, 1000.0), BASE, charts_of(KS, 6.0), [(s * 1000, v) for s, v in changes], until_s * 1000
    )


def test_looking_back_holds_what_was_not_sent_again_and_leaves_out_what_was_not_good():
    seen = look([(0, 50.0), (10, 51.0), (20, None), (30, 0.0)], 39)
    assert [s.at_ms for s in seen] == [1000 * s for s in (*range(20), *range(30, 40))]
    assert [s.value for s in seen] == [50.0] * 10 + [51.0] * 10 + [0.0] * 10
    assert look([], 10) == []
    assert look([(0, None)], 10) == []


def test_looking_back_finds_a_level_usual_or_rare_and_is_bounded():
    quiet, gone = look([(0, 50.0)], 600), look([(0, 50.0), (300, 53.0)], 600)
    assert max(s.decades for s in quiet) < 6.0 < max(s.decades for s in gone)
    assert max(s.decades for s in gone if s.at_ms < 300_000) < 6.0
    assert len(look([(0, 50.0)], 10 * MOST)) == MOST


def test_looking_back_teaches_the_statistics_nothing(gateway):
    path, bench = gateway
    watch = Watch(bench.site.settings.drift, bench.standing.world, load(path), bench.ground.watch.to_state())
    before = json.dumps(watch.to_state())
    now_ms = bench.standing.world.at_ms
    for monitor in watch.monitors.values():
        monitor.hindsight([(now_ms - 60_000, 230.0), (now_ms - 30_000, 300.0)], now_ms)
    assert json.dumps(watch.to_state()) == before


def test_one_reading_and_a_constant_are_drawn(gateway):
    found = gateway[1].ground.watch.insights()[0]
    for seen in ([Seen(0, 230.0, 230.0, 0.0)], [Seen(s * 1000, 0.0, 230.0, 99.0) for s in range(9)]):
        assert list(chart(found, seen, 40, UNICODE, colour=False))
