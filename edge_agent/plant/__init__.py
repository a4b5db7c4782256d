"""The simulated plant: real protocols, real ports, made-up physics. For tests, demonstrations and users."""
