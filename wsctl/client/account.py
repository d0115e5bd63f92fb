"""The account of a load: what its sessions tell goes in, the facts of the run come out. No I/O."""

import secrets
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from wsctl.client import probe
from wsctl.client.events import (
    DEGRADED,
    UNCONFIRMED,
    Closed,
    Degraded,
    Event,
    Failed,
    Moved,
    Opened,
    Received,
    Refused,
    Restored,
)
from wsctl.client.latency import Latency
from wsctl.client.ledger import Ledger
from wsctl.client.probe import Probe
from wsctl.client.report import LoadReport
from wsctl.client.silence import Silence

BEAT = 0.1
"""Seconds between two calls of `beat`."""

WINDOW = 20
"""Beats that a message has to arrive before the report of a run under way calls it missed, and over which
the rate of deliveries is taken."""


class _Mark(NamedTuple):
    at: float
    sent: int
    delivered: int


class Account:
    """The account of one run, for clients with these ids, on these servers. A client is named by its place
    among them. Times are in seconds of one clock, and arguments.

    Attributes:
        ledger: the messages.
        connected: the clients that are connected.
        began, ended: the moments at which publishing began and ended; None before.
    """

    def __init__(self, ids: Sequence[str], servers: Sequence[str] = ()) -> None:
        self.ledger = Ledger(len(ids))
        self.connected: set[int] = set()
        self.began: float | None = None
        self.ended: float | None = None
        self._ids = frozenset(ids)
        self._run = secrets.token_hex(4)
        self._latency = Latency()
        self._silence = Silence(len(ids))
        self._servers = tuple(servers)
        self._reached = [""] * len(ids)
        # When each client came back to what it had missed; 0 for one whose connection recovered nothing.
        self._recovered = array("d", [0.0]) * len(ids)
        self._opened = 0
        self._resumed = 0
        self._unrecovered = 0
        self._degraded = 0
        self._planned = 0
        self._replayed = 0
        self._failures = 0
        self._close_codes: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()
        self._lag = 0.0
        self._marks: deque[_Mark] = deque(maxlen=WINDOW)

    def begin(self, now: float) -> None:
        """Note that publishing begins."""
        self.began = now
        self._silence.begin(now)

    def send(self, sender: int, now: float, size: int) -> str:
        """Return the text of the next message, `size` bytes, which a client is about to send."""
        number = self.ledger.send(sender)
        return probe.written(self._run, Probe(number, now), size)

    def take(self, client: int, event: Event, now: float) -> None:
        """Enter an event of a client."""
        match event:
            case Received(frame):
                self._receive(client, frame, now)
            case Opened():
                self._open(client, event, now)
            case Degraded():
                self._fall(client)
            case Restored():
                self._restore(client, event, now)
            case Moved():
                self._planned += 1
                self.connected.discard(client)
            case Closed(code):
                self._close_codes[code] += 1
                self._lose(client)
            case Refused(status):
                self._refused[status] += 1
                self._lose(client)
            case Failed():
                self._failures += 1
                self._lose(client)

    def server(self, client: int) -> str:
        """Return the server that a client was on last; empty before the first one."""
        return self._reached[client]

    def beat(self, now: float, late: float) -> None:
        """Enter by how many seconds the event loop was late; called every `BEAT` seconds."""
        self._lag = max(self._lag, late)
        self._marks.append(_Mark(now, self.ledger.sent, self.ledger.delivered))

    def report(self, now: float, final: bool) -> LoadReport:
        """Return the run as it stands; `final` when nothing can arrive any more."""
        ledger = self.ledger
        mark = self._marks[0] if self._marks else _Mark(now, 0, ledger.delivered)
        settled = mark.sent if len(self._marks) == WINDOW else 0
        return LoadReport(
            clients=len(self._ids),
            connected=len(self.connected),
            servers=self._where(),
            duration_s=0.0 if self.began is None else (self.ended or now) - self.began,
            sent=ledger.sent,
            delivered=ledger.delivered,
            delivered_per_s=(ledger.delivered - mark.delivered) / max(now - mark.at, BEAT),
            expected=ledger.expected,
            missed=ledger.missed if final else ledger.missed_below(settled),
            duplicated=ledger.duplicated,
            out_of_order=ledger.out_of_order,
            unconfirmed=ledger.unconfirmed,
            reconnects=max(0, self._opened - len(self._ids)),
            resumed=self._resumed,
            unrecovered=self._unrecovered,
            degraded=self._degraded,
            planned=self._planned,
            replayed=self._replayed,
            failures=self._failures,
            close_codes=dict(self._close_codes),
            refused=dict(self._refused),
            errors=dict(self._errors),
            latency=self._latency.quantiles(),
            silence_s=self._silence.longest(self.ended or now) if ledger.sent else None,
            lag_s=self._lag,
        )

    def _where(self) -> dict[str, int]:
        """Count the connected clients of each server."""
        found = Counter(self._reached[client] for client in self.connected)
        return {server: found[server] for server in self._servers}

    def _open(self, client: int, opened: Opened, now: float) -> None:
        self._opened += 1
        self._resumed += opened.recovered
        self._unrecovered += opened.gap
        self._recovered[client] = now if opened.recovered else 0.0
        self._reached[client] = opened.server
        self.connected.add(client)
        self.ledger.accept(client, DEGRADED)
        if opened.degraded:
            self._fall(client)

    def _fall(self, client: int) -> None:
        self._degraded += 1
        self.ledger.refuse(client, DEGRADED)

    def _restore(self, client: int, restored: Restored, now: float) -> None:
        """Note that a client's server is whole again. What it kept for the client follows; what it did not
        keep is lost, as behind any other gap."""
        self._unrecovered += not restored.recovered
        self._recovered[client] = now if restored.recovered else 0.0
        self.ledger.accept(client, DEGRADED)

    def _receive(self, client: int, frame: dict[str, Any], now: float) -> None:
        kind = frame.get("type")
        if kind == "message" and frame.get("from") in self._ids:
            found = probe.read(self._run, frame.get("data"))
            if found and found.number < self.ledger.sent:
                self._deliver(client, found, now)
        elif kind == "error":
            code = str(frame.get("code"))
            self._errors[code] += 1
            if code == UNCONFIRMED:  # those that follow are taken
                self.ledger.disconnect(client)
            else:
                self.ledger.refuse(client, code)

    def _deliver(self, client: int, found: Probe, now: float) -> None:
        if self.ended is None:
            self._silence.hear(client, now)
        if not self.ledger.receive(client, found.number):
            return
        if found.sent_at < self._recovered[client]:
            self._replayed += 1
        else:
            self._latency.record(now - found.sent_at)

    def _lose(self, client: int) -> None:
        self.connected.discard(client)
        self.ledger.disconnect(client)
