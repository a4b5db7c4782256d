"""`profiles list`, `profiles show`, `profiles check` and `profiles new`: the library of devices, and how to add one.

A device is one file. `new` writes a commented skeleton; fill in what stands between < and >, from the maker's
document; `check` says what is wrong with it, to the last example; `probe` reads the device with it once. In agent.toml
a profile beside it is named by its path: `profile = "my-meter.toml"`.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.cli.skeletons import SKELETONS
from edge_agent.cli.tables import print_table
from edge_agent.cli.watch import fitted
from edge_agent.config import load_profile, profile_names
from edge_agent.model.checked import plain, shown
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.layout import NAME_FORM, is_name
from edge_agent.model.profile import (
    FieldPoint,
    FramePoint,
    ModbusProfile,
    ObisPoint,
    PathPoint,
    Point,
    Profile,
    RegisterPoint,
    SentencePoint,
)
from edge_agent.twin.conformance import flaws

EXAMPLE = """edge-agent profiles list
  edge-agent profiles show eastron-sdm630
  edge-agent profiles new modbus my-meter > my-meter.toml
  edge-agent profiles check my-meter.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `profiles` takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="list | show | check | new", required=True)
    every = verbs.add_parser("list", help="list the devices that came with the agent")
    show = verbs.add_parser("show", help="print a profile: its points, and where its facts come from")
    show.add_argument("profile", help="its name, or the path of one that ends in .toml")
    check = verbs.add_parser("check", help="say what is wrong with profiles; 1 when something is")
    check.add_argument("files", nargs="+", help="paths, or names of profiles that came with the agent")
    new = verbs.add_parser("new", help="print a commented skeleton")
    new.add_argument("protocol", choices=sorted(SKELETONS), help="what the device speaks")
    new.add_argument("name", help="of the profile, such as vendor-model; its file is called so too")
    for verb in (every, show, check):
        verb.add_argument("--json", action="store_true", help="print JSON")
    for verb in (every, show, check, new):
        verb.epilog = f"example:\n  {EXAMPLE}"
        verb.formatter_class = argparse.RawDescriptionHelpFormatter


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    if args.verb == "list":
        return _list(as_json=args.json)
    if args.verb == "show":
        return _show(load_profile(args.profile), as_json=args.json)
    if args.verb == "check":
        return _check(args.files, as_json=args.json)
    return _new(args.protocol, args.name)


def _list(*, as_json: bool) -> int:
    found = [load_profile(name) for name in profile_names()]
    rows = [
        {
            "name": profile.name,
            "title": profile.title,
            "protocol": _protocol(profile),
            "points": len(profile.points),
            "writable": sum(_is_writable(point) for point in profile.points),
            "verified": profile.provenance.verified,
        }
        for profile in found
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        print_table(
            ("name", "protocol", "points", "writable", "facts", "title"),
            [
                (
                    r["name"], r["protocol"], r["points"], r["writable"] or "",
                    "verified" if r["verified"] else "excerpt", r["title"],
                )
                for r in rows
            ],
        )  # fmt: skip
    return 0


def _show(profile: Profile, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(plain(profile), ensure_ascii=False))
        return 0
    print("\n".join(fitted(_told(profile))), end="\n\n")
    print_table(("point", "unit", "kind", "where", "write"), [_row(point) for point in profile.points])
    return 0


def _told(profile: Profile) -> Iterator[str]:
    provenance = profile.provenance
    sure = "verified" if provenance.verified else "seen in excerpts only: nothing of it can be written"
    yield f"{profile.name}: {profile.title}"
    yield f"{_protocol(profile)}, entity type {profile.entity_type}"
    yield f"facts: {provenance.source} ({provenance.date}; {sure})"
    for expected in profile.identity.expect:
        wanted = " or ".join(map(shown, expected.any_of)) or f"a text that begins with {shown(expected.begins_with)}"
        yield f"it is this device when {expected.point} is {wanted}"
    if profile.identity.firmware is not None:
        firmware = profile.identity.firmware
        yield f"written for {firmware.point} {firmware.first} to {firmware.last}; of others values are uncertain"
    if isinstance(profile, ModbusProfile):
        limits = profile.limits
        yield f"at most {limits.max_registers} registers a read, over gaps of up to {limits.max_gap}"
        yield from (f"never touched: {low} to {high} (0x{low:04X} to 0x{high:04X})" for low, high in limits.forbidden)


def _row(point: Point) -> tuple[object, ...]:
    rule = point.write if isinstance(point, RegisterPoint) else None
    write = "" if rule is None else f"{rule.range[0]:g} to {rule.range[1]:g}"
    return point.name, point.unit or "", point.identity or point.kind, _where(point), write


def _where(point: Point) -> str:
    """Say where a point stands, in the words of its protocol."""
    if isinstance(point, RegisterPoint):
        model = "" if point.model is None else f"model {point.model} "
        order = "" if point.order == "ABCD" else f" {point.order}"
        scale = "" if point.scale == 1 else f" x {point.scale:g}"
        return f"fc{point.function} {model}{point.address} (0x{point.address:04X}) {point.type}{order}{scale}"
    if isinstance(point, FieldPoint):
        return f"{point.field},{point.index}"
    if isinstance(point, FramePoint):
        return f"byte {point.at} {point.type}"
    if isinstance(point, SentencePoint):
        return f"{point.sentence} {point.says}"
    if isinstance(point, ObisPoint):
        return point.obis
    assert isinstance(point, PathPoint)
    return f"{point.path} on {point.topic}" if point.topic is not None else point.path


def _check(files: list[str], *, as_json: bool) -> int:
    problems = [problem for file in files for problem in _problems(file)]
    if as_json:
        print(json.dumps({"ok": not problems, "problems": [plain(problem) for problem in problems]}))
    elif problems:
        print("\n".join(map(str, problems)))
    else:
        print("\n".join(f"{file}: sound" for file in files))
    return 1 if problems else 0


def _problems(file: str) -> list[Problem]:
    """Return what is wrong with one profile; what stands in < and > is still to be filled in."""
    try:
        profile = load_profile(file)
    except ConfigError as error:
        return error.problems
    found = [Problem(f"{file}: {p.place}", p.got, p.wanted, p.hint) for p in flaws(profile)]
    if file.endswith(".toml"):
        left = _unfilled(tomllib.loads(Path(file).read_text(encoding="utf-8-sig")))
        found += [
            Problem(f"{file}: {text}", "a place that is not filled in", "what the device's document says")
            for text in left
        ]
        if profile.name != Path(file).stem:
            found.append(Problem(f"{file}: name", shown(profile.name), f"{shown(Path(file).stem)}, as the file"))
    return found


def _unfilled(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _unfilled(each)]
    if isinstance(value, list):
        return [text for each in value for text in _unfilled(each)]
    return [value] if isinstance(value, str) and value.startswith("<") and value.endswith(">") else []


def _new(protocol: str, name: str) -> int:
    if not is_name(name):
        raise ConfigError([Problem("NAME", shown(name), f"a name of the form {NAME_FORM}")])
    sys.stdout.write(SKELETONS[protocol].replace("@NAME@", name))
    return 0


def _protocol(profile: Profile) -> str:
    return str(type(profile).__struct_config__.tag)


def _is_writable(point: Point) -> bool:
    return isinstance(point, RegisterPoint) and point.write is not None
