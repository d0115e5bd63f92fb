"""The status of a server: what it tells operators, other processes of it, and in part anyone.

In JSON each class is an object with its fields. A phase is a `Phase`, unless a newer version has others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from wsctl.control.encoding import decode, encode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectedClient, DrainProgress, HandoverProgress, RouteCount

PHASE: Any = {"json_schema_extra": {"enum": [*Phase]}}
"""The metadata of a field with a phase, for its schema: a newer version may have others."""


@dataclass(frozen=True, slots=True)
class PhaseStatus:
    """The phase of the server."""

    status: str = field(metadata=PHASE)


@dataclass(frozen=True, slots=True)
class Health:
    """The facts that anyone may know."""

    status: str = field(metadata=PHASE)
    connections: int
    uptime_s: float
    version: str
    degraded: bool = field(
        metadata={"description": "It takes no messages: its Redis, its journal or its parent is away."}
    )


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """Counts of messages, or their rates."""

    ABSENT: ClassVar = {"published": 0, "received": 0, "delivered": 0}

    published: float
    received: float
    delivered: float


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """The bytes that wait for clients: for all of the `clients` that are behind, and for the one with the
    most. `slowest` are a few of them, those with the most first."""

    clients: int
    bytes: int
    largest: int
    slowest: tuple[ConnectedClient, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryTime:
    """The time it took to offer what one iteration of the event loop gathered to all its clients, over the
    last ten seconds; None when nothing was offered. `longest_s` is the bound of the histogram's bucket that
    the longest one is in."""

    offers: int
    mean_s: float | None
    longest_s: float | None


@dataclass(frozen=True, slots=True)
class RedisState:
    """A server's Redis: up or away, for how many seconds, and why; `unreadable` are the things in it that
    were skipped."""

    ABSENT: ClassVar = {"url": "", "for_s": 0.0, "why": None, "unreadable": 0}

    url: str
    state: str
    for_s: float
    why: str | None
    unreadable: int

    @property
    def is_up(self) -> bool:
        return self.state == "up"


@dataclass(frozen=True, slots=True)
class JournalState:
    """A server's journal: up or away, for how many seconds, and why. `sync` is that of `--journal-sync`,
    `bytes` is its size on disk, and `waiting` are the messages that are not committed yet."""

    ABSENT: ClassVar = {"sync": "", "for_s": 0.0, "why": None, "bytes": 0, "waiting": 0}

    path: str
    sync: str
    state: str
    for_s: float
    why: str | None
    bytes: int
    waiting: int

    @property
    def is_up(self) -> bool:
        return self.state == "up"


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One of the servers that share a Redis, as of its last sign of life; `started` is in Unix seconds."""

    ABSENT: ClassVar = {
        "host": "",
        "pid": 0,
        "url": None,
        "version": "",
        "generation": 1,
        "phase": "",
        "connections": 0,
        "started": 0.0,
        "this": False,
    }

    host: str
    pid: int
    url: str | None
    version: str
    generation: int
    phase: str
    connections: int
    started: float
    node: str
    this: bool


@dataclass(frozen=True, slots=True)
class ClusterTotal:
    """The nodes of a cluster, and the clients of all of them."""

    nodes: int
    connections: int

    @classmethod
    def of(cls, nodes: Sequence[ClusterNode]) -> "ClusterTotal":
        return cls(len(nodes), sum(node.connections for node in nodes))


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A client that is connected: one row a connection. Of clients of other servers less is known; `node` is
    where it is, among servers that share a Redis."""

    ABSENT: ClassVar = {"address": None, "waiting_bytes": None}
    OMITTED: ClassVar = {"node", "topics", "connections", "transport"}

    client_id: str
    address: str | None
    connected_s: float
    waiting_bytes: int | None
    node: str | None = None
    topics: tuple[str, ...] | None = field(
        default=None, metadata={"description": "What it has subscribed to; absent without a subscription."}
    )
    connections: int | None = field(
        default=None, metadata={"description": "How many connections its id has, where it has several."}
    )
    transport: str | None = field(
        default=None,
        metadata={"description": "`websocket` or `stream`; absent for clients of other servers."},
    )

    @classmethod
    def numbered(cls, rows: Iterable["ClientStatus"]) -> "tuple[ClientStatus, ...]":
        """Return the rows of all connections, those of an id that has several with their number."""
        found = list(rows)
        counts = Counter(row.client_id for row in found)
        return tuple(
            replace(row, connections=n) if (n := counts[row.client_id]) > 1 else row for row in found
        )


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """A topic that has subscribers or kept messages. `subscribers` are connections, those with a matching
    pattern among them; `bytes` is the size of the kept messages' frames."""

    topic: str
    subscribers: int
    messages: int
    bytes: int
    newest_id: str | None = field(metadata={"description": "Of the kept messages; null when there is none."})


