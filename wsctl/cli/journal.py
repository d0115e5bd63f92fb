"""`wsctl journal`."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsctl.cli.options import Json, Port
from wsctl.errors import Unreachable, UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.control.status import JournalState
    from wsctl.log.journal.reader import JournalSummary

UNCUT = 1000
"""Columns of a table that goes into a file or a pipe: the longest row is shorter."""


def journal(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="The journal; without it, the one of the server on this machine.",
            show_default=False,
        ),
    ] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read it all, and check that no message is damaged.")
    ] = False,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Show the size, the span and the messages of a journal, also while a server writes it.

    With --verify exit code 1 when the file is damaged.
    """
    if file is not None and port is not None:
        raise UsageError("FILE and --port both choose a journal: give one of them")
    path = str(file) if file is not None else _path_of_server(port)
    found, problems = _read(path, deep=verify)
    state = None if found.writer is None else _state_of(path)
    if as_json:
        print(json.dumps(_as_json(path, found, state) | _verified(problems)))
    else:
        _show(path, found, state, problems)
    if problems:
        raise WsctlError(_damaged(path, problems))


def _read(path: str, *, deep: bool) -> "tuple[JournalSummary, list[str] | None]":
    """Return the facts about a journal, and if `deep` the problems that it has."""
    from wsctl.log.journal import require_sqlite

    require_sqlite()
    from wsctl.log.journal.errors import UnusableJournal
    from wsctl.log.journal.reader import summarize, verify

    try:
        return summarize(path), list(verify(path)) if deep else None
    except UnusableJournal as error:
        raise WsctlError(f"the journal {path}: {error}; {error.cure}") from None


def _path_of_server(port: int | None) -> str:
    from wsctl.cli.ui.text import say
    from wsctl.client.control import Control, read_status
    from wsctl.client.target import find_target

    try:
        target = find_target(None, port, os.environ)
    except Unreachable:
        if port is not None:
            raise
        raise Unreachable("no server runs here, whose journal could be meant: name the file of one") from None
    status = read_status(Control(target, waiting=say).status())
    if status.journal is None:
        raise UsageError(f"{target.name} has no journal: name the file of one")
    return status.journal.path


def _state_of(path: str) -> "JournalState | None":
    """Return the state of a journal as the server of this user's that writes it tells it; None when none
    does."""
    from wsctl.cli.servers import ask_all
    from wsctl.client.control import Control, read_status
    from wsctl.client.target import find_all_targets

    try:
        controls = [Control(target) for target in find_all_targets(None, None, os.environ)]
    except WsctlError:
        return None
    for reply in ask_all(controls, lambda control: control.status()):
        # One that cannot be asked, or tells something else, is not the one that is looked for.
        with suppress(WsctlError):
            state = None if isinstance(reply, WsctlError) else read_status(reply).journal
            if state and _is_same_file(state.path, path):
                return state
    return None


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _as_json(path: str, found: "JournalSummary", state: "JournalState | None") -> dict[str, Any]:
    from wsctl.cli.ui.text import timestamp
    from wsctl.log.message_log import written

    def message(message_id: "tuple[int, int] | None") -> dict[str, str] | None:
        return message_id and {"id": written(message_id), "time": timestamp(message_id[0] / 1000)}

    return {
        "path": os.path.abspath(path),
        "version": found.version,
        "bytes": found.file_bytes + found.wal_bytes,
        "wal_bytes": found.wal_bytes,
        "messages": found.messages,
        "message_bytes": found.message_bytes,
        "direct": found.direct,
        "topics": found.topics,
        "floor": written(found.floor),
        "oldest": message(found.oldest),
        "newest": message(found.newest),
        "sync": state.sync if state else None,
        "in_use": found.writer is not None,
        "pid": found.writer or None,
    }


def _verified(problems: list[str] | None) -> dict[str, Any]:
    return {} if problems is None else {"sound": not problems, "problems": problems}


def _show(
    path: str, found: "JournalSummary", state: "JournalState | None", problems: list[str] | None
) -> None:
    from wsctl.cli.ui.journal_table import journal_table
    from wsctl.cli.ui.streams import console

    screen = console(sys.stdout)
    if not sys.stdout.isatty():
        screen.width = UNCUT
    screen.print(journal_table(path, found, state, problems))


def _damaged(path: str, problems: list[str]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    cure = "move it away, with its -wal file, and a new one is begun"
    return f"the journal {path} is damaged: {count}; {cure}"
