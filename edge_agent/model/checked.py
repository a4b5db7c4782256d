"""From what a person wrote (parsed TOML) to typed nouns, listing every problem and not the first.

`check` walks the raw value beside the wanted type. Leaves are msgspec's business; what is added here is the
place of each problem, unknown keys with their close match, and quantities as people write them: durations
("500ms", "2s", "15m"), sizes ("256MiB") and names.
"""

import functools
import re
import types
import typing
from typing import Any, TypeVar

import msgspec

from edge_agent.model.errors import Problem, WireError
from edge_agent.model.layout import NAME_FORM, is_name

T = TypeVar("T")
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Seconds(float):
    """A duration in seconds, written "500ms", "2s", "15m", "1h" or "30d"."""


class Size(int):
    """A number of bytes, written "64KiB", "256MiB" or "1GiB"."""


class Hex(bytes):
    """Bytes, written in hex: "42 4D" or "424d"."""


class Name(str):
    """An identifier: it may go into a topic, a file name and a log line."""

    __slots__ = ()


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_B = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def seconds(text: object) -> Seconds | None:
    """Return the duration that `text` writes, or None."""
    amount = _quantity(text, _UNITS_S)
    return None if amount is None else Seconds(amount)


def size(text: object) -> Size | None:
    """Return the number of bytes that `text` writes, or None."""
    amount = _quantity(text, _UNITS_B)
    return None if amount is None else Size(amount)


def _hex(text: object) -> Hex | None:
    try:
        return Hex(bytes.fromhex(text)) if isinstance(text, str) else None
    except ValueError:
        return None


def _name(text: object) -> Name | None:
    # The type tells that it was checked; the value stays plain text, which every encoder knows.
    return typing.cast("Name", text) if isinstance(text, str) and is_name(text) else None


def _quantity(text: object, units: typing.Mapping[str, float]) -> float | None:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([A-Za-z]+)", text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


_SCALARS: dict[object, tuple[typing.Callable[[object], object], str]] = {
    Seconds: (seconds, 'a duration such as "500ms", "2s" or "15m"'),
    Size: (size, 'a size such as "64KiB" or "256MiB"'),
    Hex: (_hex, 'bytes in hex, such as "42 4D"'),
    Name: (_name, f"a name of the form {NAME_FORM}"),
}


_EMPTY: dict[str, object] = {}
"""Stands in all nouns that have nothing there, and is never changed: a thousand points would have two thousand."""


