"""Put on PYTHONPATH of a real agent, makes its file operations fail as long as the file $FAULT names says so.

The file holds the name of a function of `os` and an errno, `fdatasync EIO`. Failing, the call does nothing: of what
the kernel would have done on a dying medium that is the worst, for the agent believes no more of it than it is told.
"""

import errno
import os
from pathlib import Path

_fault = Path(os.environ["FAULT"])


def _failing(name):
    real = getattr(os, name)

    def call(*args):
        wanted = _fault.read_text().split() if _fault.exists() else []
        if wanted[:1] == [name]:
            number = getattr(errno, wanted[1])
            raise OSError(number, os.strerror(number))
        return real(*args)

    return call


for _name in ("fsync", "fdatasync", "pwrite"):
    setattr(os, _name, _failing(_name))
