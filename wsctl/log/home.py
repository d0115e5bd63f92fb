"""The home of a log, which gives its messages their ids: this process, the parent of workers, a journal on
disk, a Redis, or the other process of a handover. Whichever it is, the law is the same:

order                    ids only grow, and every process delivers messages in the order of their ids
at most once per key     a draft that is passed on again under its key gets no second id
delivered only if kept   a message is kept by its home, and in the history here as far as that reaches, before
                         a client or its publisher hears of it
refused: not published   one that is refused with `DEGRADED` has no id and gets none; `UNCONFIRMED` refuses
                         one of which nobody knows
heard once               a publisher hears of each message once, by a receipt or a refusal

A log and its home speak like this:

    MessageLog                            Home
    next_id: of a message            -->       answers at once, where the home is this process; or else
    publish: a draft                 -->
                                     <--  take: a message that is kept, in the order of all
                                     <--  refuse: a draft by its key, and why
                                     <--  repeat: a draft that came again and was taken before, by its key
                                     <--  answer_repeated: one whose idempotency key was seen before
                                     <--  restore: what is kept there, when it begins, or after a loss
                                     <--  cut_off, back: it is away and refuses all; it answers again

A process begins with its home by `begin` and leaves it by `end`. A log moves to another home, and back, by
`MessageLog.move_to`: drafts under way are passed on again. A process that is replaced lets go of its home by
`suspend`, and the home of its successor goes on by `resume_at`, from the point that this returned. Whoever
follows the log in another process is its `Follower`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.log.history import Entry, MessageId

Receipt = Callable[[str, int], None]
"""Called with a message's id and how many clients it was sent to."""


class Away(Exception):
    """The error raised when a home did not do what it was asked; the text says why, in one line and without a
    secret.

    Attributes:
        cure: what to do about it.
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


class Refusal(NamedTuple):
    """The reason why a message has no receipt, in the words that its publisher gets.

    Attributes:
        code: `DEGRADED` for one that was not published and never will be, `UNCONFIRMED` for one that may be.
    """

    code: ErrorCode
    text: str


Repeated = Callable[[str], None]
"""Called with the id of the first message that had the idempotency key of one that is not published."""

Refused = Callable[[Refusal], None]
"""Called with the reason when a message was not taken, or may not have been."""


class Key(NamedTuple):
    """The name of a message to which another process gives the id: the `n`-th such message of `writer`. By it
    a message that is sent twice is recognised, and so is one that comes back to its writer."""

    writer: str
    n: int


class Draft(NamedTuple):
    """A message that has no id yet; `to` is None for everyone, and with `shown` each addressee sees all;
    without a `topic` it is for all clients, with one for its subscribers.
    `again` is true if it was passed on before and nobody has said what became of that. Of several with the
    same `idempotency_key`, which the publisher gives, only the first is published. `traceparent` is the trace
    context that goes with the message."""

    key: Key
    sender: str
    data: Any
    to: tuple[str, ...] | None = None
    again: bool = False
    shown: bool = False
    topic: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None


def body_of(draft: Draft, ts: float) -> bytes:
    """Encode a draft that was published at `ts`, in Unix seconds, without an id.

    Raises:
        ValueError: the data is not JSON.
    """
    return messages.body(
        ts,
        draft.sender,
        draft.data,
        draft.to,
        shown=draft.shown,
        topic=draft.topic,
        traceparent=draft.traceparent,
    )


class RemoteConnection(NamedTuple):
    """An active connection as other processes know it, with the patterns of topics that it subscribes to. No
    two have the same serial, whichever process has them; one that moves keeps it."""

    client_id: str
    serial: int
    patterns: tuple[str, ...] = ()


class Kept(NamedTuple):
    """A range of what a home keeps, oldest first; behind `floor` no message of it is missing."""

    floor: MessageId
    entries: list[Entry]


class Home(ABC):
    """The home of a log. It gives ids at once, by `next_id`, or later, to `publish`; the rest of this holds
    for one that keeps nothing itself and is never away."""

    @property
    def finds_keys(self) -> bool:
        """True if it finds an idempotency key that was seen before; else the log does, whose messages all
        come from here."""
        return False

    @property
    def why(self) -> str | None:
        """The reason why it is away and refuses everything; None while it is there."""
        return None

    def next_id(self, last: MessageId, ts: float) -> MessageId | None:
        """Return the id of a message at once: behind `last`, for the time `ts` in Unix seconds. None has it
        given to `publish`."""
        return None

    @abstractmethod
    def publish(self, draft: Draft) -> None:
        """Give a draft its id, now or later, those of each writer in the order of their keys; then keep it,
        and give it to `MessageLog.take`. Give what gets none to `MessageLog.refuse`, within a bounded time.

        Raises:
            ValueError: the data is not JSON.
        """

    async def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        """Return what is kept behind `after` up to `until`: the newest `most` messages, as far as about
        `most_bytes` of them reach. A home without a store has nothing that the process does not have.

        Raises:
            Away: it did not tell.
        """
        return Kept(until, [])

    async def begin(self) -> None:
        """Load what is kept, as far as the history reaches, and take part from here on.

        Raises:
            CannotStart: it cannot be used.
        """

    async def prepare(self) -> None:
        """Make ready to go on in place of another process; `resume_at` follows, or `begin` if that one is
        gone.

        Raises:
            CannotStart: it cannot be used.
        """

    async def suspend(self) -> dict[str, Any] | None:
        """Take nothing more, and drop drafts that did not come back: another process goes on from the point
        that is returned, as JSON, and is given them again. None where there is nothing to go on with."""
        return None

    def resume(self, here: Collection[RemoteConnection]) -> None:
        """Take part again after `suspend`, or though `begin` failed; these connections are here, and no
        others."""

    def resume_at(self, point: dict[str, Any], here: Collection[RemoteConnection]) -> None:
        """Go on in place of the process that suspended its home at `point`; its log and its connections are
        here now, the oldest first."""

    def skip_to(self, message_id: MessageId) -> None:
        """Note, while suspended, that the log has this message and what is before it from elsewhere."""

    def joined(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        """Note a client's new connection, with the patterns of topics that it subscribes to: receipts count
        the connections of all processes."""

    def subscribed(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        """Note all that a connection subscribes to by now."""

    def left(self, client_id: str, serial: int) -> None:
        """Note that a client's connection has ended."""

    async def end(self) -> None:
        """Take part no more. What is under way is published first, for as long as that takes next to no
        time."""


