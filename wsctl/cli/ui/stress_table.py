"""A stress run for people: a live table or lines, and the summary."""

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.text import Text

from wsctl.cli.ui.live import Picture
from wsctl.cli.ui.text import clock, measured, printable
from wsctl.codes import CloseCode
from wsctl.stress.report import StressReport

LAG_WORTH_TELLING = 0.1
"""Seconds that the run's own loop may be late before its latencies are in doubt."""

ENOUGH = 0.9
"""Share of the messages asked for below which the summary says that they were fewer."""

Row = tuple[str, str, str]
"""A row of the table: name, value, style."""


class StressTable:
    """Shows a run in place, for as long as it lasts."""

    interval = 0.25

    def __init__(self, console: Console, duration: float) -> None:
        self._duration = duration
        self._live = Picture(console, transient=True, redirect_stdout=False)

    def show(self, report: StressReport) -> None:
        rows = [("stress", _elapsed(report, self._duration), "bold"), *_rows(report, _so_far(report))]
        self._live.show(_table(rows))

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(text)

    def stop(self) -> None:
        """Take the table away."""
        self._live.stop()


class StressLines:
    """Shows a run where nothing can be drawn over: a line now and then."""

    interval = 10.0

    def __init__(self, stream: TextIO, duration: float) -> None:
        self._stream = stream
        self._duration = duration

    def show(self, report: StressReport) -> None:
        told = [f"{name} {value}" for name, value, _ in _rows(report, _so_far(report))]
        line = f"stress: {', '.join([_elapsed(report, self._duration), *told])}"
        print(line, file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        print(text, file=self._stream, flush=True)

    def stop(self) -> None:
        """Do nothing: there is nothing to take away."""


def summary(report: StressReport) -> Text:
    """Return the summary of a run, once it is over."""
    rows = _rows(report, f"{report.delivered} of {report.expected}")
    return _table([("duration", clock(report.duration_s), ""), *rows])


def notes(report: StressReport, rate: float) -> list[str]:
    """Return the sentences that one has to know to read the figures. `rate` is the one asked for, in messages
    a second."""
    asked = int(rate * report.duration_s)
    told = {
        f"At the end {report.away} of {report.clients} clients were not connected: what they will miss is "
        "not known.": report.away,
        f"Unrecovered: {report.unrecovered} times a client was told that it has lost messages, because the "
        "server's history no longer reached back.": report.unrecovered,
        f"Degraded: {report.degraded} times a client was told that its server takes no messages for now. "
        "Those sent meanwhile were refused or came late.": report.degraded,
        f"{report.replayed} deliveries came late, behind a reconnect or a degraded server: they count as "
        "delivered, and are left out of the latency.": report.replayed,
        f"No client was without a message for longer than {measured(report.silence_s or 0.0)}, reconnects "
        "included.": report.reconnects and report.silence_s,
        "Unconfirmed messages reached nobody: they were sent on a connection that ended, or the server "
        "refused them.": report.unconfirmed,
        f"{report.not_subscribed} messages came to a client that does not subscribe to their "
        "topic.": report.not_subscribed,
        "The server refused messages because a client sent too many: take more --clients or a lower "
        "--rate.": report.errors.get("rate_limited"),
        "The server closed connections because a message was too big (1009): take a smaller --size, or start "
        "it with a larger --max-message-size.": report.close_codes.get(CloseCode.MESSAGE_TOO_BIG),
        f"{report.sent} messages were sent, not the {asked} asked for: clients or server could not keep up, "
        "or clients were away.": report.sent < ENOUGH * asked,
        f"This process was up to {measured(report.lag_s)} late by itself: the latencies include its own "
        "lag.": report.lag_s > LAG_WORTH_TELLING,
    }
    return [sentence for sentence, applies in told.items() if applies]


def _rows(report: StressReport, delivered: str) -> list[Row]:
    rows = [
        ("connected", f"{report.connected} of {report.clients}", ""),
        *_servers(report),
        ("sent", f"{report.sent}", ""),
        ("delivered", delivered, ""),
        ("missed", f"{report.missed}", _alarm(report.missed)),
        ("duplicated", f"{report.duplicated}", _alarm(report.duplicated)),
        ("out of order", f"{report.out_of_order}", _alarm(report.out_of_order)),
        *([("not subscribed", f"{n}", _alarm(n))] if (n := report.not_subscribed) else []),
        ("latency", _latency(report), ""),
        ("silence", "-" if report.silence_s is None else f"{measured(report.silence_s)} at most", ""),
    ]
    seldom = [
        ("unconfirmed", f"{report.unconfirmed}" if report.unconfirmed else ""),
        ("reconnects", _reconnects(report)),
        ("closed", _counts(report.close_codes)),
        ("refused", _counts(report.refused)),
        ("unreachable", f"{report.failures}" if report.failures else ""),
        ("degraded", f"{report.degraded}" if report.degraded else ""),
        ("errors", _counts(report.errors)),
    ]
    return rows + [(name, value, "yellow") for name, value in seldom if value]


def _servers(report: StressReport) -> list[Row]:
    """Count the clients of each server, when there are several servers."""
    if len(report.servers) < 2:
        return []
    return [("on", f"{printable(server)}: {count}", "") for server, count in report.servers.items()]


def _table(rows: list[Row]) -> Text:
    """Return one line for each row, with no blanks at its end."""
    width = max(len(name) for name, _, _ in rows)
    lines = [Text.assemble((name.ljust(width), "dim"), "  ", (value, style)) for name, value, style in rows]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _so_far(report: StressReport) -> str:
    return f"{report.delivered} ({report.delivered_per_s:.0f}/s)"


def _elapsed(report: StressReport, duration: float) -> str:
    return f"{clock(report.duration_s)} of {clock(duration)}"


def _latency(report: StressReport) -> str:
    found = report.latency
    if not found:
        return "-"
    names = ("p50", "p95", "p99", "max")
    return "  ".join(f"{name} {measured(getattr(found, name))}" for name in names)


def _reconnects(report: StressReport) -> str:
    """Say how many reconnects there were, and of what kind."""
    kinds = {"resumed": report.resumed, "unrecovered": report.unrecovered, "planned": report.planned}
    told = [f"{name} {count}" for name, count in kinds.items() if count]
    return "  ".join([str(report.reconnects), *told]) if report.reconnects or told else ""


def _alarm(count: int) -> str:
    return "bold red" if count else "green"


def _counts(found: Mapping[int, int] | Mapping[str, int]) -> str:
    return "  ".join(f"{printable(str(name))} x{count}" for name, count in found.items())
