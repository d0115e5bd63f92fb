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
    from wsctl.cli.servers import NamedAnswer, ServerWatch
    from wsctl.cli.ui.tables import Seen
    from wsctl.client.target import Target

    Show = Callable[[list[NamedAnswer]], None]

INTERVAL = 1.0
"""Seconds between two looks of `--watch`."""

UNCUT = 1000
"""Columns of a table that goes into a file or a pipe: the longest row is shorter."""


def status(
    *,
    clients: Annotated[bool, typer.Option("--clients", help="List the clients too.")] = False,
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

    if not watch:
        _show_once(scan(), clients, as_json)
        return
    watched = ServerWatch(scan)
    with _display(clients, as_json) as show:
        code = _watch(watched, clients, show)
    raise typer.Exit(code)


def _show_once(targets: list["Target"], clients: bool, as_json: bool) -> None:
    from wsctl.cli.servers import ask_all
    from wsctl.client.control import Control

    seen, failures = [], []
    controls = [Control(target, waiting=say) for target in targets]
    for control, reply in zip(controls, ask_all(controls, lambda one: one.status(clients)), strict=True):
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


def _watch(watched: "ServerWatch", clients: bool, show: "Show") -> ExitCode:
    """Show the servers until Ctrl-C, or until the last of them is gone."""
    try:
        while True:
            seen = watched.look(clients)
            if seen:
                show(seen)
            if watched.over:
                return watched.exit_code
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        return ExitCode.DONE


@contextmanager
def _display(clients: bool, as_json: bool) -> Iterator["Show"]:
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
            yield lambda seen: picture.show(blocks(_read(seen), screen.height))
        finally:
            picture.stop()
    elif clients:
        raise UsageError("--watch --clients draws a table, and this is no terminal: add --json")
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
    screen.print(blocks(_read(seen)))


def _read(answers: list["NamedAnswer"]) -> list["Seen"]:
    from wsctl.client.control import read_status

    return [(name, read_status(told)) for name, told in answers]
