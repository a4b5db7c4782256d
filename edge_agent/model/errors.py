"""Errors, sorted by what the reader of one must do.

    EdgeAgentError
    ├── ConfigError   stop at start; a person corrects a file
    ├── LinkError     the runner waits and tries again
    │   └── SpoiltError   … at once: the device is none the worse, but the connection is of no more use
    ├── WireError     mark the reading bad and go on
    ├── TrustError    refuse, audit, never try again
    └── StoreError    stop acting, keep reading

Anything else is a bug of ours: let it crash, the service manager restarts. A refusal is not an error
(see `action.Ruling`); an error text says where, what was found and what was wanted.
"""

import msgspec


class EdgeAgentError(Exception):
    """The root: everything this project raises on purpose."""


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in a file a person wrote: where, what was found, what was wanted, and a hint."""

    place: str
    got: str
    wanted: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: got {self.got}, wanted {self.wanted}{hint}"


class ConfigError(EdgeAgentError):
    """A configuration or a profile is wrong. `problems` holds all that was found, not the first."""

    def __init__(self, problems: "list[Problem]") -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class LinkError(EdgeAgentError):
    """A device, port or broker cannot be reached or does not answer. `reason` is one of `reading.REASONS`."""

    def __init__(self, text: str, reason: str = "link") -> None:
        super().__init__(text)
        self.reason = reason


class SpoiltError(LinkError):
    """Bytes wait in a connection that would be taken for others; nothing was sent on it since."""


class WireError(EdgeAgentError):
    """Bytes from outside do not say what they must. `reason` is one of `reading.REASONS`."""

    def __init__(self, text: str, reason: str = "garbage") -> None:
        super().__init__(text)
        self.reason = reason


class TrustError(EdgeAgentError):
    """A signature, a chain or a digest does not hold, or a key may not be used."""


class StoreError(EdgeAgentError):
    """The disk refused, or what stands on it cannot be used."""
