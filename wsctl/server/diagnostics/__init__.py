"""Findings about a server's settings and its platform, which `serve` logs at its start and `check` shows."""
