"""`wsctl completions`."""


def completions() -> None:
    """Not written yet."""
