"""Everything long-running: wiring, runners, the inbox. The only room with tasks, sleeps and retries."""
