"""MQTT topics: templates filled for a device, and filters (MQTT 5, 4.7)."""

import re

_TOPIC_BYTES = 65_535
"""MQTT 5, 1.5.4: the longest text there is."""
_PLACE = re.compile(r"\{([^{}]*)\}")


def filled(template: str, device: str | None, main: str | None = None) -> str:
    """Return a topic for a device: `{device}` is its own name, `{topic}` the main topic.

    Raises ValueError, saying what is missing.
    """
    known = {"device": device, "topic": main}

    def fill(match: re.Match[str]) -> str:
        found = known.get(match[1])
        if found is None:
            raise ValueError(f"`{match[1]}` to be given" if match[1] in known else "no places but {device} and {topic}")
        return found

    return _PLACE.sub(fill, template)


def is_device(name: str) -> bool:
    """Whether a device may be called so: a name that is a wildcard would hear others too."""
    return bool(name) and name.isprintable() and not {"+", "#", "{", "}"} & set(name)


def is_filter(topic: str) -> bool:
    """Whether one may subscribe to `topic`: wildcards stand alone in their level, # in the last one."""
    *levels, last = topic.split("/")
    alone = all(level == "+" or not {"+", "#"} & set(level) for level in levels)
    sound = last in ("+", "#") or not {"+", "#"} & set(last)
    return bool(topic) and alone and sound and topic.isprintable() and len(topic.encode()) <= _TOPIC_BYTES


def matches(wanted: str, topic: str) -> bool:
    """Whether a topic, or everything that another filter asks for, is what a filter asks for."""
    levels, found = wanted.split("/"), topic.split("/")
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False
    for i, level in enumerate(levels):
        if level == "#":
            return True
        if i == len(found) or found[i] == "#" or level not in ("+", found[i]):
            return False
    return len(levels) == len(found)


def apart(filters: set[str]) -> list[str]:
    """Return the filters that no other one covers: a broker may send a message once for each that matches it."""
    return sorted(t for t in filters if not any(other != t and matches(other, t) for other in filters))
