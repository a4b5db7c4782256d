"""Writes tests/store/version-1: a data folder as this release writes it, to be read by every later one.

The private key in it is a test's own. python tests/store/old_version.py; run it once for each format version, never again for an old one.
"""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "service")]

from sites import METER, site  # noqa: E402 - the path above finds it
from test_boot import OLD, data_of, digest, run  # noqa: E402

from edge_agent.service.offline import rotate  # noqa: E402


def main() -> None:
    """Write it: four runs, a rotation among them, segments without their zeros."""
    with tempfile.TemporaryDirectory() as folder:
        found = site(Path(folder), METER)
        for n in range(4):
            standing = run(found, 230.0 + n, 0.0)
            if n == 1:
                rotate(found)
        data = data_of(found)
        for path in data.log.glob("*.seg"):
            content = path.read_bytes().rstrip(b"\0")
            path.write_bytes(content) if content else path.unlink()
        data.lock.unlink()
        shutil.copytree(data.root, OLD)
        (OLD / "state.txt").write_text(f"{standing.world.version} {digest(standing).hex()}\n")


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        main()
