"""The clocks: wall time to record, monotonic time to measure, and whether the kernel calls the wall clock true."""

import ctypes
import time
from pathlib import Path
from uuid import UUID

from edge_agent.model.reading import Instant

_CHECK_EVERY_NS = 10_000_000_000
"""The clock's state is asked of the kernel every ten seconds: it changes when NTP gets through, once a boot."""
_TIME_ERROR = 5
"""adjtimex(2) returns it while the clock is not synchronised."""
_NOT_ALLOWED = -1
"""It returns this in a confined service, which then looks for the flag that systemd-timesyncd sets."""
_SYNCED = Path("/run/systemd/timesync/synchronized")
_TIMEX_BYTES = 256
"""More than struct timex takes on any Linux (208 bytes on 64-bit); modes = 0 in its head asks and sets nothing."""


class Clock:
    """Call it for the present instant."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._checked_ns = 0
        self._synced = False

    def __call__(self) -> Instant:
        """Return the present instant.

        The monotonic time is that of the boot: it goes on while the machine sleeps, for an approval ages then, too.
        """
        mono_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if self._checked_ns == 0 or mono_ns - self._checked_ns > _CHECK_EVERY_NS:
            self._checked_ns = mono_ns
            state = self._libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
            self._synced = _SYNCED.exists() if state == _NOT_ALLOWED else state != _TIME_ERROR
        return Instant(time.time_ns() // 1_000_000, mono_ns, self._synced)


def boot_id() -> bytes:
    """Return the kernel's id of this boot (16 bytes)."""
    return UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes
