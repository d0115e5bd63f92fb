"""The servers that are compared, each a program that prints where it listens."""
