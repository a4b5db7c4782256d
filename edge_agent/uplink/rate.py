"""How much may come from outside before it is looked at: so many at once, and so many a second on the whole. Pure."""


class Rate:
    """An allowance that fills up again with time."""

    def __init__(self, at_once: int, per_s: float, now_s: float) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._left = float(at_once)
        self._since_s = now_s

    def allows(self, now_s: float) -> bool:
        """Whether one more may come now, which is then taken off."""
        self._left = min(self._left + (now_s - self._since_s) * self._per_s, self._at_once)
        self._since_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
