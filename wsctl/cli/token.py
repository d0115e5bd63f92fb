"""`wsctl token`, and the key that signs tokens, for other commands too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsctl.cli.options import Json, client_ids, parser, seconds
from wsctl.errors import UsageError, package
from wsctl.settings import topic_patterns

if TYPE_CHECKING:
    from wsctl.server.credentials.tokens import TokenSigner

JwtKey = Annotated[
    Path | None,
    typer.Option(
        "--jwt-key",
        metavar="FILE",
        envvar="WSCTL_JWT_KEY",
        help="Key that signs tokens: a private key (PEM or JWK), or a shared secret.",
    ),
]
JwtAlgorithm = Annotated[
    str | None,
    typer.Option(
        "--jwt-algorithm",
        metavar="NAME",
        envvar="WSCTL_JWT_ALGORITHM",
        help="Algorithm of --jwt-key: HS256 (a secret), RS256 or EdDSA.",
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


def _topics(name: str, text: str) -> Any:
    """Return an option that takes topics, as those of a server do."""
    return typer.Option(name, parser=parser(topic_patterns, "TOPICS"), metavar="TOPICS", help=text)


def token(
    *,
    client_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="Id of the client that the token is for.")
    ],
    ttl: Annotated[float, seconds("--ttl", "How long the token is valid.")] = 3600,
    subscribe: Annotated[
        Any, _topics("--subscribe", "Topics that the client may subscribe to: on, off, or patterns.")
    ] = None,
    publish: Annotated[
        Any, _topics("--publish", "Topics to which the client may publish: on, off, or patterns.")
    ] = None,
    direct: Annotated[
        bool | None,
        typer.Option("--direct/--no-direct", help="Whether the client may send direct messages."),
    ] = None,
    jwt_key: JwtKey = None,
    jwt_algorithm: JwtAlgorithm = None,
    jwt_audience: JwtAudience = None,
    as_json: Json = False,
) -> None:
    """Make a token for one client of a server with '--auth jwt'.

    The token alone goes to stdout. The key is the server's --jwt-key, or the private key that belongs to it.
    For what the token does not say of topics and direct messages the server's settings hold.
    """
    (name,) = client_ids(client_id, None)
    if jwt_key is None:
        raise UsageError("a token is signed with a key: give --jwt-key FILE")

    signer = token_signer(jwt_key, jwt_audience, jwt_algorithm)

    from wsctl.server.credentials.permissions import Claimed
    from wsctl.server.credentials.tokens import MAX_TTL

    if not 1 <= ttl <= MAX_TTL:
        raise typer.BadParameter(
            f"{ttl:g} s is out of range: write 1s to {MAX_TTL / 86400:g}d", param_hint="--ttl"
        )
    signed = signer.sign(name, ttl, Claimed(subscribe, publish, direct))
    if as_json:
        import json

        print(json.dumps(signed._asdict()))
    else:
        print(signed.token)
