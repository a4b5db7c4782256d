"""`python -m edge_agent.cli`: the same as `edge-agent`."""

import sys

from edge_agent.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
