"""A configuration looked through as a start would, links and data folder too: what `check` tells and a reload heeds.

Nothing connects and nothing is written.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.config import examine
from edge_agent.model.errors import ConfigError, Problem
from edge_agent.model.layout import DataDir
from edge_agent.model.site import Site
from edge_agent.service.boot import renamed
from edge_agent.service.reload import Inspected
from edge_agent.service.wiring import links
from edge_agent.sources import Clock


def inspect(path: Path, clock: Clock, *, elsewhere: bool = False) -> Inspected:
    """Look through all of it; the links are not open yet. What is for `elsewhere` has its data folder there."""
    site, sources, problems = examine(path)
    try:
        connections = links(sources, clock)
    except ConfigError as error:
        return Inspected(None, [], [*problems, *error.problems])
    if site is None:
        return Inspected(None, [], problems)
    return Inspected(site, connections, [] if elsewhere else list(_data_dir(site)))


def _data_dir(site: Site) -> Iterator[Problem]:
    """Find the first folder on the way to data_dir that exists, and see whether we may write there."""
    wanted = Path(site.settings.agent.data_dir)
    nearest = next((folder for folder in (wanted, *wanted.absolute().parents) if folder.exists()), Path("/"))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        hint = "sudo, or as the agent's user; --elsewhere where it is for another machine"
        yield Problem("agent.data_dir", f"{wanted}, which this user cannot write", "a folder of the agent's own", hint)
    other = renamed(site.world_id, DataDir(wanted))
    if other is not None:
        yield other
