"""Memory goes back to the system when it is free: a board of 512 MB has better use for it.

By itself the C library keeps a pool for each thread, and what a large document took, because the next one might come
at once; ours comes in a quarter of an hour.
"""

import ctypes

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
"""malloc.h, mallopt(3)."""
_LARGE_BYTES = 512 * 1024
"""Above the buffer into which asyncio receives, 256 KiB, which is asked for at each packet."""


def be_frugal() -> None:
    """Tell the C library; before the first thread. Where there is another one (musl), nothing is told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Give the system what is free by now, where the C library can: after a start, or after a large document."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