class MemoryHome(Home):
    """The home of a log whose process gives the ids alone: what its history lets go of is kept nowhere."""

    def next_id(self, last: MessageId, ts: float) -> MessageId:
        return id_behind(last, ts)

    def publish(self, draft: Draft) -> None:
        raise AssertionError("it has its id already")


def id_behind(last: MessageId, ts: float) -> MessageId:
    """Return the id of a message behind `last`, for the time `ts` in Unix seconds."""
    ms, (last_ms, last_sequence) = int(ts * 1000), last
    # A clock that was set back must not reorder ids.
    return (ms, 0) if ms > last_ms else (last_ms, last_sequence + 1)


class Elsewhere(Protocol):
    """The connections of other processes that subscribe to topics, as far as a home tells of them."""

    def learn(
        self, holder: str, rows: Iterable[RemoteConnection], gone: Iterable[int] = (), *, whole: bool = False
    ) -> None:
        """Note what is told of the connections of one holder, and which are `gone`, by their serials; with
        `whole` it has these and no others. One without patterns counts as gone."""

    def lose(self, holder: str) -> None:
        """Note that the connections of a holder are gone."""

    def count(self, topic: str, to: Iterable[str] | None = None) -> int:
        """Return to how many of these connections a message with a topic goes; `to` is None for all
        clients."""


class Follower(Protocol):
    """Another process that gets its messages from this log, as the log calls it; drafts come from there with
    their keys, through `MessageLog.append`."""

    def relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        """Pass on a message that was sent to so many clients here; return how many it goes to there."""

    def cut_off(self, why: str) -> None:
        """Pass on that the home is away."""

    def back(self, recovered: bool) -> None:
        """Pass on that it is there again."""

    def replaced(self, client_id: str, serial: int | None) -> None:
        """Pass on that a client has so many newer connections that this one ends; None stands for all of
        the client."""


class HomeObserver(Protocol):
    """An observer of a log's home."""

    def cut_off(self, why: str) -> None:
        """Note that the home is away: nothing is published."""

    def back(self, recovered: bool) -> None:
        """Note that it is there again, and whether clients have missed nothing for good."""
