"""`wsctl broadcast`."""


def broadcast() -> None:
    """Not written yet."""
