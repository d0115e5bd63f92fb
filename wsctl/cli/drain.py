"""`wsctl drain`."""


def drain() -> None:
    """Not written yet."""
