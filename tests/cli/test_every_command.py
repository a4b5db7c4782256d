"""Every command at once: help, completion, errors, filters, and terminals that are small, plain or gone."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from folders import story
from test_drift import on_terminal

from edge_agent.cli import mirror
from edge_agent.cli.completion import parsers
from edge_agent.cli.main import COMMANDS, NEXT, main, whole_parser
from edge_agent.cli.mirror import in_words
from edge_agent.model.errors import EdgeAgentError
from edge_agent.model.world import Entity, Variable, replace_world
from edge_agent.twin.baseline import empty_world
from edge_agent.uplink.follower import EntityChange, changes_between

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "edge_agent.cli"]
EVERY = dict(parsers(whole_parser()))
READERS = [
    ["twin"], ["twin", "--json"], ["events"], ["events", "--json"], ["findings"], ["drift"], ["drift", "--json"], ["report"],
    ["log", "show"], ["log", "export"], ["log", "verify"], ["snapshots", "list"], ["check"],
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    return folder / "agent.toml", story(folder)


def out(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def objects(capsys, *words):
    return [json.loads(line) for line in out(capsys, *words, "--json").splitlines()]


def test_every_command_is_there():
    assert {f"edge-agent {name}" for name in COMMANDS} <= set(EVERY)
    assert len(EVERY) > len(COMMANDS) + 10, "verbs too"


@pytest.mark.parametrize("columns", [40, 80])
def test_help_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for path, parser in EVERY.items():
        told, _, examples = parser.format_help().partition("example:")
        wide = [line for line in told.splitlines() if len(line) > columns and not line.startswith("    ")]
        assert [line for line in wide if " " in line.strip()] == [], path
        assert examples


@pytest.mark.parametrize("path", sorted(EVERY))
def test_every_help_of_a_command_and_of_a_verb_has_an_example_of_it(path):
    told = EVERY[path].format_help()
    head, _, example = told.partition("example:")
    assert head
    assert " ".join(path.split()[:2]) in example


def test_every_example_is_understood_as_it_stands():
    parser, seen = whole_parser(), set()
    for each in EVERY.values():
        for line in (each.epilog or "").removeprefix("example:").splitlines():
            for part in line.split("|"):
                words = shlex.split(part.partition(" > ")[0].partition(" < ")[0])
                if words[:1] == ["edge-agent"]:
                    seen.add(parser.parse_args(words[1:]).command)
    assert seen == set(COMMANDS)


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "reference").rglob("*.md"))]
TO_PASTE, IN_TEXT = (
    r"^    (?:.*&& )?(?:sudo (?:-u [\w-]+ )?)?(edge-agent .*)$",
    r"`(?:sudo )?(edge-agent [a-z][^`\n]*)`",
)


@pytest.mark.parametrize(("form", "whole", "least"), [(TO_PASTE, True, 30), (IN_TEXT, False, 12)])
def test_every_command_on_a_page_is_one(capsys, form, whole, least):
    """In running text it may be without its arguments; one to paste is whole."""
    parser, wrong, seen = whole_parser(), [], 0
    for page in PAGES:
        for line in re.findall(form, page.read_text(), re.MULTILINE):
            words = shlex.split(re.split(r" [#|<>] ?| && | …|\)$", line)[0])
            seen += 1
            try:
                parser.parse_args(words[1:])
            except SystemExit:
                told = capsys.readouterr().err
                if whole or not re.search("required|expected one argument", told):
                    wrong.append((page.name, line, told))
    assert wrong == []
    assert seen > least


def test_the_exit_codes_are_those_of_the_manual(gateway, tmp_path, capsys):
    config = str(gateway[0])
    bad = tmp_path / "agent.toml"
    bad.write_text(gateway[0].read_text() + "[nonsense]\n")
    damaged = tmp_path / "data"
    shutil.copytree(gateway[0].parent / "data", damaged)
    segment = min((damaged / "log").glob("*.seg"))
    content = bytearray(segment.read_bytes())
    content[300] ^= 1
    segment.write_bytes(content)
    table = [
        (0, ["--version"]), (0, ["check", "--help"]), (0, ["check", config]), (0, ["log", "verify", config]),
        (0, ["findings", config]), (0, ["events", config, "--entity", "nobody"]),
        (1, ["check", str(bad)]), (1, ["twin", str(bad)]), (1, ["status", config]), (1, ["log", "verify", str(damaged)]),
        (1, ["snapshots", "show", config, "7"]), (1, ["drift", config, "nothing"]), (1, ["run", str(bad)]),
        (2, []), (2, ["nonsense"]), (2, ["log"]), (2, ["check"]), (2, ["twin", config, "--quality", "best"]),
        (74, ["log", "verify", str(tmp_path)]), (74, ["report", config, "-o", "/dev/null/page.html"]),
    ]  # fmt: skip
    for wanted, words in table:
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
        assert code == wanted, words
        assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(("words", "code"), [(["log", "show"], 130), (["status"], 0)])
def test_ctrl_c_ends_what_goes_on_for_ever_without_a_word(gateway, words, code):
    flag = {"log": "--follow", "status": "--watch"}[words[0]]
    command = [*COMMAND, *words, str(gateway[0]), flag]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (code, "")


def test_completion_in_bash_offers_what_the_parser_takes(tmp_path):
    script = tmp_path / "completion"
    script.write_bytes(subprocess.run([*COMMAND, "completion", "bash"], capture_output=True, check=True).stdout)
    asks, wanted = [f"source {script}"], []
    for path, parser in EVERY.items():
        words = path.split()
        options = {option for action in parser._actions for option in action.option_strings}
        asks.append(f"COMP_WORDS=({path} -); COMP_CWORD={len(words)}; _edge_agent; echo ${{COMPREPLY[@]}}")
        wanted.append(options)
    asks.append("COMP_WORDS=(edge-agent s); COMP_CWORD=1; _edge_agent; echo ${COMPREPLY[@]}")
    wanted.append({name for name in COMMANDS if name.startswith("s")})
    asks.append(
        'COMP_WORDS=(edge-agent log show agent.toml --kind start v); COMP_CWORD=6; _edge_agent; echo "${COMPREPLY[@]}"'
    )
    wanted.append(set())
    asks.append(
        'COMP_WORDS=(edge-agent events agent.toml --severity ""); COMP_CWORD=4; _edge_agent; echo ${COMPREPLY[@]}'
    )
    wanted.append({"info", "warn", "error", "critical"})
    done = subprocess.run(["bash", "-c", "\n".join(asks)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert [set(line.split()) for line in done.stdout.split("\n")[:-1]] == wanted


@pytest.fixture(scope="module")
def scripts(tmp_path_factory, gateway):
    """The script of each shell, and a PATH on which these commands are."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([*COMMAND, "completion", shell], capture_output=True, check=True).stdout
        (folder / shell).write_bytes(script)
    (folder / "edge-agent").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (folder / "edge-agent").chmod(0o755)
    (folder / "agent.toml").symlink_to(gateway[0])
    return folder