def shown(value: object) -> str:
    """Return a found value for an error text: short, quoted, without control characters."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a terminal line


def close_match(word: str, known: typing.Iterable[str]) -> str:
    """Return a hint naming the known word nearest to `word`, or an empty string."""
    import difflib  # a run with a sound configuration has nothing to guess

    near = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def check(raw: object, wanted: Any, place: str, problems: list[Problem]) -> Any:
    """Return `raw` as a `wanted`, or None after adding to `problems` all that is wrong with it.

    `place` names where `raw` stands, such as "agent.toml: ". Fields that pass are checked even
    when others fail, so that one run shows everything.
    """
    if wanted in _SCALARS:
        parse, words = _SCALARS[wanted]
        value = parse(raw)
        if value is None:
            problems.append(Problem(place, shown(raw), words))
        return value
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _check_union(raw, typing.get_args(wanted), place, problems)
    if origin is tuple:
        return _check_tuple(raw, wanted, place, problems)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _check_struct(raw, wanted, place, problems)
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        found = f"{shown(raw)} ({_kind(raw)})" if isinstance(raw, (str, int, float)) else _kind(raw)
        problems.append(Problem(place, found, _wanted_words(str(error), wanted)))
        return None


def _check_union(raw: object, options: tuple[Any, ...], place: str, problems: list[Problem]) -> object:
    structs = [o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)]
    tags = {o.__struct_config__.tag: o for o in structs if o.__struct_config__.tag is not None}
    if not tags and len(structs) > 1:
        return _check_told_apart(raw, structs, place, problems)
    if not tags:
        rest = [o for o in options if o is not types.NoneType]
        wanted = rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007 - built at run time
        return check(raw, wanted, place, problems) if len(rest) == 1 else _convert_any(raw, wanted, place, problems)
    if not isinstance(raw, dict):
        problems.append(Problem(place, _kind(raw), "a table"))
        return None
    field = structs[0].__struct_config__.tag_field or "type"
    tag = raw.get(field)
    if tag not in tags:
        known = ", ".join(f'"{t}"' for t in tags)
        found = "nothing" if tag is None else shown(tag)
        problems.append(Problem(_at(place, field), found, f"one of {known}", close_match(str(tag), map(str, tags))))
        return None
    return _check_struct({k: v for k, v in raw.items() if k != field}, tags[tag], place, problems)


def _check_told_apart(raw: object, structs: list[type[msgspec.Struct]], place: str, problems: list[Problem]) -> object:
    """Check a table that is one of several kinds, each of which requires a key that no other has."""
    fields = [{f.encode_name: f.required for f in msgspec.structs.fields(struct)} for struct in structs]
    own = [
        [key for key, required in mine.items() if required and not any(key in its for its in fields if its is not mine)]
        for mine in fields
    ]
    if not isinstance(raw, dict):
        problems.append(Problem(place, _kind(raw), "a table"))
        return None
    found = [struct for struct, keys in zip(structs, own, strict=True) if any(key in raw for key in keys)]
    if len(found) == 1:
        return _check_struct(raw, found[0], place, problems)
    telling = [key for keys in own for key in keys]
    said = " and ".join(f"`{key}`" for key in telling if key in raw) or "a table without any of them"
    problems.append(Problem(place, said, "one of the keys " + ", ".join(telling)))
    return None


def _convert_any(raw: object, wanted: Any, place: str, problems: list[Problem]) -> object:
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        problems.append(Problem(place, shown(raw), _wanted_words(str(error), wanted)))
        return None


def _check_tuple(raw: object, wanted: Any, place: str, problems: list[Problem]) -> object:
    item, *rest = typing.get_args(wanted)
    if not isinstance(raw, (list, tuple)):
        problems.append(Problem(place, _kind(raw), "a list"))
        return None
    if rest != [Ellipsis]:
        return _convert_any(raw, wanted, place, problems)
    return tuple(check(each, item, f"{place}{_label(each, i)}", problems) for i, each in enumerate(raw))


def _check_struct(raw: object, wanted: type[msgspec.Struct], place: str, problems: list[Problem]) -> object:
    if not isinstance(raw, dict):
        problems.append(Problem(place, _kind(raw), "a table"))
        return None
    before = len(problems)
    hints, fields = _shape(wanted)
    for key in raw.keys() - fields.keys():
        hint = close_match(str(key), fields)
        problems.append(Problem(_at(place, str(key)), "an unknown key", "one of " + ", ".join(sorted(fields)), hint))
    given: dict[str, object] = {}
    for key, field in fields.items():
        if key in raw:
            given[field.name] = check(raw[key], hints[field.name], _at(place, key), problems)
        elif field.default_factory is dict:
            given[field.name] = _EMPTY
        elif field.required:
            problems.append(Problem(_at(place, key), "nothing", f"a value; `{key}` is required"))
    return wanted(**given) if len(problems) == before else None


@functools.cache
def _shape(wanted: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, msgspec.structs.FieldInfo]]:
    """Return the types of a noun's fields by name, and the fields by key."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    return typing.get_type_hints(wanted, include_extras=True), fields


def _at(place: str, key: str) -> str:
    return place + key if place.endswith(": ") else f"{place}.{key}"


def _label(item: object, index: int) -> str:
    """Name an item of a list as its writer does: by its name when it has one."""
    named = isinstance(item, dict) and (item.get("name") or item.get("id"))
    return f".{named}" if isinstance(named, str) else f"[{index}]"


def _kind(raw: object) -> str:
    words = {
        dict: "a table",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
    }
    return words.get(type(raw), type(raw).__name__)


def _wanted_words(error: str, wanted: object) -> str:
    """Turn msgspec's English into ours; its own words stand where we have none."""
    if typing.get_origin(wanted) is typing.Literal:
        return "one of " + ", ".join(f'"{a}"' if isinstance(a, str) else str(a) for a in typing.get_args(wanted))
    words = {
        "`str`": "text", "`int`": "a whole number", "`float`": "a number", "`bool`": "true or false",
        "`array`": "a list", "`object`": "a table",
    }  # fmt: skip
    text = error.removeprefix("Expected ").split(", got")[0].split(" - at")[0]
    for theirs, ours in words.items():
        text = text.replace(theirs, ours)
    return text


def as_type(raw: object, wanted: type[T], what: str) -> T:
    """Return decoded wire data as a `wanted`; raises WireError, naming `what`, when it is not one."""
    try:
        # Without the second argument text would be taken for base64 where bytes are wanted.
        return msgspec.convert(raw, wanted, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise WireError(f"{what}: {error}") from error


def plain(noun: object) -> Any:
    """Return a noun as maps, lists and plain values: what JSON can hold."""
    return msgspec.to_builtins(noun, enc_hook=_simple)


def fields_of(noun: msgspec.Struct) -> dict[str, object]:
    """Return a noun's fields by key: one level of `plain`."""
    config = noun.__struct_config__
    tag = {} if config.tag is None else {str(config.tag_field): config.tag}
    names = zip(noun.__struct_encode_fields__, noun.__struct_fields__, strict=True)
    return tag | {key: getattr(noun, name) for key, name in names}


def _simple(value: object) -> float | int | str:
    """Return a duration, a size or a name as the plain number or text it is."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)  # msgspec's own word for it: a noun that is not plain is our bug


def changed(noun: Struct, **fields: object) -> Struct:
    """Return a noun with some of its fields replaced."""
    return msgspec.structs.replace(noun, **fields)
