"""`wsctl status`."""


def status() -> None:
    """Not written yet."""
