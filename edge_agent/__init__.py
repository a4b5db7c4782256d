"""edge_agent: reads a plant, keeps its digital twin, and proves what it says and does.

The house has six storeys; a file imports only from a lower one (tests/test_floor_plan.py enforces it):
cli, service, sync | sources | uplink | store | plant, mqtt, twin | judge | seal, model.
"""

__version__ = "0.1.0"
