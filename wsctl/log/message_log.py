"""The log, which gives each message its id and with it its place in the one order of all messages.

The ids are given by its home: this process, the other one of a handover, or a Redis. Whichever it is:

order                    ids only grow, and every process delivers messages in the order of their ids
at most once per key     a draft that is passed on again under its key gets no second id
delivered only if kept   a message is kept by the home, and in the history here as far as that reaches, before
                         a client or its publisher hears of it
refused: not published   one that is refused with `DEGRADED` has no id and gets none; `UNCONFIRMED` refuses
                         one of which nobody knows

A publisher hears of each message once, by a receipt or a refusal. A home is a `Forward`: it is given drafts,
and answers with `MessageLog.take`, in the order of all, or with `MessageLog.refuse`. `restore` loads what is
there already. With `follow` and `lead` the log moves to another home: drafts under way are passed on again.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.frame import Batch
from wsctl.log.history import Entry, History, MessageId, Missed

Receipt = Callable[[str, int], None]
"""Called with a message's id and how many clients it was sent to."""


class Refusal(NamedTuple):
    """The reason why a message has no receipt, in the words that its publisher gets.

    Attributes:
        code: `DEGRADED` for one that was not published and never will be, `UNCONFIRMED` for one that may be.
    """

    code: ErrorCode
    text: str


Refused = Callable[[Refusal], None]
"""Called with the reason when a message was not taken, or may not have been."""


class Key(NamedTuple):
    """The name of a message to which another log gives the id: the `n`-th such message of `writer`. By it a
    message that is sent twice is recognised, and so is one that comes back to its writer."""

    writer: str
    n: int


class Draft(NamedTuple):
    """A message that has no id yet; `to` is None for everyone, and with `shown` each addressee sees all.
    `again` is true if it was passed on before and nobody has said what became of that."""

    key: Key
    sender: str
    data: Any
    to: tuple[str, ...] | None = None
    again: bool = False
    shown: bool = False


class _Pending(NamedTuple):
    draft: Draft
    receipt: Receipt | None
    refused: Refused | None


Forward = Callable[[Draft], None]
"""Passes a draft to the log that gives the ids, those of each writer in the order of their keys, and gives
what it cannot pass to `MessageLog.refuse`. Raises ValueError for data that is not JSON."""


class MessageLog:
    """The messages of one server.

    An id is `MILLISECONDS-SEQUENCE`, the form of a Redis stream's: ids of a later process are
    larger, and one that this process never gave can be told from one that it did.

    A log with `home`, or one that follows, gives no ids: what is appended goes to another log, and comes
    back through `take` with everything else, in the order of that log.

    Attributes:
        history: the messages that clients can resume after.
        writer: the name of this log in the keys of its drafts.
        published: messages that got their id since the start.
        relay: passes each message on to another process, after it was sent to the clients of this one, with
            how many these are; returns how many clients it goes to there.
    """

    def __init__(
        self,
        deliver: Callable[[Entry], int],
        most: int = 0,
        most_bytes: int = 0,
        wall: Callable[[], float] = time.time,
        home: Forward | None = None,
    ) -> None:
        self._deliver = deliver
        self._wall = wall
        self._position: MessageId = (int(wall() * 1000), 0)
        self._home = self._forward = home
        self._pending: dict[Key, _Pending] = {}
        self._drafted = count(1)
        self.writer = secrets.token_hex(8)
        self.history = History(self._position, most, most_bytes)
        self.published = 0
        self.relay: Callable[[Entry, int, Key | None], int] | None = None

    @property
    def newest(self) -> str:
        """The newest message's id; before the first one, an id that lies before it."""
        return written(self._position)

    @property
    def position(self) -> MessageId:
        return self._position

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
    ) -> None:
        """Give the message its id and hand it to the connections, in id order.

        Either `receipt` or `refused` is called, maybe before this returns. `key` and `again` come with a
        draft of another log.

        Raises:
            ValueError: the data is not JSON.
        """
        if self._forward:
            draft = Draft(key or Key(self.writer, next(self._drafted)), sender, data, to, again, shown)
            self._pass_on(self._forward, _Pending(draft, receipt, refused))
            return
        ts = self._wall()
        ms, (last_ms, last_sequence) = int(ts * 1000), self._position
        # A clock that was set back must not reorder ids.
        position = (ms, 0) if ms > last_ms else (last_ms, last_sequence + 1)
        payload = messages.message(messages.Message(written(position), ts, sender, data, to, shown))
        recipients = self._keep_and_deliver(Entry(position, Batch((payload,)), to), key)
        if receipt:
            receipt(self.newest, recipients)

    def take(
        self, entry: Entry, key: Key | None, *, elsewhere: int = 0, recipients: int | None = None
    ) -> None:
        """Take a message that was given its id by another log, which orders this one's too. The message is
        for so many clients `elsewhere`, or for so many `recipients` in all."""
        here = self._keep_and_deliver(entry, key, elsewhere)
        pending = self._pending.pop(key, None) if key else None
        if pending and pending.receipt:
            pending.receipt(self.newest, here if recipients is None else recipients)

    def refuse(self, key: Key, why: Refusal) -> None:
        """Refuse a draft that was passed on and has got no id, or may have got none."""
        pending = self._pending.pop(key, None)
        if pending and pending.refused:
            pending.refused(why)

    def missed(self, since: str, client_id: str) -> Missed | None:
        """Return what a client missed that has seen the message `since`; None when that is not known."""
        seen = read_id(since)
        found = None if seen is None else self.history.since(seen)
        return None if found is None else Missed(found, client_id, self.history.size(len(found)))

    def after(self, since: str, client_id: str) -> list[Batch] | None:
        """Return all batches of `missed` at once, as copies."""
        missed = self.missed(since, client_id)
        return None if missed is None else [batch.copy() for batch in missed]

    def follow(self, forward: Forward) -> None:
        """Give no ids from here on. Drafts under way are passed on again, to `forward`."""
        self._forward = forward
        self._pass_on_again()

    def lead(self) -> None:
        """Give ids (again), or have them given by `home`. Drafts that did not come back get their ids now."""
        self._forward = self._home
        self._pass_on_again()

    def restore(self, position: MessageId, floor: MessageId, entries: Sequence[Entry]) -> None:
        """Go on where another log stands, without what was kept here."""
        self._position = position
        self.history.restore(floor, entries)

    def _pass_on_again(self) -> None:
        under_way, self._pending = self._pending, {}
        for draft, receipt, refused in under_way.values():
            fields = draft.sender, draft.data, draft.to
            self.append(*fields, receipt, refused=refused, key=draft.key, again=True, shown=draft.shown)

    def _pass_on(self, forward: Forward, pending: _Pending) -> None:
        key = pending.draft.key
        self._pending[key] = pending
        try:
            forward(pending.draft)
        except ValueError:
            del self._pending[key]
            raise

    def _keep_and_deliver(self, entry: Entry, key: Key | None, elsewhere: int = 0) -> int:
        """Return the number of clients to which the message goes."""
        self._position = entry.id
        self.history.add(entry)
        self.published += 1
        recipients = self._deliver(entry) + elsewhere
        return recipients + (self.relay(entry, recipients, key) if self.relay else 0)


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
