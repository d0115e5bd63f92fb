"""The log, which hands each message to the connections in the one order of all messages. Its home, which
gives the ids, and the law of both are in `wsctl/log/home.py`."""

import secrets
import time
from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.frame import TEXT, Batch, frame
from wsctl.log.history import Entry, History, MessageId, Missed
from wsctl.log.home import (
    Draft,
    Follower,
    Home,
    HomeObserver,
    Key,
    MemoryHome,
    Receipt,
    Refusal,
    Refused,
    Repeated,
)
from wsctl.log.idempotency import SeenKeys, of_sender
from wsctl.log.known_ids import KnownIds
from wsctl.log.refusals import UNCONFIRMED
from wsctl.log.retention import Floors
from wsctl.log.selection import selection
from wsctl.tracing import DeliveryTrace, PublishTrace, Tracing


class _Publisher(NamedTuple):
    """The publisher of a message, as it is told what became of that."""

    receipt: Receipt | None
    refused: Refused | None
    repeated: Repeated | None

    def tell_repeated(self, message_id: MessageId) -> None:
        """Tell that the message with this id had the idempotency key of this one."""
        if self.repeated:
            self.repeated(written(message_id))
        elif self.receipt:
            self.receipt(written(message_id), 0)


class _Pending(NamedTuple):
    draft: Draft
    publisher: _Publisher


class Recovery(NamedTuple):
    """The messages that a client missed, as far as they are kept; `recovered` is false if anything is
    missing, of the topics `lost` or of the messages without one. These are patterns where topics would be too
    many."""

    missed: Missed
    recovered: bool
    lost: tuple[str, ...]


