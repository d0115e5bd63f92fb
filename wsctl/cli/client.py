"""`wsctl client`."""


def client() -> None:
    """Not written yet."""
