"""The facts of a drain and of a handover: the counts that go in, and the progress that comes out. The bar,
the log and `status` all read these."""

from dataclasses import dataclass, fields
from enum import StrEnum

from wsctl.drain.phases import Phase

LONGEST = 5
"""Clients that are named while a drain lasts: as many as a person can look into before the next picture."""


@dataclass(frozen=True, slots=True)
class ConnectedClient:
    """A client that is still there: seconds connected, and bytes it has not taken yet."""

    client_id: str
    connected_s: float
    waiting_bytes: int


class ConnectionKind(StrEnum):
    """The kinds of an application's connections."""

    WEBSOCKET = "websocket"
    RESPONSE = "response"
    """A request without its whole answer: a stream, a download, or work that takes long."""


@dataclass(frozen=True, slots=True)
class RouteCount:
    """The number of connections of a kind at one route of an application."""

    kind: ConnectionKind
    route: str
    connections: int


@dataclass(frozen=True, slots=True)
class EndingCounts:
    """The counts of an application's connections that ended, by what ended them first; `aborted` of these had
    their task cancelled. They never become less."""

    left: int
    by_policy: int
    forced: int
    aborted: int


@dataclass(frozen=True, slots=True)
class ClientCounts:
    """The counts of connected clients, and of connections that ended since the start, by how they ended.

    An application's connections count as clients; `websockets` and `responses` are how many of the active are
    its, and `routes` those with the most of them. `longest` are a few clients, oldest first.
    """

    active: int = 0
    closing: int = 0
    left: int = 0
    evicted: int = 0
    forced: int = 0
    aborted: int = 0
    undelivered: int = 0
    handed_over: int = 0
    longest: tuple[ConnectedClient, ...] = ()
    by_policy: int = 0
    websockets: int = 0
    responses: int = 0
    routes: tuple[RouteCount, ...] = ()

    def plus(self, other: "ClientCounts") -> "ClientCounts":
        """Return the sums of these counts and others, and the names of both."""
        return ClientCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """A drain as it stands: counts of clients, and seconds.

    `left` by themselves, `evicted` by a limit, `forced` closed at the deadline or by the operator,
    `aborted` of those without an answer; `undelivered` messages that waited for aborted ones. They are
    counted from when the clients were told; `handed_over` to a successor, which was before, is all there
    were. `oldest` is the id of the client connected longest, `longest` are a few of them, oldest first.
    `remaining_s` is the time to the deadline; `eta_s` the time until the last has left if they go on
    leaving as they do, None while nobody leaves. `waiting_for` is how many servers of its cluster drain, or
    wait to, before this one, which stays a lameduck until then; 0 when it has its turn.

    Of an application of one's own: `by_policy` were closed as `--drain-policy` says, `websockets` and
    `responses` are how many of the active are its, and `routes` where most of them are.
    """

    phase: Phase
    reason: str
    cancellable: bool
    started_with: int
    active: int
    elapsed_s: float
    remaining_s: float
    left: int
    evicted: int
    forced: int
    aborted: int
    undelivered: int
    oldest: str | None
    handed_over: int = 0
    eta_s: float | None = None
    longest: tuple[ConnectedClient, ...] = ()
    waiting_for: int = 0
    by_policy: int = 0
    websockets: int = 0
    responses: int = 0
    routes: tuple[RouteCount, ...] = ()

    @property
    def waits(self) -> bool:
        """True if the drain waits for its turn to tell the clients."""
        return self.phase is Phase.LAMEDUCK and self.waiting_for > 0


class HandoverState(StrEnum):
    """The states of a handover."""

    STARTING = "starting"
    """The successor was started and is not ready yet; nothing has changed for clients."""
    MOVING = "moving"
    """The successor has the log; connections move."""
    DONE = "done"
    """Every connection that can move has moved."""
    FAILED = "failed"
    """The server goes on as if nothing had been asked."""


@dataclass(frozen=True, slots=True)
class HandoverProgress:
    """A handover as it stands: counts of clients, and seconds.

    `successor` is its pid, once it was started; `total` were connected when the move began, `moved` of
    them are with the successor, `staying` cannot move and drain here, connections of an application too;
    `silence_s` is the longest time in which one of the moved could neither receive nor be heard; `error` says
    why it failed.
    """

    state: HandoverState
    successor: int | None
    total: int
    moved: int
    staying: int
    elapsed_s: float
    silence_s: float
    error: str | None


def how_it_went(progress: DrainProgress) -> str:
    """Describe the end of a drain in words: what there was, and nothing of what there was not."""
    told = [
        (progress.left, "left by itself" if progress.left == 1 else "left by themselves"),
        (progress.evicted, "closed for breaking a limit"),
        (progress.by_policy, "closed by policy"),
        (progress.forced, "closed by force"),
        (progress.aborted, "cut without an answer"),
        (progress.handed_over, "handed over"),
        (progress.undelivered, f"{'message' if progress.undelivered == 1 else 'messages'} not delivered"),
    ]
    return ", ".join(f"{count} {words}" for count, words in told if count) or "nobody was connected"
