"""What the hub knows of a connection, whatever carries it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum

from wsctl.codes import CloseCode
from wsctl.hub.bucket import TokenBucket
from wsctl.hub.frame import Batch
from wsctl.hub.replays import Missed

STALL_TIMEOUT = 10.0
"""Seconds without progress after which a client that is behind is cut: more than a phone needs to change
its network, less than a keepalive takes to notice."""

CLOSE_TIMEOUT = 10.0
"""Seconds a peer has to answer a close frame before the connection is aborted (as `websockets`)."""


NEVER = float("-inf")
"""The time of what has not happened, in any clock."""


class Ending(Enum):
    """How a stay ended: by the client, cut by a rule, closed by a drain, without an answer to that, or not
    at all, for it goes on in another process."""

    LEFT = "left"
    EVICTED = "evicted"
    FORCED = "forced"
    ABORTED = "aborted"
    HANDED_OVER = "handed_over"


class Connection(ABC):
    """One client. Nothing here is awaited, so none of them can hold up another.

    Attributes:
        address: the peer as host:port, for people.
        opened: when it was accepted, in the hub's clock.
        fd: the descriptor whose kernel buffer takes frames directly; None where something
            (TLS, an ASGI server) stands between.
        behind: something waits, so that frames must go through `offer`.
        deflate: whether it negotiated permessage-deflate.
        lane: its place among the connections that are written to directly.
        bucket: the inbound rate's state, from the first message on.
        keepalive: seconds after which it wants a sign of life when it was sent nothing else; 0 for none.
        told: when it was last sent something that did not go to all, in the hub's clock.
        control_bucket: the same for control frames, from the first that answers none of ours.
        ending, code, reason: why it is no longer active, once it is not.
    """

    __slots__ = (
        "address",
        "behind",
        "bucket",
        "client_id",
        "code",
        "control_bucket",
        "deflate",
        "ending",
        "fd",
        "keepalive",
        "lane",
        "opened",
        "reason",
        "told",
    )

    def __init__(
        self, client_id: str, address: str, opened: float, fd: int | None = None, deflate: bool = False
    ) -> None:
        self.client_id = client_id
        self.address = address
        self.opened = opened
        self.fd = fd
        self.deflate = deflate
        self.behind = False
        self.lane = -1
        self.bucket: TokenBucket | None = None
        self.keepalive = 0
        self.told = opened
        self.control_bucket: TokenBucket | None = None
        self.ending: Ending | None = None
        self.code = 0
        self.reason = ""

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
        """The same, as far as it goes at a time."""
        self.replay(list(missed))

    @abstractmethod
    def close(self, code: int, reason: str, ending: Ending) -> None:
        """Send what waits, then a close frame. It stops being active at once."""

    def replaced(self) -> None:
        """Close it, because a newer connection has its id."""
        self.close(CloseCode.REPLACED, "replaced by a newer connection of this id", Ending.EVICTED)

    def hang_up(self) -> None:
        """Wait for no answer to the close frame, where that can be."""
        return

    @abstractmethod
    def abort(self, reason: str, ending: Ending = Ending.EVICTED) -> None:
        """End it now, without a close frame."""

    @abstractmethod
    def check(self, now: float) -> None:
        """Once a second: ping the quiet, cut the stalled and the dead."""
