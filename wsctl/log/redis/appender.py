"""The queue of this node's messages for the shared log, and the task that appends them."""

import asyncio
from collections import deque
from collections.abc import Callable, Container
from typing import NamedTuple

from wsctl.log.history import MessageId
from wsctl.log.home import Draft, Key, Refusal
from wsctl.log.idempotency import of_sender
from wsctl.log.redis.client import RedisClient, RedisClock
from wsctl.log.redis.records import arguments, position
from wsctl.log.redis.scripts import APPEND, Keys
from wsctl.log.redis.stream_size import StreamSize
from wsctl.log.redis.subscribers import Subscribers
from wsctl.log.refusals import (
    AWAY,
    CONFIRM_TIMEOUT,
    FULL,
    LATE,
    MOST_BYTES_WAITING,
    MOST_WAITING,
    UNCONFIRMED,
)

TOGETHER = 256
"""Messages in one call: Redis, which does nothing else meanwhile, needs less than a few milliseconds for
them."""

BYTES_TOGETHER = 1 << 20
"""Bytes in one call, and at least one message."""


class _Waiting(NamedTuple):
    key: Key
    deadline: float
    topic: str | None
    once: str
    to: tuple[str, ...] | None
    row: tuple[str, int, bytes, str, bytes]

    @property
    def size(self) -> int:
        return len(self.row[-1])


class Appender:
    """Appends in the order in which messages were published, one call at a time: that keeps every writer's
    keys in order, and many messages share a call.

    `refuse` is called with the key of each draft that got no id, and why; `answer_repeated` with that of each
    whose idempotency key was seen before, and the id of the message that had it. `size` tells how many
    entries the log keeps about, and `subscribers` to how many connections elsewhere a message with a topic
    goes. A client may have `per_id` connections. `wall` is the time of day.

    Attributes:
        idle: set while nothing waits.
        suspended: whether another process appends what is published.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        clock: RedisClock,
        refuse: Callable[[Key, Refusal], None],
        answer_repeated: Callable[[Key, MessageId], None],
        *,
        newest: Callable[[], str],
        size: StreamSize,
        subscribers: Subscribers,
        per_id: int,
        wall: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._refuse = refuse
        self._answer_repeated = answer_repeated
        self._newest = newest
        self._size = size
        self._subscribers = subscribers
        self._per_id = per_id
        self._clock = clock
        self._wall = wall
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._due: deque[tuple[float, Key]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._asked: set[Key] = set()
        self._closed = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.suspended = False

    def publish(self, draft: Draft) -> None:
        """Append a draft, now or soon.

        Raises:
            ValueError: the data is not JSON.
        """
        row = arguments(draft, self._wall())
        if self.suspended:
            return
        if draft.again:
            self._asked.add(draft.key)
        if self._closed:
            self._refuse_draft(draft.key, AWAY)
        elif len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES_WAITING:
            self._refuse_draft(draft.key, FULL)
        else:
            deadline = self._clock.here() + CONFIRM_TIMEOUT
            once = "" if draft.idempotency_key is None else of_sender(draft.idempotency_key, draft.sender)
            self._waiting.append(_Waiting(draft.key, deadline, draft.topic, once, draft.to, row))
            self._bytes += len(row[-1])
            self._due.append((deadline, draft.key))
            self._watch()
            self.idle.clear()
            self._news.set()

    def close(self) -> None:
        """Refuse everything from here on."""
        self._closed = True

    def open(self) -> None:
        """Take messages again."""
        self._closed = False

    async def run(self) -> None:
        """Append what comes, until cancelled.

        Raises:
            Away: Redis did not take it. What is not too late by then is appended by the next run.
        """
        while True:
            while self._waiting:
                await self._append()
            self.idle.set()
            self._news.clear()
            await self._news.wait()

    def suspend(self) -> None:
        """Drop what waits, and what comes until `suspended` is false again: another process appends it."""
        self.suspended = True
        self._waiting.clear()
        self._due.clear()
        self._bytes = 0

    async def _append(self) -> None:
        batch = self._batch()
        # Redis may read this much later, when the publisher has long been told that it failed.
        deadline = int(self._clock.at(batch[0].deadline) * 1000)
        parts = [part for waiting in batch for part in self._arguments(waiting)]
        most = self._size.most(with_topics=any(waiting.topic for waiting in batch))
        words = self._keys.base, self._keys.node, most, deadline, self._newest(), self._per_id
        keys = {waiting.key for waiting in batch}
        first_asked = keys - self._asked
        self._asked |= keys
        now, taken, *repeated = await self._redis.run(APPEND, [self._keys.log], *words, *parts)
        if not taken:
            self._clock.set(now)
            self._asked -= first_asked
            return
        self._drop(keys)
        for writer, n, message_id in zip(repeated[::3], repeated[1::3], repeated[2::3], strict=True):
            self._answer_repeated(Key(writer.decode(), int(n)), position(message_id.decode()))

    def forget(self) -> None:
        """Drop messages that Redis was asked to append before it lost its data: sent again, they could be
        published twice. Their publishers are told so in time."""
        self._drop(self._asked)

    def _arguments(self, waiting: _Waiting) -> tuple[object, ...]:
        topic = waiting.topic
        elsewhere = 0 if topic is None else self._subscribers.count(topic, waiting.to)
        return *waiting.row[:-1], elsewhere, waiting.once, waiting.row[-1]

    def _batch(self) -> list[_Waiting]:
        found: list[_Waiting] = []
        size = 0
        for waiting in self._waiting:
            size += waiting.size
            if found and (size > BYTES_TOGETHER or len(found) == TOGETHER):
                break
            found.append(waiting)
        return found

    def _drop(self, keys: Container[Key]) -> None:
        while self._waiting and self._waiting[0].key in keys:
            self._pop()

    def _pop(self) -> None:
        self._bytes -= self._waiting.popleft().size

    def _refuse_draft(self, key: Key, why: Refusal) -> None:
        """Refuse a message: as unconfirmed if Redis was ever asked to append it, since it may be there,
        whatever the reason."""
        self._refuse(key, UNCONFIRMED if key in self._asked else why)
        self._asked.discard(key)

    def _watch(self) -> None:
        if self._timer is None and self._due:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._due[0][0] - self._clock.here()), self._expire)

    def _expire(self) -> None:
        """Refuse the messages that waited too long; for one that came back meanwhile that has no effect."""
        self._timer = None
        now = self._clock.here()
        while self._waiting and self._waiting[0].deadline <= now:
            self._pop()
        while self._due and self._due[0][0] <= now:
            self._refuse_draft(self._due.popleft()[1], LATE)
        self._watch()
