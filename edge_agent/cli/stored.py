"""Reading a data folder from the outside, with the public key alone, while the agent may be running."""

from collections.abc import Iterator
from pathlib import Path
