"""The reader of the shared log, which delivers it to the clients of this node, and its lag."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from wsctl.log.history import Entry
from wsctl.log.home import Kept
from wsctl.log.message_log import MessageLog
from wsctl.log.redis.client import RedisClient
from wsctl.log.redis.records import LoggedMessage, Row, Unreadable, id_of, position, read_message
from wsctl.log.redis.scripts import LARGEST, Keys
from wsctl.log.redis.stream_size import StreamSize
from wsctl.log.redis.subscribers import START, Subscribers

BLOCK = 0.5
"""Seconds for which a read waits for new entries: with `ANSWER_TIMEOUT`, a Redis that hangs is noticed in
two."""

READ_TOGETHER = 256
"""Entries read at once: as many are sent to clients before the next read."""

BYTES_AT_ONCE = 256 << 10
"""Bytes of messages delivered in one iteration of the loop: a quarter of what may wait for a client, so that
a client that reads is not cut by what comes together after an outage."""

LOAD_TOGETHER = 500
"""Entries of history read at once."""

BEYOND_PAUSE = 0.05
"""Seconds until an entry that is to be cleared away is looked at again."""

log = logging.getLogger("wsctl.shared")


class Tail:
    """Reads the log, the changes of subscriptions and the inbox of a node, each entry once.

    `size` is told of each entry of the log, `subscribers` of each change. `look_at` is called with the id of
    each client in the inbox, or `disconnect` with that, a close code and a reason. `beyond` is called for an
    entry whose id is beyond all clocks: it is to be cleared away.

    Attributes:
        seen, inbox: the ids of the newest entries that were read.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        messages: MessageLog,
        size: StreamSize,
        subscribers: Subscribers,
        *,
        look_at: Callable[[str], None],
        disconnect: Callable[[str, int, str], None],
        unreadable: Unreadable,
        beyond: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._messages = messages
        self._size = size
        self._subscribers = subscribers
        self._look_at = look_at
        self._disconnect = disconnect
        self._unreadable = unreadable
        self._beyond = beyond
        self.seen = self.inbox = START

    async def begin_at(self, newest: str) -> Kept:
        """Go on behind `newest`, and return what the log keeps up to it.

        Raises:
            Away: Redis did not tell.
        """
        rows = await self._latest(START, newest, self._size.most(with_topics=True), self._size.most_bytes)
        for row in rows:
            self._note(row)
        self.seen = newest
        return self._without_gap(rows) if rows else Kept(position(newest), [])

    async def load(self, after: str, until: str, most: int, most_bytes: int) -> Kept:
        """Return the newest messages behind `after` up to `until`: `most`, as far as `most_bytes` reach.

        Raises:
            Away: Redis did not tell.
        """
        rows = await self._latest(after, until, most, most_bytes) if most else []
        return self._without_gap(rows) if rows else Kept(position(until), [])

    async def read(self, wait: float, before: Callable[[], None]) -> None:
        """Deliver what has come, or comes within `wait` seconds, up to `READ_TOGETHER` messages. `before` is
        called before the first.

        Raises:
            Away: Redis did not tell.
        """
        block = ("BLOCK", int(wait * 1000)) if wait else ()
        # Who subscribes comes first: what answers a subscriber is counted for it.
        streams = (self._keys.presence, self._keys.log, self._keys.inbox)
        ids = (self._subscribers.seen, self.seen, self.inbox)
        answer = await self._redis.ask("XREAD", *block, "COUNT", READ_TOGETHER, "STREAMS", *streams, *ids)
        before()
        handles = dict(zip(streams, (self._subscribers.take, self._deliver, self._look_up), strict=True))
        for name, rows in answer or ():
            handle = handles[name.decode()]
            size = 0
            for row in rows:
                if id_of(row)[0] > LARGEST:
                    self._unreadable.note("entry", row[0].decode(), "its id is beyond all clocks")
                    self._beyond()
                    await asyncio.sleep(BEYOND_PAUSE)
                    break
                handle(row)
                size += len(row[1][-1])
                if size >= BYTES_AT_ONCE:
                    size = 0
                    await asyncio.sleep(0)

    def skip_lost(self, up_to: str, logged: bool = False) -> None:
        """Go on behind `up_to`: what was up to there and was not seen is lost, and clients are told so. It is
        logged, unless it was `logged` already."""
        if not logged:
            log.warning("messages were lost with the stream", extra={"fields": {"redis": self._redis.name}})
        ms, sequence = position(self.seen)
        # Whoever has seen what this node saw last, must not be told that nothing is missing.
        here = max(position(up_to), (ms, sequence + 1))
        self.seen = up_to
        self._messages.restore(here, here, ())
        self._messages.back(recovered=False)

    def _deliver(self, row: Row) -> None:
        found = self._read(row)
        if found and found.behind != self.seen:
            self.skip_lost(found.behind)
        self.seen = row[0].decode()
        self._note(row)
        if found:
            self._messages.take(found.entry, found.key, elsewhere=found.elsewhere)

    def _look_up(self, row: Row) -> None:
        self.inbox = row[0].decode()
        try:
            client_id, *words = (word.decode() for word in row[1][1::2])
            if len(words) == len(("code", "reason")):
                self._disconnect(client_id, int(words[0]), words[1])
            else:
                self._look_at(client_id)
        except ValueError as error:
            self._unreadable.note("notice", self.inbox, str(error))

    async def _latest(self, after: str, until: str, most: int, most_bytes: int) -> list[Row]:
        """Return the newest entries behind `after` up to `until`, oldest first."""
        found: list[Row] = []
        size, start, end = 0, f"({after}", until
        while len(found) < most and size <= most_bytes:
            count = min(LOAD_TOGETHER, most - len(found))
            words = (self._keys.log, end, start, "COUNT", count)
            rows: Sequence[Any] = await self._redis.ask("XREVRANGE", *words)
            found += rows
            size += sum(len(row[1][-1]) for row in rows)
            if len(rows) < count:
                break
            end = f"({rows[-1][0].decode()}"
        return found[::-1]

    def _without_gap(self, rows: Sequence[Row]) -> Kept:
        """Return the id behind which no message is missing, and the messages behind it."""
        floor, entries, last = id_of(rows[0]), list[Entry](), ""
        for row in rows:
            found = self._read(row)
            if found and found.behind != last:
                floor, entries = position(found.behind), []
            entries += [found.entry] if found else []
            last = row[0].decode()
        return Kept(floor, entries)

    def _note(self, row: Row) -> None:
        self._size.note(id_of(row), len(row[1][-1]), topical=b"c" in row[1][::2])

    def _read(self, row: Row) -> LoggedMessage | None:
        """Parse an entry; return None for one that is no message of ours, which every node skips alike."""
        try:
            return read_message(row)
        except ValueError as error:
            self._unreadable.note("entry", row[0].decode(), str(error))
            return None
