"""The door to the disk: the log, the snapshots, the keys."""
