"""Nouns: what things are. Small frozen values, the error tree, and every topic, path and identifier form."""
