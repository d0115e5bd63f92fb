"""A journal for people: what is in its file, and the problems that were found in it."""

import time
from collections.abc import Sequence

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.text import clock, printable, timestamp
from wsctl.control.status import JournalState
from wsctl.log.history import MessageId
from wsctl.log.journal.reader import JournalSummary
from wsctl.log.message_log import written


def journal_table(
    path: str, found: JournalSummary, state: JournalState | None, problems: Sequence[str] | None
) -> Group:
    """Draw a journal: `state` is what the server tells that writes it, `problems` are those of a
    verification; None without one."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, value in _rows(found, state):
        rows.add_row(f"  {name}", Text(value))
    for n, (text, style) in enumerate(_verdict(problems)):
        rows.add_row("" if n else "  verified", Text(text, style=style))
    title = Text(printable(path), style="bold")
    return Group(title.append(f"  {_user(found)}, version {found.version}", "not bold dim"), rows)


def _rows(found: JournalSummary, state: JournalState | None) -> list[tuple[str, str]]:
    size = decimal(found.file_bytes + found.wal_bytes)
    wal = f", of it {decimal(found.wal_bytes)} write-ahead log" if found.wal_bytes else ""
    return [
        ("size", f"{size}{wal}"),
        ("messages", _messages(found)),
        ("oldest", _message(found.oldest)),
        ("newest", _message(found.newest)),
        *([("sync", printable(state.sync))] if state else []),
    ]


def _messages(found: JournalSummary) -> str:
    direct = f", {found.direct} of them direct" if found.direct else ""
    topics = f", of {found.topics} topic{'s' * (found.topics > 1)}" if found.topics else ""
    return f"{found.messages}{direct}{topics}, {decimal(found.message_bytes)}"


def _user(found: JournalSummary) -> str:
    if found.writer is None:
        return "no server writes it"
    return f"pid {found.writer} writes it" if found.writer else "another process writes it"


def _message(message_id: MessageId | None) -> str:
    if message_id is None:
        return "-"
    moment = message_id[0] / 1000
    return f"{written(message_id)}, {timestamp(moment)}, {clock(max(0.0, time.time() - moment))} ago"


def _verdict(problems: Sequence[str] | None) -> list[tuple[str, str]]:
    if problems is None:
        return []
    return [(printable(problem), "bold red") for problem in problems] or [("sound", "green")]