LINES = [
    ("log sh", {"show"}),
    ("twin agent.toml --quality ", {"good", "uncertain", "bad"}),
    ("twin agent.toml --variable meter.v", {"meter.volts"}),
    ("drift agent.toml meter.v", {"meter.volts"}),
    ("events agent.toml --entity me", {"meter"}),
    ("log show agent.toml --kind start --jso", {"--json"}),
    ("events nowhere.toml --entity me", set()),
]
ASKED = {
    "bash": 'source {0}/bash; COMP_WORDS=({1}{2}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _edge_agent; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": 'autoload -U compinit && compinit -u -D; source {0}/zsh; setopt ksharrays; COMP_WORDS=({1}{2}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _edge_agent; print -rl -- "${{COMPREPLY[@]}}"',
    "fish": 'source {0}/fish; complete -C "{1}" | string replace -r "\\t.*" ""',
}


@pytest.mark.parametrize("shell", ASKED)
def test_completion_works_in_the_shell_itself_and_knows_the_names_of_a_configuration(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here (apt-get install {shell})")
    env = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(scripts)}
    for line, wanted in LINES:
        text = ASKED[shell].format(scripts, f"edge-agent {line}", '""' if line.endswith(" ") else "")
        flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        done = subprocess.run(
            [shell, *flags, "-c", text], capture_output=True, text=True, timeout=120, cwd=scripts, env=env
        )
        begun = line.rpartition(" ")[2]  # zsh leaves it to itself to compare
        assert ({each for each in done.stdout.split() if each.startswith(begun)}, done.stderr) == (wanted, ""), line


def test_the_twin_is_filtered_by_entity_name_and_quality(gateway, capsys):
    config, bench = gateway
    whole = objects(capsys, "twin", config)[0]
    assert {each["name"] for each in whole["state_variables"]} >= {
        v.name for v in bench.standing.world.variables.values()
    }
    assert [each["variable"] for each in objects(capsys, "twin", config, "--variable", "meter.[vr]*")] == [
        "meter.volts",
        "meter.relay",
    ]
    (found,) = objects(capsys, "twin", config, "--variable", "meter.next")
    assert (found["value"], found["quality"]) == (False, "good")
    assert objects(capsys, "twin", config, "--entity", "meter", "--quality", "uncertain") == []
    assert objects(capsys, "twin", config, "--entity", "pump") == []
    assert "meter.volts" in out(capsys, "twin", config, "--quality", "good")
    assert "no variable is like that" in out(capsys, "twin", config, "--entity", "pump")


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        (["--type", "finding.*"], lambda e: e["event_type"].startswith("finding.")),
        (["--type", "audit.action", "--type", "audit.approval"], lambda e: e["event_type"] in ("audit.action", "audit.approval")),
        (["--severity", "error"], lambda e: e["severity"] in ("error", "critical")),
        (["--variable", "meter.relay"], lambda e: e["canonical"].get("variable") == "relay"),
        (["--entity", "meter", "--type", "audit.transition"], lambda e: e["canonical"]["facts"]["entity"] == "w:device:meter"),
        (["--since", "2023-11-14T22:14:20"], lambda e: e["timestamp"] >= "2023-11-14T22:14:20.000Z"),
        (["--until", "2023-11-14T22:13:25Z"], lambda e: e["timestamp"] <= "2023-11-14T22:13:25.000Z"),
    ],
)  # fmt: skip
def test_events_are_filtered_and_nothing_that_passes_is_missing(gateway, capsys, filters, holds):
    every = objects(capsys, "events", gateway[0])
    found = objects(capsys, "events", gateway[0], *filters)
    assert found
    assert len(found) < len(every)
    assert all(map(holds, found))
    if "--entity" not in filters:
        assert found == [event for event in every if holds(event)]
    assert objects(capsys, "events", gateway[0], *filters, "--newest", "1") == found[-1:]
    assert len(out(capsys, "events", gateway[0], *filters).splitlines()) == len(found)


