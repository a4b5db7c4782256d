"""What turns stand on, with what was learned so far: from a file at a start, and from the ground before at a reload.

One set of rules says what survives either: the statistics go on where what they rest on is as it was.
"""

import logging
from collections.abc import Iterator

from edge_agent.judge.comparison import Comparisons
from edge_agent.judge.watch import Watch
from edge_agent.model.site import Site
from edge_agent.model.world import World
from edge_agent.seal.keys import PrivateKey
from edge_agent.store.baselines import Baselines, Pieces, joined
from edge_agent.sync import Ground, Standing, ground
from edge_agent.twin.baseline import baseline

_log = logging.getLogger(__name__)

COMPARISONS = "comparisons"
"""Where what was learned of differences stands among the baselines; those of variables have a dot in their names."""


def watch_over(site: Site, world: World, learned: object) -> Watch:
    """Return the monitors of a site, with what was learned of it."""
    drift = site.settings.drift
    if drift.timezone == "UTC":
        return Watch(drift, world, site, learned)
    from edge_agent.service.calendar import days_in  # a MiB of calendars, which most do without

    return Watch(drift, world, site, learned, days_in(drift.timezone))


def grounded(file: Baselines, site: Site, world: World, key: PrivateKey, boot: bytes) -> Ground:
    """Return the ground of a site, with what a file holds of it. `world` is in line with the configuration."""
    document = file.load()
    kept = Pieces(b"{}" if document is None else document)
    watch = watch_over(site, world, kept)
    if watch.forgotten:
        told = "what was learned of %d variables is of other statistics, devices or settings: they are learned anew"
        _log.warning(told, watch.forgotten)
    return ground(site, world, watch, key, boot, Comparisons(site, world, kept.get(COMPARISONS)))


def regrounded(before: Ground, standing: Standing, site: Site) -> tuple[Ground, Standing, World]:
    """Return the ground of another site, what is handed to its next turn, and the world in line with it.

    Takes long with many variables. No turn may be made meanwhile.
    """
    world = baseline(site, standing.world)
    learned = {monitor.subject.path: monitor for monitor in before.watch.monitors.values()}
    watch = watch_over(site, world, learned)
    comparisons = Comparisons(site, world, before.comparisons.to_state())
    after = ground(site, world, watch, before.key, before.boot, comparisons)
    held = {before.rules[place]: since for place, since in standing.holding.items()}
    holding = {place: held[rule] for place, rule in enumerate(after.rules) if rule in held}
    heard = {number: mono_ms for number, mono_ms in standing.heard.items() if number in world.variables}
    return after, standing._replace(holding=holding, heard=heard), world


def keep(file: Baselines, ground: Ground) -> None:
    """Render and keep what was learned, in the disk's thread: no turn is made meanwhile, so nothing moves.

    Piece by piece: one call that renders all of it would hold the interpreter, and the event loop with it, and all
    that was learned would stand in memory twice. Raises StoreError.
    """
    file.save(joined(_states(ground)))


def _states(ground: Ground) -> Iterator[tuple[str, object]]:
    yield from ground.watch.states()
    yield COMPARISONS, ground.comparisons.to_state()
