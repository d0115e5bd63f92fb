"""The credential that a client shows to connect."""

from collections.abc import Callable, Mapping

from wsctl.settings import read_client_token

Credential = Callable[[], str | None]
"""A function that returns the token for the next attempt to connect; None: there is none.

Raises:
    UsageError: it cannot be read.
"""


def no_credential() -> str | None:
    """Return None: the credential of a client without a token."""
    return None


def credential_from(environ: Mapping[str, str]) -> Credential:
    """Return the client token of the environment as a credential. A file is read at each attempt: somebody
    may have put a new one there.

    Raises:
        UsageError: it cannot be read now.
    """

    def read() -> str | None:
        return read_client_token(environ)

    read()
    return read
