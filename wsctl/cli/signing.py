"""The key that signs tokens, for the commands which make some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.errors import UsageError, package

if TYPE_CHECKING:
    from wsctl.server.credentials.tokens import TokenSigner

JwtKey = Annotated[
    Path | None,
    typer.Option(
        "--jwt-key",
        metavar="FILE",
        envvar="WSCTL_JWT_KEY",
        help="Signs tokens: a private key (PEM or JWK), or a shared secret.",
    ),
]
JwtAlgorithm = Annotated[
    str | None,
    typer.Option(
        "--jwt-algorithm",
        metavar="NAME",
        envvar="WSCTL_JWT_ALGORITHM",
        help="What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.",
    ),
]
JwtAudience = Annotated[
    str | None,
    typer.Option(
        "--jwt-audience",
        metavar="TEXT",
        envvar="WSCTL_JWT_AUDIENCE",
        help="Audience that the tokens are for.",
    ),
]


def token_signer(key: Path, audience: str | None, algorithm: str | None = None) -> "TokenSigner":
    """Return the maker of tokens with this key.

    Raises:
        UsageError: the key cannot be read or does not sign, or a package is missing.
    """
    try:
        from wsctl import settings
        from wsctl.server.credentials.keys import BadKey
        from wsctl.server.credentials.tokens import TokenSigner
    except ImportError:
        raise UsageError(f"tokens need {package('PyJWT', 'jwt')}") from None
    try:
        return TokenSigner(key, audience, algorithm=algorithm and settings.algorithm(algorithm))
    except BadKey as error:
        raise UsageError(f"--jwt-key {key}: {error}") from None
    except ValueError as error:
        raise UsageError(f"--jwt-algorithm: {error}") from None
