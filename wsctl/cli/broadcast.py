"""`wsctl broadcast`."""

import json
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from wsctl.cli.options import Json, Port, Url, parser
from wsctl.cli.ui.text import say
from wsctl.client_ids import client_id
from wsctl.errors import UsageError, WsctlError
from wsctl.topics import topic_name

_LATER = "a client that comes back and resumes gets it then"


def broadcast(
    *,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="The text to send; - reads it from stdin.")
    ] = None,
    lines: Annotated[
        str | None,
        typer.Option(
            "--lines",
            metavar="FILE",
            help="Send each line of a file as a message; - reads stdin. With --json each line is an object "
            "with data, and topic, to and key where wanted.",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", parser=parser(client_id, "ID"), metavar="ID", help="Send only to this client (repeat)."
        ),
    ] = None,
    show_to: Annotated[
        bool,
        typer.Option(
            "--show-to", help="Show all clients of --to to each of them; else each sees only itself."
        ),
    ] = False,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic",
            parser=parser(topic_name, "TOPIC"),
            metavar="TOPIC",
            help="Send to the subscribers of this topic; with --to, to those clients among them.",
        ),
    ] = None,
    parse: Annotated[
        bool, typer.Option("--parse", help="MESSAGE is JSON: send the value instead of the text.")
    ] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Allow a message without text.")] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Send one message to every client, or to some; print its id and how many got it.

    Exit code 1 when some clients of --to are not connected, or with --topic not subscribed. Those that
    reconnect and resume get the message then. With --lines exit code 1 when some lines were refused.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find_publishing_target

    def find() -> Control:
        return Control(find_publishing_target(url, port, os.environ), waiting=say)

    if lines is not None:
        from wsctl.cli.broadcast_lines import LineForm, broadcast_lines

        if message is not None or show_to:
            raise UsageError(f"--lines and {'--show-to' if show_to else 'MESSAGE'}: give one of them")
        if as_json and (to or topic or parse):
            raise UsageError("--lines with --json: each line has its own topic and to: leave out the flags")
        form = LineForm(tuple(to or ()), topic, parse=parse, allow_empty=allow_empty, objects=as_json)
        broadcast_lines(lines, form, find, as_json=as_json)
        return
    if message is None:
        raise UsageError("MESSAGE is missing: write the text, or - to read it from stdin, or give --lines")
    text = _from_stdin() if message == "-" else _utf8(message)
    data = _value(text) if parse else text
    if data == "" and not allow_empty:
        raise UsageError("the message is empty: with --allow-empty it is sent all the same")
    control = find()
    sent = control.broadcast(data, to or None, show_to=show_to, topic=topic)
    print(json.dumps(sent) if as_json else _summary(sent), flush=True)
    if (missing := len(set(to or ())) - sent["recipients"]) > 0:
        there = "connected" if topic is None else f"connected and subscribed to {topic}"
        raise WsctlError(f"{missing} of {len(set(to or ()))} clients of --to are not {there}: {_LATER}")


def _from_stdin() -> str:
    """Read all of stdin, without the newline that `echo` and editors put at the end."""
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8 at byte {error.start}: convert it first") from None
    return text.removesuffix("\n").removesuffix("\r")


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("MESSAGE is not UTF-8: convert it first") from None
    return text


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--parse: MESSAGE is not JSON: {error}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _summary(sent: dict[str, Any]) -> str:
    count = sent["recipients"]
    return f"{sent['id']}  {count} {'client' if count == 1 else 'clients'}"
