"""`wsctl stress`."""

import itertools
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.options import Json, Port, client_ids, number, parser, seconds, whole_number
from wsctl.cli.token import JwtAlgorithm, JwtAudience, JwtKey, token_signer
from wsctl.errors import UsageError
from wsctl.settings import size as parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wsctl.cli.ui.stress_table import StressLines, StressTable
    from wsctl.client.connection import Credential
    from wsctl.client.session import Session
    from wsctl.client.target import Target
    from wsctl.server.credentials.tokens import TokenSigner
    from wsctl.stress.report import StressReport
    from wsctl.stress.stress_run import StressPlan, StressRun

OWN_FILES = 32
"""Descriptors a process needs beside its clients': the standard streams, the loop's, name lookups."""

OVERTIME = 3600.0
"""Seconds that a token is good beyond the run: for connecting before it, and for what comes after it."""

COLLECT_AFTER = 50_000
"""Objects, made and not yet freed, that start Python's collector: several for each of a thousand clients
that hear a message at one moment. Its own 700 cost a seventh of such a run, and 100 ms at a time."""


def stress(
    *,
    clients: Annotated[
        int, typer.Option(parser=whole_number(1), metavar="N", help="Clients that connect.")
    ] = 10,
    duration: Annotated[float, seconds("--duration", "How long messages are sent.")] = 60,
    rate: Annotated[
        float,
        typer.Option(parser=number(0.001), metavar="N", help="Messages a second, from all clients together."),
    ] = 10,
    size: Annotated[
        int, typer.Option(parser=parser(parse_size, "SIZE"), metavar="SIZE", help="Bytes in a message.")
    ] = 128,
    topics: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1),
            metavar="N",
            help="Spread the messages over N topics: each is for the clients that subscribe to its topic.",
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--id", metavar="PREFIX", help="Clients connect as PREFIX-1 to PREFIX-N.")
    ] = "stress",
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url",
            metavar="URL",
            envvar="WSCTL_URL",
            help="Address of a server (repeat for several that share their messages).",
        ),
    ] = None,
    port: Port = None,
    jwt_key: JwtKey = None,
    jwt_algorithm: JwtAlgorithm = None,
    jwt_audience: JwtAudience = None,
    sse: Annotated[
        bool, typer.Option("--sse", help="Connect event streams (server-sent events), not WebSockets.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Connect clients to servers, send messages, and report which were missed.

    Every client is to get every message. The summary has the messages that were delivered, missed,
    duplicated and out of order, the close codes, the time from sending to receiving, and the longest
    silence. Clients that lose their connection reconnect and resume, so a run shows what a restart costs.
    Exit code 1 when a message was missed, duplicated, out of order or reached no client, or when a client
    did not reconnect.

    With --topics each client subscribes to two of the topics stress.1 to stress.N, and every tenth to all,
    too. Who gets a message of another topic is counted, and makes the exit code 1.

    With several servers that share a Redis the clients are spread over them evenly, and a client that one
    server does not take tries the next.

    Clients show the token of WSCTL_CLIENT_TOKEN_FILE or WSCTL_CLIENT_TOKEN. A server with '--auth jwt' needs
    one for each id: with --jwt-key, each client makes its own whenever it connects.

    Ctrl-C ends the run early, with its summary; a second Ctrl-C ends it at once.
    """
    if duration <= 0:
        raise typer.BadParameter(f"{duration:g} s is no time: write more than 0", param_hint="--duration")
    ids = client_ids(prefix, clients)

    from wsctl.client.target import check_not_stopped, find_each_target
    from wsctl.stress.stress_run import StressPlan, StressRun
    from wsctl.stress.topic_plan import TopicPlan

    if topics is not None and topics > clients:
        raise UsageError(f"--topics {topics} is too many: each wants a subscriber, and there are {clients}")
    credentials = _credentials(lambda key: token_signer(key, jwt_audience, jwt_algorithm), jwt_key, duration)
    _make_room(clients, 2 if sse else 1)
    targets = find_each_target(url or (), port, os.environ)
    for target in targets:
        check_not_stopped(target)
    if clients < len(targets):
        raise UsageError(f"--clients {clients} is too few: each of {len(targets)} servers wants one")
    servers = tuple(target.name for target in targets)
    spread = TopicPlan(topics) if topics else None
    plan = StressPlan(ids=ids, servers=servers, duration=duration, rate=rate, size=size, topics=spread)
    report = _run(plan, lambda: StressRun(plan, _sessions(plan, targets, credentials, sse).__getitem__))
    _print_summary(report, rate, as_json)
    raise typer.Exit(0 if report.clean else 1)


def _credentials(
    made: "Callable[[Path], TokenSigner]", key: "Path | None", duration: float
) -> "Callable[[str], Credential]":
    """Return a function that gives the credential of a client id. A token that is made outlasts the run."""
    from wsctl.client.connection import credential_from

    if key is None:
        credential = credential_from(os.environ)
        return lambda client_id: credential
    signer = made(key)
    return lambda client_id: lambda: signer.sign(client_id, duration + OVERTIME).token


def _sessions(
    plan: "StressPlan",
    targets: "Sequence[Target]",
    credentials: "Callable[[str], Credential]",
    sse: bool,
) -> "dict[str, Session]":
    """Return a session for each client: they are dealt to the servers in turn, each with those behind its own
    to fall back on."""
    from wsctl.client.session import Session
    from wsctl.client.transport import Transport

    routes = [[*targets[n:], *targets[:n]] for n in range(len(targets))]
    return {
        name: Session(
            own,
            name,
            others=others,
            credential=credentials(name),
            topics=plan.topics.patterns(number) if plan.topics else (),
            transport=Transport.EVENT_STREAM if sse else Transport.WEBSOCKET,
        )
        for number, (name, (own, *others)) in enumerate(zip(plan.ids, itertools.cycle(routes), strict=False))
    }


def _make_room(clients: int, each: int) -> None:
    """Raise the limit of open files as far as it goes: so many `each` are for a client, with an event stream
    one more to publish.

    Raises:
        UsageError: it is still too low.
    """
    from wsctl.server.listening.limits import fits, raise_open_files

    limit = raise_open_files()
    if not fits(clients * each + OWN_FILES, limit):
        text = (
            f"--clients {clients} does not fit: {limit} files may be open; raise 'ulimit -Hn' or take fewer"
        )
        raise UsageError(text)


def _run(plan: "StressPlan", create: "Callable[[], StressRun]") -> "StressReport":
    """Run the plan on uvloop, shown on stderr."""
    import asyncio
    import gc

    import uvloop

    gc.set_threshold(COLLECT_AFTER)
    display = _display(plan.duration)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run_shown(create(), display))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        display.stop()


async def _run_shown(run: "StressRun", display: "StressTable | StressLines") -> "StressReport":
    """Carry out the run to its end. The first Ctrl-C ends publishing; before it began, or the second,
    everything."""
    import asyncio
    import signal

    def interrupt() -> None:
        if run.publishing and not run.stopped:
            run.stop()
            display.say("stopping: waiting for what is on its way (Ctrl-C again: not waiting)")
        else:
            running.cancel()

    running = asyncio.create_task(run.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    while not running.done():
        await asyncio.wait([running], timeout=display.interval)
        if not running.done():
            display.show(run.report())
    await running
    return run.report()


def _display(duration: float) -> "StressTable | StressLines":
    from wsctl.cli.ui.streams import console, is_live
    from wsctl.cli.ui.stress_table import StressLines, StressTable

    stream = sys.stderr
    return StressTable(console(stream), duration) if is_live(stream) else StressLines(stream, duration)


def _print_summary(report: "StressReport", rate: float, as_json: bool) -> None:
    """Print the summary on stdout."""
    import json

    from wsctl.cli.ui.streams import console
    from wsctl.cli.ui.stress_table import notes, summary

    if as_json:
        print(json.dumps(report.as_json()))
        return
    screen = console(sys.stdout)
    screen.print(summary(report))
    for sentence in notes(report, rate):
        print(sentence)
