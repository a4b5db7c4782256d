"""What is another in a changed agent.toml, and what of it a running agent cannot take up. Pure.

A source is as it was when all of it is: its settings, its profile worked in, and what the files that it names hold.
Secrets are compared by digest and told by the name of their key alone.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from edge_agent.model.checked import shown
from edge_agent.model.errors import Problem
from edge_agent.model.site import FILES, BufferSettings, Settings, Site, Source

RESTART = "needs a restart: systemctl restart edge-agent"
PROFILE = "profile"
Files = Mapping[str, str]
"""Digests of what is in files that the configuration names, by the key that names them: see `named_files`."""


class Configured(NamedTuple):
    """A configuration, and the digests of the files that it names."""

    site: Site
    files: Files


class Changes(NamedTuple):
    """What is another."""

    kept: frozenset[str]
    """Sources that are as they were."""
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """Of sources that stay and of the other tables: the keys that are another."""

    @property
    def words(self) -> tuple[str, ...]:
        """For a person, without any value."""
        return (
            *(f"{name} added" for name in self.added),
            *(f"{name} removed" for name in self.removed),
            *(f"{name} changed" + (f" ({', '.join(keys)})" if keys else "") for name, keys in self.changed.items()),
        )


def changes(was: Configured, now: Configured) -> Changes:
    """Return what is another in `now`."""
    before = {source.name: source for source in was.site.sources}
    after = {source.name: source for source in now.site.sources}
    both = [name for name in after if name in before]
    keys = {
        name: _source_keys(before[name], after[name]) + _file_keys(f"sources.{name}", was.files, now.files)
        for name in both
    }
    return Changes(
        kept=frozenset(name for name in both if not keys[name]),
        added=tuple(f"sources.{name}" for name in after if name not in before),
        removed=tuple(f"sources.{name}" for name in before if name not in after),
        changed={f"sources.{name}": tuple(dict.fromkeys(found)) for name, found in keys.items() if found}
        | dict(_tables(was, now)),
    )


def named_files(site: Site) -> dict[str, str]:
    """Return the files that say how to be let in, by the key that names each: `upstream.ca_file`."""
    owners: list[tuple[str, object]] = [("upstream", site.settings.upstream)]
    owners += [(f"sources.{source.name}", getattr(source.settings, "access", None)) for source in site.sources]
    return {
        f"{owner}.{field}": name
        for owner, access in owners
        for field in FILES
        if (name := getattr(access, field, None)) is not None
    }


def refusals(was: Site, now: Site) -> Iterator[Problem]:
    """Give what a running agent cannot take up: where it keeps things, who it is, and how much it may keep."""
    pairs = [
        ("agent.world_id", was.settings.agent.world_id, now.settings.agent.world_id),
        ("agent.data_dir", was.settings.agent.data_dir, now.settings.agent.data_dir),
        ("upstream.buffer.max_bytes", _buffer(was).max_bytes, _buffer(now).max_bytes),
    ]
    for place, before, after in pairs:
        if before != after:
            yield Problem(f"agent.toml: {place}", shown(after), f"{shown(before)}, with which it runs", RESTART)


def _buffer(site: Site) -> BufferSettings:
    upstream = site.settings.upstream
    return BufferSettings() if upstream is None else upstream.buffer


def _source_keys(before: Source, after: Source) -> list[str]:
    """Return the keys of a source that are another; what comes from its profile is told as that."""
    if before == after:
        return []
    if type(before.settings) is not type(after.settings):
        return ["kind"]
    return _keys(before.settings, after.settings) or [PROFILE]


def _tables(was: Configured, now: Configured) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in Settings.__struct_fields__:
        before, after = getattr(was.site.settings, name), getattr(now.site.settings, name)
        if name == "sources":
            continue
        both = isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct)
        keys = _keys(before, after) if both else []
        keys += _file_keys(name, was.files, now.files)
        if before != after or keys:
            yield name, tuple(dict.fromkeys(keys))


def _keys(before: msgspec.Struct, after: msgspec.Struct) -> list[str]:
    return [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name, None)]


def _file_keys(owner: str, before: Files, after: Files) -> list[str]:
    """Return the keys of an owner whose files hold something else now."""
    prefix = f"{owner}."
    return [
        place.removeprefix(prefix)
        for place in {**before, **after}
        if place.startswith(prefix) and before.get(place) != after.get(place)
    ]
