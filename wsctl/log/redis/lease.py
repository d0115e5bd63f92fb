"""The lease of a node, which is one of those that share a Redis as long as it renews it. With that it tells
the others of itself, learns of them, and asks for its turn to drain."""

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from wsctl.log.history import MessageId
from wsctl.log.message_log import written
from wsctl.log.redis.client import RedisClient, RedisClock
from wsctl.log.redis.presence import NodePresence
from wsctl.log.redis.records import Account, Unreadable, position, read_account
from wsctl.log.redis.scripts import BEAT, BYE, Keys
from wsctl.log.redis.stream_size import StreamSize
from wsctl.log.redis.subscribers import Subscribers
from wsctl.log.redis.tail import Tail

BEAT_INTERVAL = 1.0
"""Seconds between two beats, which renew the node's lease: as often as `status --watch` looks."""

LEASE = 5.0
"""Seconds after its last beat for which a node counts: four beats may be lost."""


class Lease:
    """The lease of one node. `about` returns its account of itself; `turn` is called, while it wants a turn,
    with how many nodes drain, or wait to, before this one; `due` is set when a beat is to come at once. Each
    beat trims the log to its `size`, and to what is younger than `ttl` seconds; 0 is any age.

    Attributes:
        peers: all nodes' accounts as of the last beat, this one's too, by name.
        lag: how far the node is behind the log.
        lost_up_to: the id of the log's newest entry that is gone and was not read; None if there is none.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        clock: RedisClock,
        tail: Tail,
        *,
        presence: NodePresence,
        subscribers: Subscribers,
        size: StreamSize,
        ttl: float,
        about: Callable[[], dict[str, Any]],
        turn: Callable[[int], None],
        due: asyncio.Event,
        unreadable: Unreadable,
    ) -> None:
        self.peers: dict[str, Account] = {}
        self.lag = Lag()
        self.lost_up_to: str | None = None
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._tail = tail
        self._presence = presence
        self._subscribers = subscribers
        self._size = size
        self._ttl_ms = math.ceil(ttl * 1000)
        self._about = about
        self._turn = turn
        self._due = due
        self._unreadable = unreadable
        self._wants_turn = False

    @property
    def lag_s(self) -> float:
        """The seconds for which an entry has been known to be in the log that was not read here."""
        return self.lag.seconds(position(self._tail.seen), self._clock.here())

    def want_turn(self, wanted: bool) -> None:
        """Ask for a turn to drain, or give it back."""
        self._wants_turn = wanted
        self._due.set()

    def renew_soon(self) -> None:
        """Renew it at once, and not only when the next beat is due: the node's account has changed."""
        self._due.set()

    async def keep(self, renewed: Callable[[], None]) -> None:
        """Renew it in time until cancelled; `renewed` is called after each time.

        Raises:
            Away: Redis did not answer.
        """
        while True:
            self._due.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_INTERVAL):
                    await self._due.wait()
            await self.renew()
            renewed()

    async def renew(self) -> str:
        """Renew it, and learn the state of the others; return the log's newest id.

        Raises:
            Away: Redis did not answer.
        """
        seen, wants_turn = self._tail.seen, self._wants_turn
        here, subscribers = self._presence.reported, self._subscribers.reported
        answer = await self._redis.run(BEAT, [self._keys.log], *self._words(seen, wants_turn))
        now, start, newest, is_new, before, peers, clients, subscribed, cleared = answer
        self._clock.set(now)
        self.lag.note(position(newest.decode()), position(self._tail.seen), self._clock.here())
        if start.decode() != seen == self._tail.seen:
            self.lost_up_to = start.decode()
        if is_new or clients < here:
            self._presence.again()
        if is_new or subscribed < subscribers:
            self._subscribers.tell_again()
        if cleared:
            which = f"{self._keys.base} at {now}"
            self._unreadable.note("key", which, "it is of another type, or beyond all clocks")
        self.peers = dict(self._accounts(zip(peers[::2], peers[1::2], strict=True)))
        self._subscribers.keep({name.decode(errors="replace") for name in peers[::2]})
        if wants_turn:
            self._turn(before)
        return str(newest.decode())

    async def end(self) -> None:
        """End it: the node is none any more.

        Raises:
            Away: Redis did not answer.
        """
        await self._redis.run(BYE, [self._keys.log], self._keys.base, self._keys.node)

    def _words(self, seen: str, wants_turn: bool) -> tuple[object, ...]:
        node = self._keys.base, self._keys.node, int(LEASE * 1000), json.dumps(self._about())
        first = self._size.first_kept
        return *node, seen, "1" if wants_turn else "", written(first) if first else "", self._ttl_ms

    def _accounts(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Account]]:
        for name, value in rows:
            try:
                yield name.decode(), read_account(value)
            except ValueError as error:
                self._unreadable.note("node", repr(name), str(error))


class Lag:
    """The time for which an entry has been known to be in the log and was not read here.

    Each beat tells the log's newest id, but not how old the oldest entry is that was not read. So time is
    measured from when an entry was known to be there until it was read.

    Attributes:
        newest: the log's newest id, as it was last learned.
    """

    def __init__(self) -> None:
        self.newest: MessageId = (0, 0)
        self._mark: MessageId = (0, 0)
        self._since = 0.0

    def note(self, newest: MessageId, seen: MessageId, now: float) -> None:
        """Note that the log's newest id is `newest` and that `seen` was read last; `now` is seconds on the
        caller's clock."""
        self.newest = newest
        if seen >= self._mark or newest < self._mark:  # the second when Redis has lost what it had
            self._mark, self._since = newest, now

    def seconds(self, seen: MessageId, now: float) -> float:
        """Return for how many seconds an entry has been known that was not read."""
        return 0.0 if seen >= self._mark else now - self._since
