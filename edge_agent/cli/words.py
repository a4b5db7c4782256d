"""Values and statistics in words, the same on a terminal and on a page."""

from edge_agent.judge.monitor import Insight
from edge_agent.judge.words import SIGMA, Ruler, span
from edge_agent.model.reading import iso_utc


def shown(value: object) -> str:
    """Return a value as a person wants it: seven digits are what a single precision number knows."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def verdict(found: Insight) -> str:
    """Return in a word or two how a variable stands."""
    if found.sentences:
        return "ALARM"
    if found.baseline is None:
        return "no opinion yet" if found.subject.shifts else "limits only"
    return "no alarm"


def why(found: Insight) -> list[str]:
    """Return in sentences why a variable is alarmed, or is not."""
    told = list(found.sentences)
    base = found.baseline
    if base is None:
        if found.subject.shifts:
            told.append(
                f"{found.heard} of the {found.warmup} readings that make a baseline were heard when the newest snapshot was kept"
            )
        elif not told:
            told.append("only its limits are watched, and it keeps them")
        return told
    say = Ruler(found.subject.unit, base.spread).amount
    season = ", its season taken off" if found.has_season else ""
    told.append(f"usual: {say(base.mean)} ± {say(base.spread)} ({SIGMA}{season}), from {base.size} readings")
    told.append(f"now: what it shows comes by chance {often(found.decades, found.interval_s)}")
    told.append(f"alarm: at what comes by chance {often(found.bar, found.interval_s)}")
    if found.bar > found.budget:
        told[-1] += f"; the budget alone asks for {often(found.budget, found.interval_s)}"
    told += [f"raised: {kind} has alarmed {times} times, so that it must be surer" for kind, times in found.raised]
    if not found.sentences:
        told.append("nothing it has shown is rarer than the budget of false alarms allows")
    return told


def heard(found: Insight) -> str:
    """Return when it was heard."""
    return f"last heard {iso_utc(found.at_ms)}" if found.at_ms else "not heard before the newest snapshot"


def often(decades: float, interval_s: float) -> str:
    """Return how seldom something is, as a person says it."""
    seconds = 10 ** min(decades, 30.0) * interval_s
    years = seconds / (365.25 * 86400)
    if decades <= 0.0:
        return "all the time"
    return f"once in {span(seconds)}" if years < 2 else f"once in {years:.3g} years"  # noqa: PLR2004 - then days are no measure
