"""`wsctl status`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.options import Json, Port, Url
from wsctl.cli.ui.text import say
from wsctl.codes import ExitCode
from wsctl.errors import UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.cli.servers import Ask, NamedAnswer, ServerWatch
    from wsctl.cli.ui.tables import Seen
    from wsctl.client.control import Answer, Control
    from wsctl.client.target import Target
    from wsctl.control.status import TopicList

    Show = Callable[[list[NamedAnswer]], None]

INTERVAL = 1.0
"""Seconds between two looks of `--watch`."""

TOPIC_LIST = "topic_list"
"""The field of a status as JSON that has the topics, when they are asked for."""

UNCUT = 1000
"""Columns of a table that goes into a file or a pipe: the longest row is shorter."""


def status(
    *,
    clients: Annotated[bool, typer.Option("--clients", help="List the clients too.")] = False,
    topics: Annotated[
        bool, typer.Option("--topics", help="List the topics with subscribers or kept messages too.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it once a second, until Ctrl-C.")] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Show phase, connections, rates and drain of the servers of this machine, or of one elsewhere."""
    from wsctl.cli.servers import ServerWatch
    from wsctl.client.target import find_all_targets

    def scan() -> "list[Target]":
        return find_all_targets(url, port, os.environ)

    ask = _asking(clients, topics)
    if not watch:
        _show_once(scan(), ask, as_json)
        return
    watched = ServerWatch(scan)
    listing = " ".join(flag for flag, given in (("--clients", clients), ("--topics", topics)) if given)
    with _display(listing, as_json) as show:
        code = _watch(watched, ask, show)
    raise typer.Exit(code)


def _asking(clients: bool, topics: bool) -> "Ask":
    """Return a function that asks a server for its status, with the topics beside it, if they are wanted."""

    def ask(control: "Control") -> "Answer":
        told = control.status(clients)
        return told | {TOPIC_LIST: control.topics()} if topics else told

    return ask


def _show_once(targets: list["Target"], ask: "Ask", as_json: bool) -> None:
    from wsctl.cli.servers import ask_all
    from wsctl.client.control import Control

    seen, failures = [], []
    controls = [Control(target, waiting=say) for target in targets]
    for control, reply in zip(controls, ask_all(controls, ask), strict=True):
        if isinstance(reply, WsctlError):
            failures.append(reply)
        else:
            seen.append((control.name, reply))
    if seen:
        (_print_json if as_json else _print_blocks)(seen)
    for failure in failures[1:]:
        say(str(failure))
    if failures:
        raise failures[0]


def _watch(watched: "ServerWatch", ask: "Ask", show: "Show") -> ExitCode:
    """Show the servers until Ctrl-C, or until the last of them is gone."""
    try:
        while True:
            seen = watched.look(ask)
            if seen:
                show(seen)
            if watched.over:
                return watched.exit_code
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        return ExitCode.DONE


@contextmanager
def _display(listing: str, as_json: bool) -> Iterator["Show"]:
    from wsctl.cli.ui.live import Picture
    from wsctl.cli.ui.streams import console, is_live
    from wsctl.cli.ui.tables import blocks

    if as_json:
        yield _print_json
    elif is_live(sys.stdout):
        screen = console(sys.stdout)
        # What is told on stderr goes above the picture when both are the same terminal.
        picture = Picture(screen, redirect_stderr=sys.stderr.isatty())
        try:
            yield lambda seen: picture.show(blocks(_read(seen), screen.height, _read_topics(seen)))
        finally:
            picture.stop()
    elif listing:
        raise UsageError(f"--watch {listing} draws a table, and this is no terminal: add --json")
    else:
        yield _print_lines


def _print_json(seen: list["NamedAnswer"]) -> None:
    from wsctl.cli.servers import each_client_once

    for facts in each_client_once([facts for _, facts in seen]):
        print(json.dumps(facts), flush=True)


def _print_lines(seen: list["NamedAnswer"]) -> None:
    from wsctl.cli.ui.tables import line

    for name, status in _read(seen):
        print(line(name, status), flush=True)


def _print_blocks(seen: list["NamedAnswer"]) -> None:
    from wsctl.cli.ui.streams import console
    from wsctl.cli.ui.tables import blocks

    screen = console(sys.stdout)
    if not sys.stdout.isatty():
        screen.width = UNCUT
    screen.print(blocks(_read(seen), topics=_read_topics(seen)))


def _read(answers: list["NamedAnswer"]) -> list["Seen"]:
    from wsctl.client.control import read_status

    return [(name, read_status(told)) for name, told in answers]


def _read_topics(answers: list["NamedAnswer"]) -> "list[TopicList | None]":
    from wsctl.client.control import read_topics

    return [read_topics(told[TOPIC_LIST]) if TOPIC_LIST in told else None for _, told in answers]