class MessageLog:
    """The messages of one server.

    An id is `MILLISECONDS-SEQUENCE`, the form of a Redis stream's: ids of a later process are
    larger, and one that this process never gave can be told from one that it did.

    What a home does not number at once goes there as a draft, and comes back through `take` with everything
    else, in the order of that home.

    Attributes:
        history: the messages that clients can resume after.
        home: the giver of the ids.
        writer: the name of this log in the keys of its drafts.
        published: messages that got their id since the start.
        published_to_topics: those of them that have a topic.
        follower: another process that gets each message, after it was sent to the clients of this one.
        seen_keys: the idempotency keys of messages that got their id here.
        observers: told when the home is away, and when it is back.
        tracing: makes traces of what is published here, and of what is delivered here if its message has a
            trace context; None where nothing is traced.
    """

    def __init__(
        self,
        deliver: Callable[[Entry], int],
        most: int = 0,
        most_bytes: int = 0,
        wall: Callable[[], float] = time.time,
        ttl: float = 0.0,
    ) -> None:
        self._deliver = deliver
        self._wall = wall
        self._position: MessageId = (int(wall() * 1000), 0)
        self.home: Home = MemoryHome()
        self._pending: dict[Key, _Pending] = {}
        # Those whose idempotency key a draft under way has.
        self._same: dict[str | None, list[_Publisher]] = {}
        self.seen_keys = SeenKeys(time.monotonic)
        self._drafted = count(1)
        self.writer = secrets.token_hex(8)
        self.history = History(self._position, most, most_bytes, ttl, wall)
        self.published = 0
        self.published_to_topics = 0
        self.follower: Follower | None = None
        self.observers: list[HomeObserver] = []
        self.tracing: Tracing | None = None
        self._traces: dict[Key, PublishTrace] = {}

    @property
    def newest(self) -> str:
        """The newest message's id; before the first one, an id that lies before it."""
        return written(self._position)

    @property
    def position(self) -> MessageId:
        return self._position

    @property
    def drafts(self) -> list[Draft]:
        """The drafts under way, oldest first: the home has not said what became of them."""
        return [pending.draft for pending in self._pending.values()]

    def append(
        self,
        sender: str,
        data: Any,
        to: tuple[str, ...] | None = None,
        receipt: Receipt | None = None,
        *,
        refused: Refused | None = None,
        key: Key | None = None,
        again: bool = False,
        shown: bool = False,
        topic: str | None = None,
        idempotency_key: str | None = None,
        repeated: Repeated | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Give the message its id and hand it to the connections, in id order.

        Either `receipt`, `refused` or `repeated` is called, maybe before this returns: the last one if
        `idempotency_key` was seen before, and then nothing is published. Without it `receipt` is called, with
        no clients. `key` and `again` come with a draft of another log, whose `traceparent` goes with the
        message; without a key it is the trace context of the publisher, if that told it.

        Raises:
            ValueError: the data is not JSON.
        """
        trace = None
        if key is None:
            above, traceparent = traceparent, None
            if self.tracing is not None:
                trace = self.tracing.begin(sender, topic, above)
                refused, repeated = _traced(trace, _Publisher(receipt, refused, repeated))
                traceparent = trace.traceparent
        once = None if idempotency_key is None else of_sender(idempotency_key, sender)
        if once is not None and self._is_repeated(once, _Publisher(receipt, refused, repeated)):
            return
        ts = self._wall()
        position = self.home.next_id(self._position, ts)
        if position is None:
            key = key or Key(self.writer, next(self._drafted))
            draft = Draft(key, sender, data, to, again, shown, topic, idempotency_key, traceparent)
            if trace is not None:
                self._traces[key] = trace
            self._pass_on(_Pending(draft, _Publisher(receipt, refused, repeated)))
            return
        try:
            body = messages.body(ts, sender, data, to, shown=shown, topic=topic, traceparent=traceparent)
        except ValueError:
            _end_unpublished(trace)
            raise
        message_id = written(position)
        batch = Batch.read(frame(TEXT, messages.numbered(message_id, body)))
        if once is not None:
            self.seen_keys.add(once, position)
        recipients = self._keep_and_deliver(Entry(position, batch, to, topic), key, trace=trace)
        if receipt:
            receipt(message_id, recipients)

    def append_draft(
        self,
        draft: Draft,
        receipt: Receipt | None = None,
        *,
        refused: Refused | None = None,
        repeated: Repeated | None = None,
    ) -> None:
        """Append a draft of another log, or one of this log once more, by its key.

        Raises:
            ValueError: the data is not JSON.
        """
        self.append(
            draft.sender,
            draft.data,
            draft.to,
            receipt,
            refused=refused,
            key=draft.key,
            again=draft.again,
            shown=draft.shown,
            topic=draft.topic,
            idempotency_key=draft.idempotency_key,
            repeated=repeated,
            traceparent=draft.traceparent,
        )

    def take(
        self, entry: Entry, key: Key | None, *, elsewhere: int = 0, recipients: int | None = None
    ) -> None:
        """Take a message that the home has given its id and keeps, in the order of all. It is for so
        many clients `elsewhere`, or for so many `recipients` in all."""
        here = self._keep_and_deliver(entry, key, elsewhere)
        pending = self._pending.pop(key, None) if key else None
        if pending and (receipt := pending.publisher.receipt):
            receipt(self.newest, here if recipients is None else recipients)
        if pending:
            self._published_once(pending.draft, entry.id)

    def refuse(self, key: Key, why: Refusal) -> None:
        """Refuse a draft that was passed on and has got no id, or may have got none."""
        self._traces.pop(key, None)
        pending = self._pending.pop(key, None)
        if pending and pending.publisher.refused:
            pending.publisher.refused(why)
        for same in self._same.pop(_once(pending.draft), ()) if pending else ():
            if same.refused:
                same.refused(why)

    def repeat(self, key: Key, message_id: MessageId) -> None:
        """Answer a draft that was passed on again, though it was taken before under this id; nobody counts
        its clients any more."""
        if trace := self._traces.pop(key, None):
            trace.repeated(written(message_id))
        pending = self._pending.pop(key, None)
        if pending and pending.publisher.receipt:
            pending.publisher.receipt(written(message_id), 0)
        if pending:
            self._published_once(pending.draft, message_id)

    def answer_repeated(self, key: Key, message_id: MessageId) -> None:
        """Answer a draft that was passed on and is not published: the message with this id had its
        idempotency key."""
        self._traces.pop(key, None)
        if pending := self._pending.pop(key, None):
            pending.publisher.tell_repeated(message_id)
            self._published_once(pending.draft, message_id)

    def missed(
        self,
        since: str,
        client_id: str,
        subscriptions: Iterable[str] = (),
        *,
        beside: Collection[str] | None = None,
    ) -> Recovery:
        """Return what a client missed that has seen the message `since`: messages without a topic, and those
        that its subscriptions match. With `beside`, the patterns that it had before, it has everything that
        these match, and messages without a topic: none of it is counted or returned."""
        wanted = selection(tuple(subscriptions), None if beside is None else tuple(beside))
        entries, size, recovered, lost = self.history.select(read_id(since), wanted)
        return Recovery(Missed(entries, client_id, size), recovered, lost)

    def expire(self) -> None:
        """Let go of messages that have become too old: to be called now and then, though nothing is
        published."""
        self.history.expire()

    def cut_off(self, why: str) -> None:
        """Note that the home is away, and refuses what is published."""
        if self.follower:
            self.follower.cut_off(why)
        for observer in self.observers:
            observer.cut_off(why)

    def back(self, recovered: bool) -> None:
        """Note that the home is there again; if not `recovered`, messages are lost for good."""
        if self.follower:
            self.follower.back(recovered)
        for observer in self.observers:
            observer.back(recovered)

    def move_to(self, home: Home) -> None:
        """Have the ids given by `home` from here on. Drafts under way are passed on again, to it."""
        self.home = home
        under_way, self._pending = self._pending, {}
        waiting, self._same = self._same, {}
        for draft, (receipt, refused, repeated) in under_way.values():
            self.append_draft(draft._replace(again=True), receipt, refused=refused, repeated=repeated)
        for key, same in waiting.items():
            if key in self._same:
                self._same[key] += same
            for each in () if key in self._same else same:
                if key is not None and (seen := self.seen_keys.find(key)):
                    each.tell_repeated(seen)
                elif each.refused:
                    each.refused(UNCONFIRMED)

    def restore(
        self,
        position: MessageId,
        floor: MessageId,
        entries: Iterable[Entry],
        *,
        floors: Floors | None = None,
        known: KnownIds | None = None,
    ) -> None:
        """Go on where another log stands, without what was kept here. Of that log's history nothing is
        missing behind `floor`, or behind the `floors` of its topics, where it told these; `known` are the ids
        that it knew."""
        self._position = position
        self.history.restore(floor, entries, position, floors=floors, known=known)

    def _pass_on(self, pending: _Pending) -> None:
        key, once = pending.draft.key, _once(pending.draft)
        self._pending[key] = pending
        if once is not None:
            self._same.setdefault(once, [])
        try:
            self.home.publish(pending.draft)
        except ValueError:
            del self._pending[key]
            _end_unpublished(self._traces.pop(key, None))
            self._same.pop(once, None)
            raise

    def _is_repeated(self, once: str, publisher: _Publisher) -> bool:
        """Answer a message whose idempotency key was seen before, now or when the first one is answered; tell
        whether it was. A home that finds keys itself is asked."""
        if self.home.finds_keys:
            return False
        if seen := self.seen_keys.find(once):
            publisher.tell_repeated(seen)
            return True
        if once in self._same:
            self._same[once].append(publisher)
            return True
        return False

    def _published_once(self, draft: Draft, message_id: MessageId) -> None:
        """Remember the idempotency key of a message that the home keeps, and answer others that have it."""
        once = _once(draft)
        if once is not None and not self.home.finds_keys:
            self.seen_keys.add(once, message_id)
        for same in self._same.pop(once, ()):
            same.tell_repeated(message_id)

    def _keep_and_deliver(
        self, entry: Entry, key: Key | None, elsewhere: int = 0, *, trace: DeliveryTrace | None = None
    ) -> int:
        """Return the number of clients to which the message goes."""
        if self._traces and key:
            trace = self._traces.pop(key, trace)
        if trace is None and self.tracing is not None:
            trace = _followed(self.tracing, entry)
        self._position = entry.id
        self.history.add(entry)
        self.published += 1
        self.published_to_topics += entry.topic is not None
        if trace is not None:
            trace.kept(written(entry.id))
        here = self._deliver(entry)
        if trace is not None:
            trace.delivered(here, elsewhere)
        recipients = here + elsewhere
        return recipients + (self.follower.relay(entry, recipients, key) if self.follower else 0)


def _followed(tracing: Tracing, entry: Entry) -> DeliveryTrace | None:
    """Return the trace of a message that another process has published; None where it carries none."""
    traceparent = messages.traceparent_of(entry.batch.payloads[0])
    return None if traceparent is None else tracing.follow(traceparent, entry.topic)


def _end_unpublished(trace: PublishTrace | None) -> None:
    """End the trace of what is not JSON."""
    if trace is not None:
        trace.refused("bad_request")


def _traced(trace: PublishTrace, publisher: _Publisher) -> tuple[Refused, Repeated]:
    """Return what is called to refuse a message, or because it is repeated, and ends its trace, too."""

    def end_refused(why: Refusal) -> None:
        trace.refused(why.code)
        if publisher.refused:
            publisher.refused(why)

    def end_repeated(message_id: str) -> None:
        trace.repeated(message_id)
        if publisher.repeated:
            publisher.repeated(message_id)
        elif publisher.receipt:
            publisher.receipt(message_id, 0)

    return end_refused, end_repeated


def _once(draft: Draft) -> str | None:
    """Return the idempotency key of a draft among those of all senders; None if it has none."""
    return None if draft.idempotency_key is None else of_sender(draft.idempotency_key, draft.sender)


def written(message_id: MessageId) -> str:
    """Return an id as clients see it."""
    return f"{message_id[0]}-{message_id[1]}"


def read_id(text: str) -> MessageId | None:
    """Parse an id that `written` wrote; return None for any other text."""
    ms, dash, sequence = text.partition("-")
    valid = dash and ms.isdecimal() and sequence.isdecimal() and text.isascii()
    found = (int(ms), int(sequence)) if valid else None
    # One spelling an id: 007-1 is none.
    return found if found and written(found) == text else None
