"""The check whether clients must show credentials, and whether these can be checked."""

from pathlib import Path

from wsctl.errors import WsctlError
from wsctl.server.checks.exposure import is_public
from wsctl.server.checks.finding import Finding, error, fine, warning
from wsctl.server.credentials import verifier_of
from wsctl.server.exposure import open_to_all
from wsctl.settings import Settings

NAME = "clients"


def check(settings: Settings) -> Finding:
    """Check whether strangers are kept out, as `serve` would."""
    try:
        verifier = verifier_of(settings)
    except WsctlError as failure:
        return error(NAME, str(failure), "until then 'wsctl serve' does not start with --auth")
    if verifier:
        keys = f", checked with {' and '.join(verifier.keys.algorithms)}" if verifier.keys else ""
        return fine(NAME, f"must show credentials: --auth {settings.auth}{keys}")
    if not is_public(settings):
        return fine(NAME, "need no credentials, and come from this machine or through a proxy")
    return warning(NAME, open_to_all(settings, settings.host), "--auth token, or --auth jwt")


def secret_key(settings: Settings) -> str | None:
    """Return the file of `--jwt-key` if tokens can be made with what is in it, else None. A file that cannot
    be used is reported by `check`."""
    if settings.auth != "jwt" or settings.jwt_key is None:
        return None
    try:
        from wsctl.server.credentials.keys import HS256, BadKey, verification_keys
    except ImportError:
        return None
    try:
        keys = verification_keys(Path(settings.jwt_key), settings.jwt_algorithm)
    except BadKey:
        return None
    return settings.jwt_key if any(key.algorithm == HS256 for key in keys) else None
