"""What is so: pure verbs from readings to the next world; the register codec, the block planner, the framings."""
