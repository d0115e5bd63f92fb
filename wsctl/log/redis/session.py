"""The session of one node with Redis, where it shares the log and the presence of clients with other nodes.

Redis answers         -> up: the log is followed, messages are appended, presence is reported
it does not, twice    -> away: clients are told, publishers refused; Redis is tried again and again
it answers again      -> up: clients are told whether anything was lost, then get what they missed
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from wsctl.log.history import MessageId
from wsctl.log.home import Away, Draft, Elsewhere, Home, Kept, RemoteConnection
from wsctl.log.message_log import MessageLog, written
from wsctl.log.redis.appender import Appender
from wsctl.log.redis.availability import Availability
from wsctl.log.redis.client import RedisClient, RedisClock
from wsctl.log.redis.lease import Lease
from wsctl.log.redis.presence import NodePresence
from wsctl.log.redis.records import Unreadable, position
from wsctl.log.redis.scripts import Keys
from wsctl.log.redis.stream_size import StreamSize
from wsctl.log.redis.subscribers import Subscribers
from wsctl.log.redis.tail import BLOCK, Tail
from wsctl.log.retention import Floors

BYE_TIMEOUT = 0.1
"""Seconds that a process which ends waits for Redis; if Redis does not answer, the node's lease ends by
itself."""


class SessionOwner(Protocol):
    """The server that has a session, as the session calls it."""

    def about(self) -> dict[str, Any]:
        """Return the node's account of itself, for the others."""

    def replaced(self, client_id: str, serial: int | None) -> None:
        """Close this connection of a client that has newer ones at another node; None stands for all of the
        client."""

    def disconnect(self, client_id: str, code: int, reason: str) -> None:
        """Close the connections of a client: an operator has asked another node for it."""

    def turn(self, before: int) -> None:
        """Take note that so many nodes drain, or wait to, before this one."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The place at which a successor goes on: the name of its predecessor as a node, and the newest ids that
    it had read of the log and the inbox. `size` is that of the log, where its history does not say it.
    `without_topics` is true if it is of a release that skips messages with topics."""

    node: str
    seen: str
    inbox: str
    size: list[Any] | None = None
    without_topics: bool = False


