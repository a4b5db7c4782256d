"""The door upstream: publish from the log, hear commands, and the mirror at the other end."""
