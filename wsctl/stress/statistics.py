"""The statistics of a stress run: what happened to its clients and its messages goes in, the report comes
out. No I/O."""

import secrets
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from wsctl.client.events import (
    DEGRADED,
    UNCONFIRMED,
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
)
from wsctl.stress.ledger import Ledger
from wsctl.stress.report import StressReport
from wsctl.stress.timing import LatencyHistogram, QuietTime
from wsctl.stress.topic_ledger import TopicLedger
from wsctl.stress.topic_plan import TopicPlan

TEXTS_REMEMBERED = 16
"""Texts whose reading is remembered: each comes once for every client, nearly all of them in a row."""

SAMPLE_INTERVAL = 0.1
"""Seconds between two calls of `sample`."""

WINDOW = 20
"""Samples that a message has to arrive before the report of a run under way calls it missed, and over which
the rate of deliveries is taken."""


class Probe(NamedTuple):
    """One message of a run; `sent_at` is in seconds of the run's clock."""

    number: int
    sent_at: float


def probe_text(run: str, probe: Probe, size: int) -> str:
    """Return the text of a message, padded to `size` bytes; longer when its facts take more. ASCII."""
    return f"{run} {probe.number} {probe.sent_at:.6f} ".ljust(size, "x")


def read_probe(run: str, text: object) -> Probe | None:
    """Return the message in a text; None when it is not one of this run."""
    return _parse(run, text) if isinstance(text, str) else None


@lru_cache(TEXTS_REMEMBERED)
def _parse(run: str, text: str) -> Probe | None:
    if not text.startswith(f"{run} "):
        return None
    try:
        _, number, sent_at, _ = text.split(" ", 3)
        return Probe(int(number), float(sent_at))
    except ValueError:
        return None


def order_of(message_id: object) -> tuple[int, ...] | None:
    """Return what orders an id among others. For clients ids are opaque: only a test of the server may look
    into them."""
    parts = message_id.split("-") if isinstance(message_id, str) else [""]
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None


class _Sample(NamedTuple):
    at: float
    sent: int
    delivered: int


