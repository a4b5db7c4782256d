"""A structured condition: a variable, a comparison and a value. No code is ever evaluated."""

from collections.abc import Callable
from typing import Literal

import msgspec

from edge_agent.model.reading import Value


def _numeric(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _alike(value: Value, wanted: Value) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


COMPARE: dict[str, Callable[[Value, Value, float], bool]] = {
    "above": lambda value, limit, back: _numeric(value) and _numeric(limit) and value > limit - back,  # type: ignore[operator]
    "below": lambda value, limit, back: _numeric(value) and _numeric(limit) and value < limit + back,  # type: ignore[operator]
    "equal": lambda value, limit, _: _alike(value, limit),
    "not": lambda value, limit, _: not _alike(value, limit),
}
"""By word: value, limit, and by how much it may fall back while it holds."""


class Condition(msgspec.Struct, frozen=True, rename={"is_": "is"}):
    """What must hold of a variable."""

    variable: str
    """`entity.point`, such as "pump.speed"."""
    is_: Literal["above", "below", "equal", "not"]
    value: float | bool | str

    def holds(self, value: Value) -> bool:
        """Whether it holds of a value; a number holds no comparison with what is none."""
        return COMPARE[self.is_](value, self.value, 0.0)

    def __str__(self) -> str:
        return f"{self.variable} is {self.is_} {self.value}"
