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
    """What is another: tables and sources, by name."""

    kept: frozenset[str]
    """Sources that are as they were."""
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """Of those that stay, the keys that are another."""

    @property
    def tables(self) -> frozenset[str]:
        """All that is another in some way."""
        return frozenset((*self.added, *self.removed, *self.changed))

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
    before, after = _parts(was.site), _parts(now.site)
    both = [name for name in after if name in before]
    keys = {name: _keys(before[name], after[name]) for name in both}
    files = {name: _file_keys(name, was.files, now.files) for name in both}
    changed = {name: (*(keys[name] or ()), *files[name]) for name in both if keys[name] is not None or files[name]}
    another = {*changed, *(after.keys() - before.keys())}
    return Changes(
        kept=frozenset(source.name for source in now.site.sources if f"sources.{source.name}" not in another),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=changed,
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


def refusals(was: Site, now: Site, place: str) -> Iterator[Problem]:
    """Give what a running agent cannot take up: where it keeps things, who it is, and how much it may keep."""
    pairs = [
        ("agent.world_id", was.settings.agent.world_id, now.settings.agent.world_id),
        ("agent.data_dir", was.settings.agent.data_dir, now.settings.agent.data_dir),
        ("upstream.buffer.max_bytes", _buffer(was).max_bytes, _buffer(now).max_bytes),
    ]
    for key, before, after in pairs:
        if before != after:
            yield Problem(f"{place}{key}", shown(after), f"{shown(before)}, with which it runs", RESTART)


def _buffer(site: Site) -> BufferSettings:
    upstream = site.settings.upstream
    return BufferSettings() if upstream is None else upstream.buffer


def _parts(site: Site) -> dict[str, object]:
    """Return the sources, and the other tables that are there, by name."""
    found: dict[str, object] = {f"sources.{source.name}": source for source in site.sources}
    for name in Settings.__struct_fields__:
        table = getattr(site.settings, name)
        if name != "sources" and table not in (None, ()):
            found[name] = table
    return found


def _keys(before: object, after: object) -> tuple[str, ...] | None:
    """Return the keys that are another, as far as they can be named; None when nothing is."""
    if before == after:
        return None
    if isinstance(before, Source) and isinstance(after, Source):
        if type(before.settings) is not type(after.settings):
            return ("kind",)
        return _keys(before.settings, after.settings) or (PROFILE,)
    if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
        return tuple(name for name in after.__struct_fields__ if getattr(before, name, None) != getattr(after, name))
    return ()


def _file_keys(owner: str, before: Files, after: Files) -> tuple[str, ...]:
    """Return the keys of an owner whose files are the same ones, and hold something else now."""
    return tuple(
        place.removeprefix(f"{owner}.")
        for place in after
        if place.startswith(f"{owner}.") and place in before and before[place] != after[place]
    )
