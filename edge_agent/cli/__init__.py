"""The commands, thin: arguments in, words out."""
