"""The chain of models in a SunSpec device: each begins with its ID and its length, and 0xFFFF ends it.

Source: SunSpec Device Information Model Specification, 6.2 and 6.3: the marker "SunS" stands at 40000, 0 or 50000.
"""

from edge_agent.model.errors import WireError

MARKER = (0x5375, 0x6E53)
PLACES = (40000, 0, 50000)
_END = 0xFFFF
_MOST_MODELS = 64
_ADDRESSES = 0x10000


def next_model(models: dict[int, int], at: int, head: tuple[int, int]) -> int | None:
    """Note the model whose head was read at an address; return where the next one begins, or None at the end.

    Of several models of one ID the first counts. Raises WireError (garbage) where this cannot be a chain.
    """
    model, length = head
    if model == _END:
        return None
    following = at + 2 + length
    if model == 0 or length == 0 or following + 1 >= _ADDRESSES or len(models) >= _MOST_MODELS:
        raise WireError(f"SunSpec chain: got model {model} with {length} registers at {at}", "garbage")
    models.setdefault(model, at)
    return following
