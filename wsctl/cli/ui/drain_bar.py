"""A drain for people: a live bar with the log undisturbed above it, or lines."""

import logging
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.layout import BAR_WIDTH, ECHO, GAP, LINE_EVERY, MIN_BAR, row
from wsctl.cli.ui.live import Picture
from wsctl.cli.ui.text import clock, printable
from wsctl.codes import ExitCode
from wsctl.control.status import ApplicationStatus
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectedClient, DrainProgress, how_it_went
from wsctl.server.logs import tolerate_lost_reader

REFRESH = 0.25
"""Seconds between two pictures of the bar."""

SHORT_BAR, MIN_OLDEST = 12, 14
"""Columns: of the shortest bar for which everything goes into one line, and of the shortest id worth
showing."""


class ConsoleHandler(logging.Handler):
    """Log lines through rich's console, which keeps a live display below them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.line(self.format(record))
        except Exception:
            self.handleError(record)

    def line(self, text: str) -> None:
        """Print a line, whose colours stay."""
        with tolerate_lost_reader(self._console.file):
            self._console.print(Text.from_ansi(text), soft_wrap=True)


Hint = Callable[[DrainProgress], str]
"""A function that says what Ctrl-C does next."""


def at_the_server(progress: DrainProgress) -> str:
    """Say what Ctrl-C does next where the server runs. The first signal only makes a requested drain
    final."""
    if progress.phase is Phase.CLOSING:
        return "Ctrl-C: do not wait for their answers"
    return f"Ctrl-C{' twice' if progress.cancellable else ''}: close everybody now"


class DrainBar:
    """Shows a drain's progress in place, for as long as it lasts, and below it what Ctrl-C does."""

    interval = REFRESH

    def __init__(self, console: Console, hint: Hint = at_the_server) -> None:
        self._console = console
        self._hint = hint
        self._live: Picture | None = None
        self._retired = False
        self._too_soon = False

    def retire(self) -> None:
        """Draw nothing from here on: another process has the terminal."""
        self._retired = True
        self.stop()

    def intervened(self, step: Intervention) -> None:
        """Answer a Ctrl-C that came too soon, whatever the log shows. The rest is told by the log, above the
        bar."""
        self._too_soon = step.kind is InterventionKind.TOO_SOON

    def began(self, progress: DrainProgress) -> None:
        self.stop()
        if self._retired:
            return
        self._live = Picture(self._console, transient=True, redirect_stdout=False)
        self.progressed(progress)

    def progressed(self, progress: DrainProgress) -> None:
        if self._live:
            with tolerate_lost_reader(self._console.file):
                self._live.show(self._picture(progress))

    def cancelled(self) -> None:
        self.stop()

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        if self._live:
            with tolerate_lost_reader(self._console.file):
                self._live.stop()
            self._live = None

    def _picture(self, progress: DrainProgress) -> Group:
        width = self._console.width - ECHO
        words = self._hint(progress)
        if self._too_soon:
            words = words.replace("Ctrl-C:", "Ctrl-C again:", 1)
        hint = Text(words, style="dim")
        hint.truncate(width, overflow="ellipsis")
        return Group(picture(progress, width), *_application(progress, width), hint)


