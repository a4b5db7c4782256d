"""A day in a minute: an event loop in which time passes only when nobody has anything to do, and its clock.

The loop jumps to the next timer as soon as nothing is ready. Work in threads (the disk) is real and is waited for;
a real socket to somebody else would not be, for its answer takes real time: peers live in the same loop. What the
kernel needs to carry bytes from one end of a pty to the other is real, too: `kernel_s` is waited before each jump.
"""

import asyncio
import contextlib
import selectors

from edge_agent.model.reading import Instant

KERNEL_S = 0.01
"""Enough for a pty on a busy machine, where what it carries is carried by another thread of the kernel."""


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at 0."""

    def __init__(self, kernel_s=0.0):
        self._jumping = _Jumping()
        self._jumping.kernel_s = kernel_s
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now_s

    def run_in_executor(self, executor, func, *args):
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads_at_work += 1
        future.add_done_callback(self._rest)
        return future

    async def shutdown_default_executor(self, timeout=None):  # noqa: ASYNC109 - asyncio's own
        self._jumping.threads_at_work += 1
        await super().shutdown_default_executor()
        self._rest()

    def _rest(self, _=None):
        self._jumping.threads_at_work -= 1


class _Jumping(selectors.DefaultSelector):
    now_s = 0.0
    threads_at_work = 0
    kernel_s = 0.0

    def select(self, timeout=None):
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self.kernel_s and (found := super().select(self.kernel_s)):
            return found
        if self.threads_at_work:
            return super().select()
        if timeout is None:
            raise RuntimeError("nothing would ever happen again: no timer, no thread, nothing ready")
        self.now_s += max(timeout, 0.0)
        return []


class FakeClock:
    """The present instant of the running loop."""

    def __init__(self, start_ms):
        self._start_ms = start_ms

    def __call__(self):
        now_s = 0.0
        with contextlib.suppress(RuntimeError):  # before the loop runs
            now_s = asyncio.get_running_loop().time()
        return Instant(self._start_ms + round(now_s * 1000), round((1 + now_s) * 1e9), True)


def run(main, kernel_s=0.0):
    """Run a coroutine in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(kernel_s)) as runner:
        return runner.run(main)
