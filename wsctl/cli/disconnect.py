"""`wsctl disconnect`."""

import json
import os
from typing import Annotated

import typer

from wsctl.cli.options import Json, Port, Url, parser
from wsctl.cli.ui.text import say
from wsctl.client_ids import client_id
from wsctl.control.disconnecting import BY_OPERATOR, Disconnect, read_code


def disconnect(
    *,
    name: Annotated[str, typer.Argument(metavar="ID", parser=parser(client_id, "ID"), help="The client.")],
    code: Annotated[
        int,
        typer.Option(
            "--code",
            parser=parser(read_code, "CODE"),
            metavar="CODE",
            help="Close code: 4000 to 4499 tell the client to reconnect, 4500 to 4999 to stay away."
            " [default: 4000]",
            show_default=False,
        ),
    ] = 4000,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What the client is told, in 123 bytes at most.")
    ] = BY_OPERATOR,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Close all connections of a client; print how many they were.

    Exit code 1 when there is none. A client that is told to stay away may come back all the same: to keep
    somebody out, refuse its credentials.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find_target
    from wsctl.errors import UsageError

    try:
        wanted = Disconnect(name, code, reason)
    except ValueError as error:
        raise UsageError(str(error)) from None
    closed = Control(find_target(url, port, os.environ), waiting=say).disconnect(wanted)
    count = closed["connections"]
    print(
        json.dumps(closed) if as_json else f"{count} {'connection' if count == 1 else 'connections'} closed"
    )
