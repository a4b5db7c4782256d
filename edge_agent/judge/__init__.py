"""What to do about it: pure verbs from the world to findings, risk, plans and rulings."""