class RunStatistics:
    """The statistics of one run, for clients with these ids, on these servers. A client is named by its place
    among them. Times are in seconds of one clock, and arguments.

    Attributes:
        ledger: the messages.
        connected: the clients that are connected.
        began, ended: the moments at which publishing began and ended; None before.
    """

    def __init__(
        self, ids: Sequence[str], servers: Sequence[str] = (), topics: TopicPlan | None = None
    ) -> None:
        self.ledger = TopicLedger(len(ids), topics.subscribers(len(ids))) if topics else Ledger(len(ids))
        self._topics = topics
        self.connected: set[int] = set()
        self.began: float | None = None
        self.ended: float | None = None
        self._ids = frozenset(ids)
        self._run = secrets.token_hex(4)
        self._latency = LatencyHistogram()
        self._quiet_time = QuietTime(len(ids))
        self._servers = tuple(servers)
        self._server_of = [""] * len(ids)
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
        self._max_lag = 0.0
        self._samples: deque[_Sample] = deque(maxlen=WINDOW)

    def begin(self, now: float) -> None:
        """Note that publishing begins."""
        self.began = now
        self._quiet_time.begin(now)

    def send(self, sender: int, now: float, size: int) -> str:
        """Return the text of the next message, `size` bytes, which a client is about to send."""
        number = self.ledger.send(sender)
        return probe_text(self._run, Probe(number, now), size)

    def record(self, client: int, event: Event, now: float) -> None:
        """Record an event of a client."""
        match event:
            case Received(frame):
                self._record_frame(client, frame, now)
            case Opened():
                self._record_opened(client, event, now)
            case ServerDegraded():
                self._record_degraded(client)
            case ServerRestored():
                self._record_restored(client, event, now)
            case Moved():
                self._planned += 1
                self.connected.discard(client)
            case Closed(code):
                self._close_codes[code] += 1
                self._record_lost(client)
            case HandshakeRefused(status):
                self._refused[status] += 1
                self._record_lost(client)
            case ConnectFailed():
                self._failures += 1
                self._record_lost(client)

    def server(self, client: int) -> str:
        """Return the server that a client was on last; empty before the first one."""
        return self._server_of[client]

    def sample(self, now: float, late: float) -> None:
        """Record by how many seconds the event loop was late; called every `SAMPLE_INTERVAL` seconds."""
        self._max_lag = max(self._max_lag, late)
        self._samples.append(_Sample(now, self.ledger.sent, self.ledger.delivered))

    def report(self, now: float, final: bool) -> StressReport:
        """Return the run as it stands; `final` when nothing can arrive any more."""
        ledger = self.ledger
        oldest = self._samples[0] if self._samples else _Sample(now, 0, ledger.delivered)
        settled = oldest.sent if len(self._samples) == WINDOW else 0
        return StressReport(
            clients=len(self._ids),
            connected=len(self.connected),
            servers=self._connected_by_server(),
            duration_s=0.0 if self.began is None else (self.ended or now) - self.began,
            sent=ledger.sent,
            delivered=ledger.delivered,
            delivered_per_s=(ledger.delivered - oldest.delivered) / max(now - oldest.at, SAMPLE_INTERVAL),
            expected=ledger.expected,
            missed=ledger.missed if final else ledger.missed_below(settled),
            duplicated=ledger.duplicated,
            out_of_order=ledger.out_of_order,
            not_subscribed=ledger.not_subscribed,
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
            silence_s=self._quiet_time.longest(self.ended or now) if ledger.sent else None,
            lag_s=self._max_lag,
        )

    def _connected_by_server(self) -> dict[str, int]:
        """Count the connected clients of each server."""
        found = Counter(self._server_of[client] for client in self.connected)
        return {server: found[server] for server in self._servers}

    def _record_opened(self, client: int, opened: Opened, now: float) -> None:
        self._opened += 1
        self._resumed += opened.recovered
        self._unrecovered += opened.gap
        self._recovered[client] = now if opened.recovered else 0.0
        self._server_of[client] = opened.server
        self.connected.add(client)
        self.ledger.accept(client, DEGRADED)
        if opened.degraded:
            self._record_degraded(client)

    def _record_degraded(self, client: int) -> None:
        self._degraded += 1
        self.ledger.refuse(client, DEGRADED)

    def _record_restored(self, client: int, restored: ServerRestored, now: float) -> None:
        """Note that a client's server is whole again. What it kept for the client follows; what it did not
        keep is lost, as behind any other gap."""
        self._unrecovered += not restored.recovered
        self._recovered[client] = now if restored.recovered else 0.0
        self.ledger.accept(client, DEGRADED)

    def _record_frame(self, client: int, frame: dict[str, Any], now: float) -> None:
        kind = frame.get("type")
        if kind == "message" and frame.get("from") in self._ids:
            found = read_probe(self._run, frame.get("data"))
            if found and found.number < self.ledger.sent:
                self._record_delivery(client, found, now, frame)
        elif kind in ("ok", "error") and (number := self._number_in(frame)) is not None:
            if kind == "ok":
                self.ledger.acknowledge(number)
            else:
                self._errors[str(frame.get("code"))] += 1
                self.ledger.reject(number)
        elif kind == "error":
            code = str(frame.get("code"))
            self._errors[code] += 1
            if code == UNCONFIRMED:  # those that follow are taken
                self.ledger.disconnect(client)
            else:
                self.ledger.refuse(client, code)

    def _number_in(self, frame: dict[str, Any]) -> int | None:
        """Return the number of the message that an answer is about."""
        ref = frame.get("ref")
        number = int(ref) if isinstance(ref, str) and ref.isdecimal() else None
        return number if number is not None and number < self.ledger.sent else None

    def _record_delivery(self, client: int, found: Probe, now: float, frame: dict[str, Any]) -> None:
        if self.ended is None:
            self._quiet_time.receive(client, now)
        topic = self._topics.name(found.number) if self._topics else None
        if frame.get("topic") != topic:
            self.ledger.not_subscribed += 1
            return
        if not self.ledger.receive(client, found.number, order_of(frame.get("id"))):
            return
        if found.sent_at < self._recovered[client]:
            self._replayed += 1
        else:
            self._latency.record(now - found.sent_at)

    def _record_lost(self, client: int) -> None:
        self.connected.discard(client)
        self.ledger.disconnect(client)