class RedisSession(Home):
    """The session of one node with Redis, the home of its log; `create_session` makes one with its parts.

    Attributes:
        lease: tells the others of this node, and knows of them.
        presence: the clients of this node, as Redis is told of them.
        subscribers: the connections of all nodes that subscribe to topics.
        availability: whether Redis is there.
        unreadable: the count of what was skipped.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        messages: MessageLog,
        owner: SessionOwner,
        *,
        tail: Tail,
        appender: Appender,
        presence: NodePresence,
        subscribers: Subscribers,
        lease: Lease,
        availability: Availability,
        unreadable: Unreadable,
        size: StreamSize,
    ) -> None:
        self.redis = redis
        self._size = size
        self.lease = lease
        self.presence = presence
        self.subscribers = subscribers
        self.availability = availability
        self.unreadable = unreadable
        self._keys = keys
        self._messages = messages
        self._owner = owner
        self._tail = tail
        self._appender = appender
        self._task: asyncio.Task[None] | None = None
        self._lacks_topics = False

    @property
    def node(self) -> str:
        """This node's name among the others."""
        return self._keys.node

    @property
    def why(self) -> str | None:
        """The reason why Redis is away; None while it is there."""
        return self.availability.why

    @property
    def finds_keys(self) -> bool:
        return True

    def publish(self, draft: Draft) -> None:
        self._appender.publish(draft)

    async def begin(self) -> None:
        try:
            newest = await self.lease.renew()
            kept = await self._tail.begin_at(newest)
        except Exception as error:
            raise self.redis.unusable(self.availability.explain(error)) from None
        self._messages.restore(position(newest), *kept)
        self.lease.lost_up_to = None
        self._follow_log()

    async def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        try:
            return await self._tail.load(written(after), written(until), most, most_bytes)
        except Exception as error:
            raise self.availability.explain(error) from None

    def resume_at(self, point: dict[str, Any], here: Collection[RemoteConnection]) -> None:
        """Go on as the node of a predecessor, whose log and connections this process has."""
        at = ResumePoint(**point)
        self._keys.node = at.node
        self._tail.seen, self._tail.inbox = at.seen, at.inbox
        if at.size:
            self._size.restore(at.size)
        for entry in () if at.size or at.without_topics else self._messages.history.entries():
            self._size.note(entry.id, len(entry.batch.wire), topical=entry.topic is not None)
        if at.without_topics:
            self._lacks_topics = True
            self._forget_topics()
        self.presence.adopt(here)
        self.subscribers.adopt(here)
        self._follow_log()

    def resume(self, here: Collection[RemoteConnection]) -> None:
        # A connection that has moved is not here any more, and was not reported as gone.
        self.presence.only(here)
        self.subscribers.only(here)
        self._follow_log()

    def skip_to(self, message_id: MessageId) -> None:
        self._tail.seen = written(message_id)

    async def suspend(self) -> dict[str, Any]:
        await self._stop()
        self._appender.suspend()
        point = {"node": self.node, "seen": self._tail.seen, "inbox": self._tail.inbox}
        # Without topics all that is in the log is in the history too, and an older process knows no size.
        return point | ({"size": self._size.state()} if self._size.has_topics else {})

    def joined(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        self.presence.joined(client_id, serial)
        self.subscribed(client_id, serial, patterns)

    def subscribed(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        self.subscribers.subscribed(RemoteConnection(client_id, serial, tuple(patterns)))

    def left(self, client_id: str, serial: int) -> None:
        self.presence.left(client_id, serial)
        self.subscribers.left(client_id, serial)

    async def end(self) -> None:
        """Remove the node, unless another process goes on as it. What its last clients sent is appended."""
        if self._task:
            with suppress(Away, TimeoutError):
                async with asyncio.timeout(BYE_TIMEOUT if self.why is None else 0):
                    await self._appender.idle.wait()
            await self._stop()
            with suppress(Away, TimeoutError):
                async with asyncio.timeout(BYE_TIMEOUT):
                    await self.lease.end()
        await self.redis.drop()

    def want_turn(self, wanted: bool) -> None:
        """Ask for a turn to drain, or give it back; the owner is told how many nodes are before this one."""
        self.lease.want_turn(wanted)
        if wanted and self.why is not None:
            self._owner.turn(0)  # nobody can give one

    # Up and away

    def _follow_log(self) -> None:
        if self._task is None:
            self._appender.suspended = False
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
            except Exception as error:
                if self.availability.fail(error):
                    self._go_away()
            await self.redis.drop()
            await asyncio.sleep(self.availability.pause)

    async def _work(self) -> None:
        """Follow, append and report for as long as Redis answers."""
        await self.lease.renew()
        if self.lease.lost_up_to is not None:
            self._appender.forget()
        # An answer that was lost may have said that Redis had forgotten them.
        self.presence.again()
        await self.subscribers.load()
        if self._lacks_topics:
            await self._load_topics()
        beats = self.lease.keep(self.availability.check)
        reports = self.presence.run(), self.subscribers.run()
        work = (self._follow(), beats, self._appender.run(), *reports)
        tasks = [asyncio.create_task(job) for job in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(tasks)

    def _forget_topics(self) -> None:
        """Note that the history lacks what a predecessor of an earlier release skipped: nothing is known of
        any topic."""
        history, seen = self._messages.history, position(self._tail.seen)
        floors = Floors(history.floor, {}, seen)
        here = max(self._messages.position, seen)
        self._messages.restore(here, history.floor, history.entries(), floors=floors)

    async def _load_topics(self) -> None:
        """Load what a predecessor of an earlier release skipped, up to where it had read."""
        messages, history = self._messages, self._messages.history
        kept = await self._tail.begin_at(self._tail.seen)
        if all(entry.topic is None for entry in kept.entries):  # and the history may have more than Redis
            kept = Kept(history.floor_of(None), history.entries())
        messages.restore(messages.position, *kept)
        self._lacks_topics = False

    async def _follow(self) -> None:
        await self._tail.read(0, self._come_back)
        while True:
            await self._tail.read(BLOCK, self._skip_lost)

    def _go_away(self) -> None:
        self._messages.cut_off(self.why or "")
        self._owner.turn(0)
        self._appender.close()

    def _come_back(self) -> None:
        """Tell clients that Redis is back, before they get what they missed."""
        recovered = self.lease.lost_up_to is None
        was_away = self.availability.succeed(recovered=recovered)
        self._appender.open()
        self._skip_lost(logged=was_away)
        if was_away and recovered:
            self._messages.back(recovered=True)

    def _skip_lost(self, logged: bool = False) -> None:
        lost_up_to, self.lease.lost_up_to = self.lease.lost_up_to, None
        if lost_up_to is not None:
            self._tail.skip_lost(lost_up_to, logged)

    async def _stop(self) -> None:
        if self._task:
            await _end([self._task])
            self._task = None


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # what the others failed with says nothing new


def create_session(
    redis: RedisClient,
    prefix: str,
    messages: MessageLog,
    owner: SessionOwner,
    elsewhere: Elsewhere,
    *,
    per_id: int = 1,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> RedisSession:
    """Create the session of a new node, and all its parts. A client may have `per_id` connections; 0 is any
    number. `elsewhere` is told of the connections of other nodes that subscribe to topics."""
    keys, redis_clock = Keys(prefix, secrets.token_hex(4)), RedisClock(clock)
    unreadable, due = Unreadable(), asyncio.Event()
    presence = NodePresence(redis, keys, redis_clock, owner.replaced, per_id=per_id, unreadable=unreadable)
    subscribers = Subscribers(redis, keys, elsewhere, unreadable=unreadable)
    size = StreamSize(messages.history.most, messages.history.most_bytes)
    tail = Tail(
        redis,
        keys,
        messages,
        size,
        subscribers,
        look_at=presence.look_at,
        disconnect=owner.disconnect,
        unreadable=unreadable,
        beyond=due.set,
    )
    lease = Lease(
        redis,
        keys,
        redis_clock,
        tail,
        presence=presence,
        size=size,
        subscribers=subscribers,
        ttl=messages.history.ttl,
        about=owner.about,
        turn=owner.turn,
        due=due,
        unreadable=unreadable,
    )
    appender = Appender(
        redis,
        keys,
        redis_clock,
        messages.refuse,
        messages.answer_repeated,
        newest=lambda: tail.seen,
        size=size,
        subscribers=subscribers,
        per_id=per_id,
        wall=wall,
    )
    return RedisSession(
        redis,
        keys,
        messages,
        owner,
        tail=tail,
        appender=appender,
        presence=presence,
        subscribers=subscribers,
        lease=lease,
        availability=Availability(redis.name, clock),
        unreadable=unreadable,
        size=size,
    )
