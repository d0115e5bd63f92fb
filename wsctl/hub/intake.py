"""The intake of the frames that clients send."""

from collections.abc import Callable
from functools import partial
from typing import Any

from wsctl import messages
from wsctl.codes import CloseCode, ErrorCode
from wsctl.frame import Batch
from wsctl.hub.allowances import Allowances
from wsctl.hub.bucket import TokenBucket
from wsctl.hub.connection import Connection, EndReason
from wsctl.log.home import Refusal
from wsctl.log.message_log import MessageLog
from wsctl.settings import Rate

CONTROL_RATE = Rate(20, 40)
"""The rate of pings and unsolicited pongs that a client may send: far more than any keepalive does. Where
`--rate` is higher, the limit is that; where it is lifted, there is none."""

ForServer = Callable[[Connection, str], bool]
"""Tells whether a client's text was for the server, which then has dealt with it."""


class Intake:
    """Publishes the texts of clients, within their rate and if publishing is on, unless they are
    `for_server`.

    Attributes:
        for_server: tells of a text whether it was for the server, and deals with it.
        allowances: the rate limit's state of each client.
        received: messages taken from clients, since the start.
        received_bytes: bytes that clients sent, as far as they are seen: of their frames, or under another
            server of their texts.
    """

    def __init__(
        self,
        log: MessageLog,
        rate: Rate,
        publish: bool,
        clock: Callable[[], float],
        for_server: ForServer | None = None,
        *,
        by_address: bool = False,
    ) -> None:
        self._log = log
        self._rate = rate
        self._control_rate = _of_control_frames(rate)
        self._publish = publish
        self._clock = clock
        self.for_server = for_server
        self.allowances = Allowances(rate, by_address=by_address)
        self.received = 0
        self.received_bytes = 0

    def text(self, connection: Connection, text: str) -> None:
        """Publish one text message of a client to everyone, its sender too, or tell the client why not."""
        if not self.allows(connection):
            return
        if self.for_server and self.for_server(connection, text):
            return
        if not self._publish:
            text = "this server does not take messages from clients"
            self._tell(connection, ErrorCode.PUBLISH_DISABLED, text)
            return
        self.received += 1
        self._log.append(connection.client_id, text, refused=partial(self._refuse, connection))

    def publish(self, connection: Connection, data: Any) -> None:
        """Publish data in the name of a client.

        Raises:
            ValueError: they are not JSON.
        """
        self.received += 1
        self._log.append(connection.client_id, data, refused=partial(self._refuse, connection))

    def tell(self, connection: Connection, code: str, text: str) -> None:
        """Send a client an `error` frame, if it is still there."""
        if connection.end_reason is None:
            self._tell(connection, code, text)

    def binary(self, connection: Connection) -> None:
        """Close a client that sent binary data, which is not accepted, with 1003."""
        reason = "binary frames are not accepted: send text"
        connection.close(CloseCode.UNSUPPORTED_DATA, reason, EndReason.EVICTED)

    def control(self, connection: Connection) -> None:
        """Count a ping or an unsolicited pong: it is never refused, but a flood of them closes the client
        with 1008."""
        rate, now = self._control_rate, self._clock()
        if not rate.per_second:
            return
        bucket = connection.control_bucket = connection.control_bucket or TokenBucket(rate.burst, now)
        if not bucket.take(rate, now) and bucket.exhausted(rate):
            self._cut(connection)

    def allows(self, connection: Connection) -> bool:
        """Tell whether one more frame is within the client's rate; if not, send it an error, or close it with
        1008 when it has ignored the limit for too long."""
        bucket = self._bucket(connection)
        if bucket is None or bucket.take(self._rate, now := self._clock()):
            return True
        if bucket.exhausted(self._rate):
            self._cut(connection)
        elif bucket.remind(now):
            rate = f"more than {self._rate.per_second:g} messages a second"
            why = "too many at once from new clients of your address" if bucket.lacks_lender else rate
            self._tell(connection, ErrorCode.RATE_LIMITED, f"{why}: this one was not sent")
        return False

    def left(self, connection: Connection) -> None:
        """Keep the bucket of a client that has left: it may come back before that is full."""
        if connection.bucket:
            self.allowances.keep(connection, self._clock())

    def _bucket(self, connection: Connection) -> TokenBucket | None:
        if self._rate.per_second and connection.bucket is None:
            connection.bucket = self.allowances.of(connection, self._clock())
        return connection.bucket

    def _cut(self, connection: Connection) -> None:
        reason = "the rate limit was ignored for too long"
        connection.close(CloseCode.POLICY_VIOLATION, reason, EndReason.EVICTED)

    def _refuse(self, connection: Connection, why: Refusal) -> None:
        if connection.end_reason is None:
            self._tell(connection, *why)

    def _tell(self, connection: Connection, code: str, text: str) -> None:
        connection.offer(Batch((messages.error(code, text),)))


def _of_control_frames(rate: Rate) -> Rate:
    """Return the rate of control frames where that of messages is `rate`."""
    if not rate.per_second:
        return rate
    return Rate(max(rate.per_second, CONTROL_RATE.per_second), max(rate.burst, CONTROL_RATE.burst))
