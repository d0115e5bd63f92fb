"""The credentials of clients: how they are sent, how they are verified, and when they expire."""

import time
from collections.abc import Callable
from pathlib import Path

from wsctl.errors import CannotStart, UsageError, package
from wsctl.server.credentials.verifier import KeySummary, SharedToken, Verifier
from wsctl.settings import Settings


def verifier_of(settings: Settings, wall: Callable[[], float] = time.time) -> Verifier | None:
    """Return the verifier of credentials; None when there are none, and every client is let in.

    Raises:
        UsageError: there is no token to compare with.
        CannotStart: the key cannot be read or used, or a package is missing.
    """
    match settings.auth:
        case "token" if settings.client_token is None:
            raise UsageError("--auth token needs a token: set WSCTL_CLIENT_TOKEN_FILE, or WSCTL_CLIENT_TOKEN")
        case "token" if settings.client_token:
            return SharedToken(settings.client_token)
        case "jwt" if settings.jwt_key:
            return _token_verifier(settings, Path(settings.jwt_key), wall)
    return None


def _token_verifier(settings: Settings, path: Path, wall: Callable[[], float]) -> Verifier:
    try:
        from wsctl.server.credentials.keys import BadKey, verification_keys
        from wsctl.server.credentials.tokens import TokenVerifier
    except ImportError:
        raise CannotStart(f"--auth jwt needs {package('PyJWT', 'jwt')}") from None
    try:
        keys = verification_keys(path, settings.jwt_algorithm)
    except BadKey as error:
        raise CannotStart(f"--jwt-key {path}: {error}") from None
    return TokenVerifier(keys, settings.jwt_audience, wall)


def require_same_kind(keys: KeySummary | None, before: str | None) -> None:
    """Compare the kind of the keys with that of the process before this one, where there was one.

    Raises:
        CannotStart: a secret has become a public key, or the other way round.
    """
    if keys and before and keys.kind != before:
        raise CannotStart(
            f"--jwt-key has {keys.kind} now, and the server that runs checks with {before}: "
            "mend the file, or start the server anew"
        )
