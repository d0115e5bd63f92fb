"""`wsctl client`."""

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.options import Json, Port, Url, client_ids, parser, seconds, whole_number
from wsctl.errors import UsageError
from wsctl.topics import topic_name, topic_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsctl.cli.ui.prompt import Prompt
    from wsctl.cli.ui.transcript import Transcript
    from wsctl.client.session import Session
    from wsctl.codes import ExitCode


def client(
    *,
    client_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Client id to connect as; the one in --url unless given."),
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            parser=parser(topic_pattern, "PATTERN"),
            metavar="PATTERN",
            help="Subscribe to a topic (repeat): * is any segment, > at the end any rest.",
        ),
    ] = None,
    publish_to: Annotated[
        str | None,
        typer.Option(
            "--publish-to",
            parser=parser(topic_name, "TOPIC"),
            metavar="TOPIC",
            help="Send to the subscribers of this topic instead of to everybody.",
        ),
    ] = None,
    url: Url = None,
    port: Port = None,
    clients: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1), metavar="N", help="Connect N clients: ID-1 to ID-N; the first one sends."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1), metavar="N", help="Leave after N messages (each client its own N)."
        ),
    ] = None,
    duration: Annotated[float | None, seconds("--for", "Leave after this time.")] = None,
    sse: Annotated[
        bool, typer.Option("--sse", help="Connect by an event stream (server-sent events), not a WebSocket.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what arrives, send what is typed, and reconnect when the connection is lost.

    After a reconnect it shows the messages that were missed, or says that the server no longer has them.

    On a terminal: Enter sends, Up brings back earlier lines, Ctrl-D leaves, Ctrl-Z suspends; Ctrl-C clears
    the line, and leaves when it is empty. Control characters are sent as they are shown.

    On a pipe each line of the input is a message, sent within the rate that the server names. At the end of
    the input the command leaves as soon as all lines have come back from the server, or with --topic or
    --publish-to are confirmed by it; with --count or --for, or when there was no line, it stays. SIGTERM
    makes it leave too. Exit code 1 when a line did not come back; the reason is on stderr.

    What is sent to everybody is shown with and without --topic. Who sends to a topic sees it only when
    subscribed to it.

    The token for a server with --auth comes from WSCTL_CLIENT_TOKEN_FILE, which is read again at each
    reconnect, or from WSCTL_CLIENT_TOKEN.

    Messages go to stdout, everything else to stderr.
    """
    from wsctl.client.connection import credential_from
    from wsctl.client.target import check_not_stopped, client_id_in, find_target, server_url

    if url is not None and port is None:
        server_url(url)  # what is no address has no name to connect as either
    if client_id is None and (client_id := client_id_in(url or "")) is None:
        raise UsageError("a client needs a name: --id NAME")
    ids = client_ids(client_id, clients)

    credential = credential_from(os.environ)
    target = find_target(url, port, os.environ)
    check_not_stopped(target)

    import asyncio

    from wsctl.client.session import Session
    from wsctl.client.transport import Transport

    transport = Transport.EVENT_STREAM if sse else Transport.WEBSOCKET
    speaks_commands = bool(topics) or publish_to is not None
    sessions = [
        Session(
            target,
            name,
            credential=credential,
            topics=topics or (),
            commands=speaks_commands,
            paced=True,
            transport=transport,
        )
        for name in ids
    ]
    raise typer.Exit(
        asyncio.run(
            _converse(ids, sessions, topic=publish_to, count=count, duration=duration, as_json=as_json)
        )
    )


async def _converse(
    ids: "Sequence[str]",
    sessions: "Sequence[Session]",
    *,
    topic: str | None,
    count: int | None,
    duration: float | None,
    as_json: bool,
) -> "ExitCode":
    import asyncio

    from wsctl.cli.conversation import Conversation, Member
    from wsctl.cli.ui.streams import read_lines

    # In the background of a terminal there is nothing to read; without this, reading stops the process.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    members = [Member(name, session) for name, session in zip(ids, sessions, strict=True)]
    with _screen(ids, as_json) as (transcript, prompt):
        conversation = Conversation(members, transcript, count, topic)
        stay = count is not None or duration is not None
        typing = (
            conversation.send_typed(prompt) if prompt else conversation.send_piped(read_lines(0), stay=stay)
        )
        timer = [] if duration is None else [asyncio.sleep(duration)]
        return await conversation.run(typing, *timer, at_once=_terminated())


async def _terminated() -> None:
    """Wait for a signal that ends the command: the connection is closed and the terminal restored as on any
    other end. A signal that is ignored, as under nohup, stays so."""
    import asyncio

    terminated = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(signum, terminated.set)
    await terminated.wait()


@contextmanager
def _screen(ids: "Sequence[str]", as_json: bool) -> "Iterator[tuple[Transcript, Prompt | None]]":
    """Open the transcript that shows events, and on a terminal the prompt where a person types."""
    from wsctl.cli.ui.streams import has_colour, is_live
    from wsctl.cli.ui.transcript import JsonTranscript, PlainTranscript

    out, err, several = sys.stdout, sys.stderr, len(ids) > 1
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without the letters of a message
    if as_json:
        yield JsonTranscript(out, err, name_clients=several), None
        return
    colour = (has_colour(out), has_colour(err))
    if not (sys.stdin and sys.stdin.isatty() and is_live(out)):
        yield PlainTranscript(out, err, clients=len(ids), colour=colour), None
        return

    from wsctl.cli.ui.prompt import Prompt, above_the_prompt

    prompt = Prompt(ids[0])
    with above_the_prompt() as above:
        err = above if err.isatty() else err
        shown = prompt.show_disconnected
        yield PlainTranscript(above, err, clients=len(ids), colour=colour, show_disconnected=shown), prompt
