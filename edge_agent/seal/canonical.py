"""One form of bytes for everything that is signed or digested (reference/formats.md §1).

`pack` sorts maps and lists; tuples are taken as they are: they stand for rows whose parts are plain values,
which keeps the sorting off the hot path. `unpack` decodes hostile bytes: bounded, strict, canonical or refused.
"""

import math
from typing import Any

import msgpack

from edge_agent.model.errors import WireError

MAX_DEPTH = 32
MAX_BYTES = 64 * 1024 * 1024
"""More than any record or snapshot of this agent: 10 000 variables take under 2 MiB."""


_AS_THEY_ARE = frozenset({int, str, bytes, bool, type(None), tuple})
"""Most of what is packed."""


def pack(value: Any) -> bytes:
    """Return the canonical bytes of `value`: maps, lists, tuples, text, bytes, int, float, bool, None.

    Raises ValueError for a number that is not finite (our own values are checked when they enter).
    """
    data: bytes = msgpack.packb(_ordered(value), use_bin_type=True)
    return data


def map_head(size: int) -> bytes:
    """Return the bytes that stand before the keys and values of a map, which follow in the order that `pack` has."""
    data: bytes = msgpack.Packer().pack_map_header(size)
    return data


def list_head(size: int) -> bytes:
    """Return the bytes that stand before the items of a list."""
    data: bytes = msgpack.Packer().pack_array_header(size)
    return data


def unpack(data: bytes, max_bytes: int = MAX_BYTES) -> Any:
    """Return what canonical bytes mean, with arrays as lists.

    Raises WireError when they are too long, malformed, or not in canonical form.
    """
    if len(data) > max_bytes:
        raise WireError(f"canonical bytes: got {len(data)} bytes, wanted at most {max_bytes}")
    try:
        value = msgpack.unpackb(data, strict_map_key=False, raw=False, object_pairs_hook=_map, ext_hook=_no_extension)
        same = pack(value) == data
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"canonical bytes: got malformed ones: {error}") from error
    if not same:
        raise WireError("canonical bytes: got another form of the same value, wanted the canonical one")
    return value


def split(data: bytes, max_items: int = 100_000) -> list[bytes]:
    """Return the values that stand back to back in `data`, each as its own bytes, not yet checked.

    Raises WireError when the last one is cut short or there are more than `max_items`.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), strict_map_key=False, raw=False)
    unpacker.feed(data)
    parts: list[bytes] = []
    start = 0
    while start < len(data):
        try:
            unpacker.skip()
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise WireError(f"canonical bytes: got {len(data) - start} bytes that are no whole value") from error
        end = unpacker.tell()
        parts.append(data[start:end])
        start = end
        if len(parts) > max_items:
            raise WireError(f"canonical bytes: got more than {max_items} values in one message")
    return parts


def _ordered(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels deep")
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, dict):
        keys = (
            sorted(value, key=lambda k: k.encode()) if value and isinstance(next(iter(value)), str) else sorted(value)
        )
        return {key: _ordered(value[key], depth + 1) for key in keys}
    if isinstance(value, list):
        return [_ordered(each, depth + 1) for each in value]
    if isinstance(value, msgpack.Timestamp):  # the one extension type that the library decodes by itself
        raise TypeError("a timestamp")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number that is not finite: {value}")
    return value


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice in one map")
    if len({type(key) for key in found}) > 1 or any(not isinstance(key, (str, int)) for key in found):
        raise ValueError("keys of one map must be all text or all integers")
    return found


def _no_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")