@pytest.mark.parametrize("columns", [40, 20])
@pytest.mark.parametrize("words", [["twin"], ["events", "--newest", "9"], ["drift"], ["check"], ["findings"]])
def test_forty_columns_are_enough_and_twenty_do_and_no_colour_is_none(gateway, words, columns):
    told = on_terminal(columns, words[0], gateway[0], *words[1:], NO_COLOR="1").replace("\r", "")
    assert "\033" not in told
    wide = [line for line in told.splitlines() if len(line) > columns]
    assert [line for line in wide if " " in line.strip()] == [], "but for a word that is longer"


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_without_a_word(gateway, words):
    at = [*words[:2], gateway[0]] if words[0] in ("log", "snapshots") else [words[0], gateway[0], *words[1:]]
    gone, ours = os.pipe()
    os.close(gone)
    done = subprocess.run([*COMMAND, *map(str, at)], stdout=ours, stderr=subprocess.PIPE, timeout=60)
    os.close(ours)
    assert done.stderr == b""
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["status"], ["twin", "--json"], ["report"], ["drift"], ["check"]], ids=" ".join)
def test_an_output_that_is_full_or_closed_is_said_in_a_line(gateway, words):
    command = [*COMMAND, words[0], str(gateway[0]), *words[1:]]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "standard output: No space left on device\nnext: " in done.stderr
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "-", *command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize(
    "words", [["twin", "--json"], ["events", "--json"], ["drift", "--json"], ["report"], ["profiles", "new", "modbus", "x"]], ids=" ".join
)  # fmt: skip
def test_what_goes_into_a_file_is_utf_8_whatever_the_terminal_speaks(gateway, words):
    at = words if words[0] == "profiles" else [words[0], str(gateway[0]), *words[1:]]
    plain = subprocess.run([*COMMAND, *at], capture_output=True, check=True, timeout=60).stdout
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    posix = subprocess.run([*COMMAND, *at], capture_output=True, check=True, timeout=60, env=env).stdout
    assert not posix.isascii()
    assert re.sub(rb"Made [\dTZ:-]+", b"", posix) == re.sub(rb"Made [\dTZ:-]+", b"", plain)


def test_a_good_file_is_checked_quietly_for_the_journal(gateway, capsys):
    assert out(capsys, "check", gateway[0], "--quiet") == ""
    assert "variables" in out(capsys, "check", gateway[0])


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["chek"], 2, "next: edge-agent --help"),
        (["log", "show"], 2, "next: edge-agent log show --help"),
        (["twin", "x.toml", "--jsn"], 2, "next: edge-agent twin --help"),
        (["events", "x.toml", "--since", "soon"], 2, "wanted a time such as"),
        (["log", "show", "/nowhere"], 74, "next: see that it is there"),
        (["report", "/nowhere"], 74, "next: see that it is there"),
        (["check", "/nowhere/agent.toml"], 1, "agent.toml"),
    ],
)
def test_an_error_ends_with_what_to_do_next(capsys, words, code, hint):
    try:
        found = main(words)
    except SystemExit as ended:
        found = ended.code
    told = capsys.readouterr()
    assert found == code
    assert hint in told.err + told.out


