"""What becomes of the frames that clients send."""

from collections.abc import Callable
from functools import partial

from wsctl import messages
from wsctl.codes import CloseCode, ErrorCode
from wsctl.hub.allowances import Allowances
from wsctl.hub.bucket import TokenBucket
from wsctl.hub.connection import Connection, Ending
from wsctl.hub.frame import Batch
from wsctl.hub.log import MessageLog, Refusal
from wsctl.settings import Rate

CONTROL_RATE = Rate(20, 40)
"""Pings, and pongs that nobody asked for, which a client may send: far more than any keepalive does. Where
`--rate` is higher, as many as that; where it is lifted, any number."""

ForServer = Callable[[Connection, str], bool]
"""Whether a client's text was for the server, which has dealt with it."""


class Intake:
    """A client's text becomes a message, within its rate and if publishing is on, unless it is `for_server`.

    Attributes:
        allowances: what clients may still send.
        received: messages taken from clients, since the start.
        received_bytes: what clients sent, as far as it is seen: their frames, or under another server their
            texts.
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
        self._for_server = for_server
        self.allowances = Allowances(rate, by_address=by_address)
        self.received = 0
        self.received_bytes = 0

    def text(self, connection: Connection, text: str) -> None:
        """One text message of a client. Sent to everyone, its sender too."""
        if not self.allows(connection):
            return
        if self._for_server and self._for_server(connection, text):
            return
        if not self._publish:
            text = "this server does not take messages from clients"
            self._tell(connection, ErrorCode.PUBLISH_DISABLED, text)
            return
        self.received += 1
        self._log.append(connection.client_id, text, refused=partial(self._refuse, connection))

    def binary(self, connection: Connection) -> None:
        """Binary data is not a message here."""
        reason = "binary frames are not accepted: send text"
        connection.close(CloseCode.UNSUPPORTED_DATA, reason, Ending.EVICTED)

    def control(self, connection: Connection) -> None:
        """A ping, or a pong that answers none of ours: never refused and no message, but a flood is cut."""
        rate, now = self._control_rate, self._clock()
        if not rate.per_second:
            return
        bucket = connection.control_bucket = connection.control_bucket or TokenBucket(rate.burst, now)
        if not bucket.take(rate, now) and bucket.exhausted(rate):
            self._cut(connection)

    def allows(self, connection: Connection) -> bool:
        """Whether one more frame is within the client's rate; says so to the client when not."""
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
        """A client is gone; it may come back before its bucket is full."""
        if connection.bucket:
            self.allowances.keep(connection, self._clock())

    def _bucket(self, connection: Connection) -> TokenBucket | None:
        if self._rate.per_second and connection.bucket is None:
            connection.bucket = self.allowances.of(connection, self._clock())
        return connection.bucket

    def _cut(self, connection: Connection) -> None:
        reason = "the rate limit was ignored for too long"
        connection.close(CloseCode.POLICY_VIOLATION, reason, Ending.EVICTED)

    def _refuse(self, connection: Connection, why: Refusal) -> None:
        if connection.ending is None:
            self._tell(connection, *why)

    def _tell(self, connection: Connection, code: ErrorCode, text: str) -> None:
        connection.offer(Batch((messages.error(code, text),)))


def _of_control_frames(rate: Rate) -> Rate:
    """Their rate where that of messages is `rate`."""
    if not rate.per_second:
        return rate
    return Rate(max(rate.per_second, CONTROL_RATE.per_second), max(rate.burst, CONTROL_RATE.burst))
