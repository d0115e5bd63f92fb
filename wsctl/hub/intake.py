"""The intake of the frames that clients send."""

from collections import Counter
from collections.abc import Callable, Sequence
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
from wsctl.messages import Allowance
from wsctl.settings import Rate

CONTROL_RATE = Rate(20, 40)
"""The rate of pings and unsolicited pongs that a client may send: far more than any keepalive does. Where
`--rate` is higher, the limit is that; where it is lifted, there is none."""

OF_APPLICATIONS = "application"
"""Stands for all codes of errors that an application chose: it may choose any number."""

_KNOWN = frozenset(ErrorCode)

ForServer = Callable[[Connection, str], bool]
"""Tells whether a client's text was for the server, which then has dealt with it."""


class Intake:
    """Publishes the texts of clients, within their rate and if publishing is on, unless they are
    `for_server` or commands. With `may_publish` that decides of each client whether it publishes to
    everybody. `connections_of` returns the active connections of a client, which share its rate.

    Attributes:
        for_server: tells of a text whether it was for the server, and deals with it.
        for_commands: deals with a text of a client that speaks commands.
        commands: commands that came, by their type, since the start.
        refused: errors that were sent to clients, by their code.
        awaiting: connections whose commands the home of the log has not answered, and how many these are.
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
        may_publish: Callable[[Connection], bool] | None = None,
        connections_of: Callable[[str], Sequence[Connection]] = lambda client_id: (),
    ) -> None:
        self._log = log
        self._rate = rate
        self._control_rate = _of_control_frames(rate)
        self._publish = publish
        self._may_publish = may_publish or (lambda connection: publish)
        self._clock = clock
        self.for_server = for_server
        self.for_commands: Callable[[Connection, str], None] = self._publish_text
        self.commands: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.awaiting: Counter[Connection] = Counter()
        self._connections_of = connections_of
        self.allowances = Allowances(rate, by_address=by_address)
        self.received = 0
        self.received_bytes = 0

    def text(self, connection: Connection, text: str) -> None:
        """Publish one text message of a client to everyone, its sender too, or tell the client why not. Of a
        client that speaks commands it is one."""
        if connection.commands:
            self.for_commands(connection, text)
        elif self.allows(connection):
            self._publish_text(connection, text)

    def _publish_text(self, connection: Connection, text: str) -> None:
        if self.for_server and self.for_server(connection, text):
            return
        if not self._may_publish(connection):
            self._tell(connection, *self.publish_refusal(None))
            return
        self.received += 1
        self._log.append(connection.client_id, text, refused=partial(self._refuse, connection))

    def publish_refusal(self, topic: str | None) -> Refusal:
        """Return the reason why a client may not publish to a topic, or to everybody."""
        if not self._publish:
            return Refusal(ErrorCode.PUBLISH_DISABLED, "this server does not take messages from clients")
        what = "messages without a topic" if topic is None else f"to {topic}"
        return Refusal(ErrorCode.TOPIC_NOT_ALLOWED, f"you may not publish {what}")

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
            why = self._excess_of(bucket)
            self._tell(connection, ErrorCode.RATE_LIMITED, f"{why}: this one was not sent")
        return False

    def excess(self, connection: Connection) -> str | None:
        """Count a command; return the reason where it is beyond the client's rate and not carried out. The
        client is closed with 1008 when it has ignored the limit for too long."""
        bucket = self._bucket(connection)
        if bucket is None or bucket.take(self._rate, self._clock()):
            return None
        if bucket.exhausted(self._rate):
            self._cut(connection)
        return self._excess_of(bucket)

    def _excess_of(self, bucket: TokenBucket) -> str:
        rate = f"more than {self._rate.per_second:g} messages a second"
        return "too many at once from new clients of your address" if bucket.lacks_lender else rate

    def allowance(self, client_id: str) -> Allowance | None:
        """Return the rate that a client has to keep, and what is left of it now; None: as fast as it can."""
        if not self._rate.per_second:
            return None
        bucket = self._bucket_of_others(client_id) or self.allowances.find(client_id)
        left = bucket.left(self._rate, self._clock()) if bucket else self._rate.burst
        return Allowance(*self._rate, left)

    def left(self, connection: Connection) -> None:
        """Keep the bucket of a client that has left: it may come back before that is full."""
        if connection.bucket and not any(
            other.bucket is connection.bucket
            for other in self._connections_of(connection.client_id)
            if other is not connection
        ):
            self.allowances.keep(connection, self._clock())

    def _bucket(self, connection: Connection) -> TokenBucket | None:
        if self._rate.per_second and connection.bucket is None:
            # All connections of a client have one bucket: the rate is the client's.
            of_others = self._bucket_of_others(connection.client_id)
            connection.bucket = of_others or self.allowances.of(connection, self._clock())
        return connection.bucket

    def _bucket_of_others(self, client_id: str) -> TokenBucket | None:
        """Return the bucket that a connection of this client has already; None: it has sent nothing yet."""
        for other in self._connections_of(client_id):
            if other.bucket:
                return other.bucket
        return None

    def _cut(self, connection: Connection) -> None:
        reason = "the rate limit was ignored for too long"
        connection.close(CloseCode.POLICY_VIOLATION, reason, EndReason.EVICTED)

    def note_refusal(self, code: str) -> None:
        """Count an error that a client is sent."""
        self.refused[code if code in _KNOWN else OF_APPLICATIONS] += 1

    def _refuse(self, connection: Connection, why: Refusal) -> None:
        if connection.end_reason is None:
            self._tell(connection, *why)

    def _tell(self, connection: Connection, code: str, text: str) -> None:
        self.note_refusal(code)
        connection.offer(Batch((messages.error(code, text),)))


def _of_control_frames(rate: Rate) -> Rate:
    """Return the rate of control frames where that of messages is `rate`."""
    if not rate.per_second:
        return rate
    return Rate(max(rate.per_second, CONTROL_RATE.per_second), max(rate.burst, CONTROL_RATE.burst))