def test_a_finding_that_is_not_open_cannot_be_known(gateway, capsys):
    assert main(["findings", str(gateway[0]), "--ack", "meter.volts/spik"]) == 1
    assert capsys.readouterr().err == (
        '--ack: got "meter.volts/spik", wanted a finding that is open (did you mean "meter.volts/spike"?)\n'
    )


def test_what_a_mirror_prints_is_for_people_and_one_line_whatever_a_device_said():
    world = empty_world("w")
    meter = Entity("w:device:meter", "device", attributes={"serial": "\x1b[2Jx\n\x9b31m"}, state="on")
    volts = Variable(1, meter.id, "volts", "V", "gauge", "meter")
    changes = changes_between(world, replace_world(world, entities={meter.id: meter}, variables={1: volts}))
    told = [in_words(change).strip() for change in changes]
    assert r"0 w:device:meter: state on, serial \x1b[2Jx\n\x9b31m" in told
    assert "0 meter.volts is variable 1: gauge, V, from meter" in told
    gone = [
        in_words(change).strip() for change in changes_between(replace_world(world, entities={meter.id: meter}), world)
    ]
    assert gone == ["0 w:device:meter is gone"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["events", "{at}", "--newest", "-3"], "got '-3', wanted a whole number from 0\nnext: edge-agent events --help"),
        (["report", "{at}", "--records", "many"], "got 'many', wanted a whole number from 0"),
        (["events", "{at}", "--entity", "nobody"], "no event is like that"),
        (["log", "show", "{at}", "--kind", "nothing"], "no record says anything like that"),
        (["snapshots", "show", "{at}", "5"], "(edge-agent snapshots list WHERE tells of each)"),
        (["probe", "nonsense", "--profile", "xy-md02"], "next: edge-agent probe --help has an example"),
        (["profiles", "new", "modbus", "A B"], "next: edge-agent profiles --help has an example"),
        (["probe", "tcp://127.0.0.1:1", "--profile", "xy-md02"], "cannot connect: Connection refused\nnext: see that it is on"),
        (["log", "verify", "{at}", "--key", "/dev/null"], "(a gateway's is its agent.pub, one's own ends in .pub)"),
        (
            ["approve", "1", "--key", "/etc/hostname", "--url", "mqtt://127.0.0.1", "--world", "w", "--gateway", "{data}/keys/agent.pub"],
            "/etc/hostname: private key: wanted an OpenSSH ed25519 key",
        ),
    ],
)  # fmt: skip
def test_a_next_step_fits_what_was_done(gateway, capsys, words, told):
    places = {"at": gateway[0], "data": gateway[0].parent / "data"}
    with contextlib.suppress(SystemExit):
        main([word.format(**places) for word in words])
    assert told in capsys.readouterr().err


class Silent:
    """A gateway that says nothing, and then something."""

    def __init__(self, quiet_s):
        self.quiet_s, self.waiting = quiet_s, ()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def __aiter__(self):
        yield EntityChange("w:device:meter", None, 1)
        await asyncio.sleep(self.quiet_s)
        yield EntityChange("w:device:pump", None, 2)


@pytest.mark.parametrize(("first_s", "quiet_s"), [(0.3, 0.05), (0.0, 1.0)])
def test_a_mirror_that_hears_nothing_says_so_once_and_one_that_hears_does_not(monkeypatch, capsys, first_s, quiet_s):
    class Late(Silent):
        async def __aenter__(self):
            await asyncio.sleep(first_s)
            return self

    monkeypatch.setattr(mirror, "QUIET_S", quiet_s)
    asyncio.run(mirror._follow(Late(1.5 * quiet_s), as_json=False))
    told = capsys.readouterr()
    assert told.out.count("is gone") == 2
    assert told.err.count("is --world its name") == (1 if first_s else 0)


def test_there_is_a_next_step_for_every_kind_of_error():
    assert {kind for kind, _ in NEXT} == set(EdgeAgentError.__subclasses__())
    assert all(re.search(r"edge-agent \w+", words) for _, words in NEXT)


def test_a_library_of_an_extra_that_is_not_installed_is_named_and_nothing_else_needs_it(monkeypatch, capsys):
    ours = {"edge_agent.cli.demo", "edge_agent.cli.screen", "rich"}
    for name in [name for name in sys.modules if name in ours or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["demo"]) == 1
    assert "next: pip install" in capsys.readouterr().err
    assert set(dict(parsers(whole_parser()))) >= {"edge-agent status", "edge-agent report", "edge-agent drift"}
