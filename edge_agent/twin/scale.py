"""Scaling a number that came as text, by the decimals that a person wrote: a tenth of 3 is 0.3.

The number is a decimal too, unlike one in registers (twin/meaning.py), whose bits are taken as they are.
"""

from fractions import Fraction

from edge_agent.model.reading import bad
from edge_agent.twin.codec import Decoded, in_range


def scaled(number: float, scale: float, offset: float, allowed: tuple[float, float] | None) -> Decoded:
    """Return number * scale + offset with its quality; the float nearest to the exact result."""
    if scale == 1 and offset == 0:
        return in_range(number, allowed)
    try:
        # `repr` gives back the decimal that was written, and not the binary float it became.
        return in_range(float(Fraction(repr(number)) * Fraction(repr(scale)) + Fraction(repr(offset))), allowed)
    except (ValueError, OverflowError):  # NaN, infinity, or too large once scaled
        return None, bad("nan")
