"""What a client shows to connect."""

from collections.abc import Callable, Mapping

from wsctl.settings import read_client_token

Credential = Callable[[], str | None]
"""Gives the token for the next attempt to connect; None: there is none.

Raises:
    UsageError: it cannot be read.
"""


def nothing() -> str | None:
    """Where nobody has given one."""
    return None


def given(environ: Mapping[str, str]) -> Credential:
    """The client token of the environment. A file is read at each attempt: somebody may have put a new one
    there.

    Raises:
        UsageError: it cannot be read now.
    """

    def read() -> str | None:
        return read_client_token(environ)

    read()
    return read