class DrainLines:
    """Shows a drain's progress where nothing can be drawn over: a line now and then.

    `progressed` may be called more often than lines are printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0

    def began(self, progress: DrainProgress) -> None:
        self._line(progress)

    def progressed(self, progress: DrainProgress) -> None:
        if progress.elapsed_s >= self._next:
            self._line(progress)

    def stop(self) -> None:
        """Do nothing: there is nothing to take away."""

    def _line(self, progress: DrainProgress) -> None:
        self._next = progress.elapsed_s + LINE_EVERY
        print(standing(progress), file=self._stream, flush=True)


def standing(progress: DrainProgress) -> str:
    """Describe a drain as it stands, in one line."""
    return f"{progress.phase}: {figures(progress)}"


def figures(progress: DrainProgress) -> str:
    """Say how many are left of how many, elapsed, remaining, and when the last may have left; first of all
    whether the drain waits for its turn."""
    words = [
        *_turn(progress),
        f"{progress.active} of {progress.started_with} connected",
        f"elapsed {clock(progress.elapsed_s)}",
        f"remaining {clock(progress.remaining_s)}",
        *_eta(progress),
    ]
    own = _of_application(progress)
    return ", ".join(words) + (f" ({breakdown(own)})" if own.connections else "")


def outcome(progress: DrainProgress) -> str:
    """Describe how a drain ended, in one line."""
    return f"drained in {clock(progress.elapsed_s)}: {how_it_went(progress)}"


def picture(progress: DrainProgress, width: int) -> Table | Group:
    """Draw how many are left of how many, elapsed, remaining, ETA, and which clients have been there longest;
    if the drain waits for its turn, that comes first.

    One line where `width` columns hold it, else two; what does not fit there is cut or left out: of those
    who are there longest all but the first, and what is known of it, then the bar and the id, then figures.
    """
    phase = Text(": ".join([progress.phase.capitalize(), *_turn(progress)]), style="bold")
    count = Text(f"{progress.active} of {progress.started_with} connected")
    elapsed = Text(f"elapsed {clock(progress.elapsed_s)}", style="dim")
    times = [Text(f"remaining {clock(progress.remaining_s)}", style="cyan")]
    times += [Text(eta, style="cyan") for eta in _eta(progress)]
    told = (phase, count, elapsed, *times)
    bar = min(BAR_WIDTH, width - _cells(*told, _named(progress)) - GAP)
    if bar >= SHORT_BAR:
        longest = _longest(progress, width - _cells(*told) - bar - 2 * GAP)
        return row(phase, _bar(progress, bar), count, elapsed, *times, *longest)
    room = width - _cells(phase, count) - GAP
    first: list[Text | ProgressBar] = [phase, count]
    if room >= MIN_BAR:
        first.insert(1, _bar(progress, min(room, BAR_WIDTH)))
    elif room < -GAP and progress.waits:
        first.pop()  # why nothing moves says more
    fitting = (some for some in ([elapsed, *times], times) if _cells(*some) <= width)
    second = next(fitting, times[:1])
    return Group(row(*first), row(*second, *_longest(progress, width - _cells(*second) - GAP)))


def breakdown(application: ApplicationStatus) -> str:
    """Describe the connections of an application of one's own: how many of each kind, and where most are."""
    kinds = [
        (application.websockets, "WebSocket" if application.websockets == 1 else "WebSockets"),
        (application.responses, "response" if application.responses == 1 else "responses"),
    ]
    counts = ", ".join(f"{count} {kind}" for count, kind in kinds if count) or "no connections"
    routes = ", ".join(f"{printable(each.route)} {each.connections}" for each in application.routes)
    return f"{counts}: {routes}" if routes else counts


def described(client: ConnectedClient) -> str:
    """Describe a client that is still there: how long it has been, and what waits for it."""
    waiting = f" ({decimal(client.waiting_bytes)} waiting)" if client.waiting_bytes else ""
    return f"{printable(client.client_id)} {clock(client.connected_s)}{waiting}"


def _of_application(progress: DrainProgress) -> ApplicationStatus:
    return ApplicationStatus(progress.websockets, progress.responses, progress.routes)


def _application(progress: DrainProgress, width: int) -> list[Text]:
    """Return the line with the application's own connections, cut at `width` columns; none without them."""
    own = _of_application(progress)
    if not own.connections:
        return []
    line = Text(f"application: {breakdown(own)}", style="dim")
    line.truncate(width, overflow="ellipsis")
    return [line]


def _turn(progress: DrainProgress) -> list[str]:
    return [f"waits for its turn, {progress.waiting_for} before it"] if progress.waits else []


def _eta(progress: DrainProgress) -> list[str]:
    return [] if progress.eta_s is None else [f"ETA {clock(progress.eta_s)}"]


def _named(progress: DrainProgress) -> Text:
    return Text(f"longest: {printable(progress.oldest)}" if progress.oldest else "", style="dim")


def _longest(progress: DrainProgress, room: int) -> list[Text]:
    """Name the clients that have been there longest, as many and as fully as `room` columns hold; none where
    they hold no id."""
    told = [described(client) for client in progress.longest]
    several = [Text("longest: " + ", ".join(told[:n]), style="dim") for n in range(len(told), 0, -1)]
    for shown in (*several, _named(progress)):
        if shown and shown.cell_len <= room:
            return [shown]
    if not progress.oldest or room < MIN_OLDEST:
        return []
    cut = _named(progress)
    cut.truncate(room, overflow="ellipsis")
    return [cut]


def _cells(*parts: Text) -> int:
    return sum(part.cell_len for part in parts) + GAP * (len(parts) - 1)


def _bar(progress: DrainProgress, width: int) -> ProgressBar:
    gone = progress.started_with - progress.active
    return ProgressBar(total=max(1, progress.started_with), completed=gone, width=width)
