"""The hub's view of a connection, whatever transport carries it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType

from wsctl.codes import CloseCode
from wsctl.frame import Batch, Encoding
from wsctl.hub.bucket import TokenBucket
from wsctl.log.history import Missed

STALL_TIMEOUT = 10.0
"""Seconds without progress after which a client that is behind is cut: more than a phone needs to change
its network, less than a keepalive takes to notice."""

NO_SUBSCRIPTIONS: Mapping[str, bool] = MappingProxyType({})
"""The subscriptions of a connection that has none: one object for all of them."""

NEVER = float("-inf")
"""The time of an event that has not happened, in any clock."""


class EndReason(Enum):
    """The ways in which a connection ends: left by the client, cut by a rule, closed by a drain, aborted
    because it did not answer that close, or handed over to another process, where it goes on."""

    LEFT = "left"
    EVICTED = "evicted"
    FORCED = "forced"
    ABORTED = "aborted"
    HANDED_OVER = "handed_over"


class Connection(ABC):
    """The connection of one client. Nothing here is awaited, so no connection can hold up another.

    Attributes:
        address: the peer as host:port, for people.
        opened: when it was accepted, in the hub's clock.
        serial: its number, which no other connection of the server has; it keeps it in another process, and
            has 0 before it is active.
        subscriptions: the patterns of topics that it subscribes to, and of each whether it wants to know who
            comes and goes.
        commands: whether its client speaks commands (`wsctl.2`) in place of plain texts.
        fd: the descriptor whose kernel buffer takes frames directly; None where something
            (TLS, an ASGI server) stands between.
        behind: true while something waits, so that frames must go through `offer`.
        encoding: the form in which it gets frames.
        lane: its place among the connections that are written to directly.
        bucket: the inbound rate's state, from the first message on.
        keepalive: seconds after which it wants a keepalive when it was sent nothing else; 0 for none.
        last_sent: when one that wants a keepalive was sent something that did not go to all, in the hub's
            clock.
        control_bucket: the same for control frames, from the first ping or unsolicited pong on.
        end_reason, code, reason: why it is no longer active, once it is not.
    """

    __slots__ = (
        "address",
        "behind",
        "bucket",
        "client_id",
        "code",
        "commands",
        "control_bucket",
        "encoding",
        "end_reason",
        "fd",
        "keepalive",
        "lane",
        "last_sent",
        "opened",
        "reason",
        "serial",
        "subscriptions",
    )

    def __init__(
        self,
        client_id: str,
        address: str,
        opened: float,
        fd: int | None = None,
        encoding: Encoding = Encoding.PLAIN,
    ) -> None:
        self.client_id = client_id
        self.address = address
        self.opened = opened
        self.fd = fd
        self.encoding = encoding
        self.behind = False
        self.lane = -1
        self.bucket: TokenBucket | None = None
        self.keepalive = 0
        self.last_sent = opened
        self.control_bucket: TokenBucket | None = None
        self.end_reason: EndReason | None = None
        self.code = 0
        self.reason = ""
        self.serial = 0
        self.commands = False
        self.subscriptions: Mapping[str, bool] = NO_SUBSCRIPTIONS

    @property
    def is_stream(self) -> bool:
        """True if it is an event stream, of which processes of earlier releases know nothing."""
        return self.encoding > Encoding.DEFLATE

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Bytes accepted for this client that the kernel has not taken."""

    @property
    @abstractmethod
    def undelivered(self) -> int:
        """Messages of which no byte was written yet."""

    @abstractmethod
    def offer(self, batch: Batch, written: int = 0) -> None:
        """Send the batch from byte `written` of its encoding on, now or when the socket takes it.

        A client for whom too much waits is closed with 1013.
        """

    @abstractmethod
    def replay(self, missed: Sequence[Batch]) -> None:
        """Send what the client missed, which is not held against its queue."""

    def catch_up(self, missed: Missed) -> None:
        """Send what the client missed, in slices where the transport can do so: behind everything that it was
        sent before, and before everything that comes after."""
        self.replay(list(missed))

    @property
    def replays(self) -> int:
        """Calls of `catch_up` whose messages are not all sent."""
        return 0

    @abstractmethod
    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        """Send what waits, then a close frame. The connection stops being active at once."""

    def replaced(self) -> None:
        """Close the connection, because a newer one has its id."""
        self.close(CloseCode.REPLACED, "replaced by a newer connection of this id", EndReason.EVICTED)

    def asked_to_leave(self, seconds: float | None) -> None:
        """Note that the client was asked to connect again in so many seconds, or with None that it may stay
        after all. One that cannot leave by itself is closed then."""
        return

    def hang_up(self) -> None:
        """Stop waiting for the answer to the close frame, where the transport can do so."""
        return

    @abstractmethod
    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        """End the connection now, without a close frame."""

    @abstractmethod
    def check(self, now: float) -> None:
        """Ping the client if it is quiet, cut it if it is stalled or dead; called once a second."""
