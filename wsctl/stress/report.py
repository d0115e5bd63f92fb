"""The report of a stress run: facts, for people and programs to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsctl.stress.timing import Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class StressReport:
    """A run as it stands. Deliveries count each message once for each client.

    Attributes:
        servers: the number of connected clients of each server.
        duration_s: seconds since publishing began, until it ended.
        missed: due and not received; during the run, of messages that are not on their way any more.
        not_subscribed: deliveries of messages with a topic that the client does not subscribe to.
        unconfirmed: messages that nobody received and that may never have reached the server.
        close_codes, refused, errors: how often a connection ended with a code, a handshake was answered
            with a status, a message was answered with an error.
        reconnects: connections after each client's first one, of which `resumed` went on without a gap.
        unrecovered: how often a client was told that messages are lost to it, when it came back or on a
            connection that stayed open while its server was degraded.
        degraded: how often a client was told that its server is degraded.
        planned: connections that ended at the moment which the server had named.
        replayed: deliveries, to a client that had resumed or whose server had been degraded, of messages
            sent before that was over.
        failures: attempts to connect that reached nobody.
        latency: from sending to receiving, without what was replayed; None when there is nothing else.
        silence_s: longest time that any client received no message of the run while publishing went on;
            never less than the pause between two messages. None when none was sent.
        lag_s: longest time by which the run's own event loop was late.
    """

    clients: int
    connected: int
    servers: Mapping[str, int]
    duration_s: float
    sent: int
    delivered: int
    delivered_per_s: float
    expected: int
    missed: int
    duplicated: int
    out_of_order: int
    not_subscribed: int
    unconfirmed: int
    reconnects: int
    resumed: int
    unrecovered: int
    degraded: int
    planned: int
    replayed: int
    failures: int
    close_codes: Mapping[int, int]
    refused: Mapping[int, int]
    errors: Mapping[str, int]
    latency: Quantiles | None
    silence_s: float | None
    lag_s: float

    @property
    def away(self) -> int:
        """Clients that are not connected."""
        return self.clients - self.connected

    @property
    def clean(self) -> bool:
        """True if every client received what was for it and nothing else, once and in order, and is still
        there: of one that did not come back nobody knows what it will miss."""
        wrong = self.missed or self.duplicated or self.out_of_order or self.not_subscribed
        return not (wrong or self.unconfirmed or self.away)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "clients": self.clients,
            "connected": self.connected,
            "servers": dict(self.servers),
            "duration_s": round(self.duration_s, 3),
            "sent": self.sent,
            "delivered": self.delivered,
            "expected": self.expected,
            "missed": self.missed,
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
            "not_subscribed": self.not_subscribed,
            "unconfirmed": self.unconfirmed,
            "reconnects": self.reconnects,
            "resumed": self.resumed,
            "unrecovered": self.unrecovered,
            "degraded": self.degraded,
            "planned": self.planned,
            "replayed": self.replayed,
            "failures": self.failures,
            "close_codes": {str(code): n for code, n in sorted(self.close_codes.items())},
            "refused": {str(status): n for status, n in sorted(self.refused.items())},
            "errors": dict(sorted(self.errors.items())),
            "latency_ms": self._latency_ms(),
            "silence_ms": None if self.silence_s is None else milliseconds(self.silence_s),
            "lag_ms": milliseconds(self.lag_s),
        }

    def _latency_ms(self) -> dict[str, float | None]:
        found = self.latency
        names = ("p50", "p95", "p99", "max")
        return {name: milliseconds(getattr(found, name)) if found else None for name in names}


def milliseconds(seconds: float) -> float:
    """Convert seconds to milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)
