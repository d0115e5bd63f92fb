"""`wsctl stress`."""


def stress() -> None:
    """Not written yet."""
