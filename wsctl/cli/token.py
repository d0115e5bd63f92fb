"""`wsctl token`."""

from typing import Annotated

import typer

from wsctl.cli.options import Json, client_ids, seconds
from wsctl.cli.signing import JwtAlgorithm, JwtAudience, JwtKey, token_signer
from wsctl.errors import UsageError


def token(
    *,
    client_id: Annotated[str, typer.Option("--id", metavar="ID", help="Client id that it is for.")],
    ttl: Annotated[float, seconds("--ttl", "How long it is good.")] = 3600,
    jwt_key: JwtKey = None,
    jwt_algorithm: JwtAlgorithm = None,
    jwt_audience: JwtAudience = None,
    as_json: Json = False,
) -> None:
    """Make a token for one client of a server of '--auth jwt'.

    It goes to stdout, alone. The key is the one that the server checks with, or the private part of it.
    """
    (name,) = client_ids(client_id, None)
    if jwt_key is None:
        raise UsageError("a key has to sign it: --jwt-key FILE")

    signer = token_signer(jwt_key, jwt_audience, jwt_algorithm)

    from wsctl.server.credentials.tokens import MAX_TTL

    if not 1 <= ttl <= MAX_TTL:
        raise typer.BadParameter(
            f"{ttl:g} s is out of range: write 1s to {MAX_TTL / 86400:g}d", param_hint="--ttl"
        )
    signed = signer.sign(name, ttl)
    if as_json:
        import json

        print(json.dumps(signed._asdict()))
    else:
        print(signed.token)