@dataclass(frozen=True, slots=True)
class TopicList:
    """Topics in the order of their names."""

    topics: tuple[TopicStatus, ...]
    more: bool = field(metadata={"description": "Whether there are others behind these."})


@dataclass(frozen=True, slots=True)
class ApplicationStatus:
    """The connections of an application of one's own, which count among all: its WebSockets, its requests
    without their whole answer, and the routes with the most of both."""

    websockets: int
    responses: int
    routes: tuple[RouteCount, ...] = ()

    @property
    def connections(self) -> int:
        """The number of both kinds."""
        return self.websockets + self.responses


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One of several workers; `silent` says that it does not answer. `of_application` is how many of its
    connections are not a hub's clients."""

    number: int
    pid: int
    status: str
    connections: int
    silent: bool = False
    of_application: int = 0


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """All workers together, of which a worker tells beside its own status; `pid` is their parent's."""

    ABSENT: ClassVar = {"status": "", "connections": 0, "drain": None, "upgrade": None, "workers": ()}

    status: str
    connections: int
    drain: DrainProgress | None
    upgrade: HandoverProgress | None
    workers: tuple[WorkerStatus, ...]
    pid: int


@dataclass(frozen=True, slots=True)
class LoadSample:
    """The load of a server over some seconds that ended `at`, in Unix seconds; rates are per second, and
    `delivery_s` and `longest_delivery_s` are those of `DeliveryTime`."""

    at: float
    connections: int
    streams: int
    published: float
    received: float
    delivered: float
    delivery_s: float | None
    longest_delivery_s: float | None
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """The load of a server over the last hour, oldest first: one sample in `interval_s` seconds."""

    interval_s: float
    samples: tuple[LoadSample, ...]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The facts that operators may know; rates are per second over the last ten."""

    ABSENT: ClassVar = {
        "degraded": None,
        "generation": 1,
        "upgrade": None,
        "subscriptions": 0,
        "topics": 0,
        "streams": 0,
        "pending": 0,
        "outbox": {"clients": 0, "bytes": 0, "largest": 0},
        "delivery": {"offers": 0, "mean_s": None, "longest_s": None},
    }
    OMITTED: ClassVar = {"tasks", "clients", "client_ids", "group", "workers", "application", "admin"}

    status: str = field(metadata=PHASE)
    connections: int
    uptime_s: float
    version: str
    degraded: str | None = field(
        metadata={"description": "Why it takes no messages: its Redis, its journal or its parent is away."}
    )
    pid: int
    capacity: int | None
    closing: int
    newest_id: str
    messages: MessageCounts
    rates: MessageCounts
    drain: DrainProgress | None
    generation: int
    upgrade: HandoverProgress | None
    subscriptions: int = field(metadata={"description": "Patterns that connections have subscribed to."})
    topics: int = field(metadata={"description": "Topics of which messages are kept."})
    streams: int = field(metadata={"description": "Those of the connections that are event streams."})
    pending: int = field(
        metadata={"description": "Connections of clients' address that are none yet: HTTP, and handshakes."}
    )
    outbox: OutboxStatus
    delivery: DeliveryTime
    client_ids: int | None = field(
        default=None,
        metadata={"description": "Ids that are connected; only where --connections-per-id is not 1."},
    )
    tasks: int | None = field(default=None, metadata={"description": "Of one process alone."})
    redis: RedisState | None = None
    journal: JournalState | None = None
    nodes: tuple[ClusterNode, ...] | None = None
    cluster: ClusterTotal | None = None
    clients: tuple[ClientStatus, ...] | None = field(
        default=None, metadata={"description": "Only when asked for."}
    )
    group: WorkerGroup | None = field(default=None, metadata={"description": "Only of a worker."})
    workers: tuple[WorkerStatus, ...] | None = field(
        default=None, metadata={"description": "Only of all workers together."}
    )
    application: ApplicationStatus | None = field(
        default=None, metadata={"description": "Only where an application of one's own is served."}
    )
    admin: str | None = field(
        default=None, metadata={"description": "The URL of the admin address; only where there is one."}
    )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "ServerStatus":
        """Read the status that a server of this or another version told.

        Raises:
            KeyError, TypeError, ValueError: the other version is too different.
        """
        return decode(cls, told)

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON object."""
        found: dict[str, Any] = encode(self)
        return found
