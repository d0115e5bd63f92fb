"""The session of one node with Redis, where it shares the log and the presence of clients with other nodes.

Redis answers         -> up: the log is followed, messages are appended, presence is reported
it does not, twice    -> away: clients are told, publishers refused; Redis is tried again and again
it answers again      -> up: clients are told whether anything was lost, then get what they missed
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from wsctl.log.history import MessageId
from wsctl.log.home import Away, Draft, Home, Kept
from wsctl.log.message_log import MessageLog, written
from wsctl.log.redis.appender import Appender
from wsctl.log.redis.client import RedisClient
from wsctl.log.redis.presence import Presence
from wsctl.log.redis.reasons import CHECK_REDIS
from wsctl.log.redis.records import Account, Unreadable, position, read_account, read_client
from wsctl.log.redis.scripts import BEAT, BYE, Keys
from wsctl.log.redis.tail import BLOCK, START, Lag, Tail

BEAT_INTERVAL = 1.0
"""Seconds between two beats, which renew the node's lease: as often as `status --watch` looks."""

LEASE = 5.0
"""Seconds after its last beat for which a node counts: four beats may be lost."""

LEAST_KEPT = 1000
"""Entries that the log keeps at least, for nodes that were cut off; `--history` may want more."""

FIRST_RETRY, SLOWEST_RETRY = 0.1, 1.0
"""Seconds between two tries to reach Redis: doubled from the first to the second."""

STEADY = 5.0
"""Seconds without a failure after which the next one counts as the first again."""

UNEXPECTED = "what Redis says makes no sense"
"""The reason given for an unexpected error: its traceback is in the log, and for nobody else."""

BYE_TIMEOUT = 0.1
"""Seconds that a process which ends waits for Redis; if Redis does not answer, the node's lease ends by
itself."""

log = logging.getLogger("wsctl.shared")


class SessionOwner(Protocol):
    """The server that has a session, as the session calls it."""

    def about(self) -> dict[str, Any]:
        """Return the node's account of itself, for the others."""

    def replaced(self, client_id: str) -> None:
        """Close the connection of a client that has a newer one at another node."""

    def turn(self, before: int) -> None:
        """Take note that so many nodes drain, or wait to, before this one."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The place at which a successor goes on: the name of its predecessor as a node, and the newest ids that
    it had read of the log and the inbox."""

    node: str
    seen: str
    inbox: str


class RedisSession(Home):
    """The session of one node with Redis.

    Attributes:
        why: why Redis is away; None while it is there.
        since: since when that is so, on `clock`.
        peers: all nodes' accounts as of the last beat, this one's too, by name.
        lag: how far the node is behind the log.
        presence: the clients of this node, as Redis is told of them.
        unreadable: the count of what was skipped.
    """

    def __init__(
        self,
        redis: RedisClient,
        prefix: str,
        messages: MessageLog,
        owner: SessionOwner,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.redis = redis
        self.why: str | None = None
        self.since = clock()
        self.peers: dict[str, dict[str, Any]] = {}
        self.lag = Lag()
        self._messages = messages
        self._owner = owner
        self._clock = clock
        self._keys = keys = Keys(prefix, secrets.token_hex(4))
        self.unreadable = Unreadable()
        self.presence = Presence(
            redis,
            keys,
            owner.replaced,
            clock=clock,
            offset=lambda: self._appender.offset,
            unreadable=self.unreadable,
        )
        self._tail = Tail(
            redis,
            keys,
            messages,
            look_at=self.presence.look_at,
            gap=self._skip_lost,
            unreadable=self.unreadable,
            beyond=self.beat_soon,
        )
        self._appender = Appender(
            redis,
            keys,
            messages.refuse,
            newest=lambda: self._tail.seen,
            most=max(messages.history.most, LEAST_KEPT),
            clock=clock,
            wall=wall,
        )
        self._wants_turn = False
        self._unexpected: str | None = None
        self._unexpected_count = 0
        self._failed = 0
        self._up: float | None = None
        self._start: str | None = None
        self._beat_wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def node(self) -> str:
        """This node's name among the others."""
        return self._keys.node

    @property
    def lag_s(self) -> float:
        """The seconds for which an entry has been known to be in the log that was not read here."""
        return self.lag.seconds(position(self._tail.seen), self._clock())

    def publish(self, draft: Draft) -> None:
        self._appender.publish(draft)

    async def begin(self) -> None:
        try:
            newest = await self._beat()
            history = self._messages.history
            kept = await self._tail.load(START, newest, history.most, history.most_bytes)
        except Exception as error:
            raise self.redis.unusable(self._away(error)) from None
        self._messages.restore(position(newest), *kept)
        self._tail.seen = newest
        self._start = None
        self._follow_log()

    async def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        try:
            return await self._tail.load(written(after), written(until), most, most_bytes)
        except Exception as error:
            raise self._away(error) from None

    def resume_at(self, point: dict[str, Any], clients: Iterable[str]) -> None:
        """Go on as the node of a predecessor, whose log and clients this process has."""
        at = ResumePoint(**point)
        self._keys.node = at.node
        self._tail.seen, self._tail.inbox = at.seen, at.inbox
        self.presence.adopt(clients)
        self._follow_log()

    def resume(self, clients: Container[str]) -> None:
        # A client that has moved is not here any more, and was not reported as gone.
        self.presence.only(clients)
        self._follow_log()

    def skip_to(self, message_id: MessageId) -> None:
        self._tail.seen = written(message_id)

    async def suspend(self) -> dict[str, Any]:
        await self._stop()
        self._appender.suspend()
        return asdict(ResumePoint(self.node, self._tail.seen, self._tail.inbox))

    def joined(self, client_id: str) -> None:
        self.presence.joined(client_id)

    def left(self, client_id: str) -> None:
        self.presence.left(client_id)

    async def end(self) -> None:
        """Remove the node, unless another process goes on as it. What its last clients sent is appended."""
        if self._task:
            with suppress(Away, TimeoutError):
                async with asyncio.timeout(BYE_TIMEOUT if self.why is None else 0):
                    await self._appender.idle.wait()
            await self._stop()
            with suppress(Away, TimeoutError):
                async with asyncio.timeout(BYE_TIMEOUT):
                    await self.redis.run(BYE, [self._keys.log], self._keys.base, self.node)
        await self.redis.drop()

    def want_turn(self, wanted: bool) -> None:
        """Ask for a turn to drain, or give it back; the owner is told how many nodes are before this one."""
        self._wants_turn = wanted
        self.beat_soon()
        if wanted and self.why is not None:
            self._owner.turn(0)  # nobody can give one

    def beat_soon(self) -> None:
        """Beat at once, and not only when the next beat is due: the node's account of itself has changed."""
        self._beat_wanted.set()

    async def clients(self) -> dict[str, list[tuple[str, float]]]:
        """Return the clients of each node, and for how many seconds each is connected, the one connected
        longest first.

        Raises:
            Away: Redis did not tell.
        """
        found = {}
        for node in self.peers:
            answer = await self.redis.ask("HGETALL", self._keys.at(node))
            rows = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
            found[node] = sorted(self._read_clients(rows), key=lambda client: -client[1])
        return found

    def _read_clients(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, float]]:
        now = self._clock() + self._appender.offset
        for name, value in rows:
            try:
                client_id, since = read_client(name, value)
            except ValueError as error:
                self.unreadable.note("client", repr(name), str(error))
            else:
                yield client_id, round(max(0.0, now - since / 1000), 3)

    # Up and away

    def _follow_log(self) -> None:
        if self._task is None:
            self._appender.suspended = False
            self._task = asyncio.create_task(self._run())

    def _away(self, error: Exception) -> Away:
        if isinstance(error, Away):
            return error
        self._note_unexpected(error)
        return Away(UNEXPECTED, CHECK_REDIS)

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
            except Away as error:
                self._fail(str(error))
            except Exception as error:
                self._note_unexpected(error)
                self._fail(UNEXPECTED)
            await self.redis.drop()
            await asyncio.sleep(self._pause() if self.why else 0)

    async def _work(self) -> None:
        """Follow, append and report for as long as Redis answers."""
        await self._beat()
        if self._start is not None:
            self._appender.forget()
        # An answer that was lost may have said that Redis had forgotten them.
        self.presence.again()
        work = (self._follow(), self._beats(), self._appender.run(), self.presence.run())
        tasks = [asyncio.create_task(job) for job in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(tasks)

    async def _follow(self) -> None:
        await self._tail.read(0, self._come_back)
        while True:
            await self._tail.read(BLOCK, self._report_losses)

    def _note_unexpected(self, error: Exception) -> None:
        """Log an unexpected error once however often it comes, and count it."""
        self._unexpected_count += 1
        if repr(error) != self._unexpected:
            self._unexpected = repr(error)
            log.error(UNEXPECTED, exc_info=error)

    def _fail(self, why: str) -> None:
        """Count a failure. The first one changes nothing yet: a connection that was lost is made again at
        once."""
        if self._up is not None and self._clock() - self._up >= STEADY:
            self._failed = 0
        self._up = None
        self._failed += 1
        if self._failed > 1:
            self._go_away(why)

    def _pause(self) -> float:
        doubled = min(self._failed - 2, 10)  # a day of tries is more than a float holds
        return min(FIRST_RETRY * float(2**doubled), SLOWEST_RETRY)

    def _go_away(self, why: str) -> None:
        first, self.why = self.why is None, why
        if first:
            self.since = self._clock()
            if why != UNEXPECTED:
                log.warning("Redis is away", extra={"fields": {"redis": self.redis.name, "why": why}})
            self._messages.cut_off(why)
            self._owner.turn(0)
        self._appender.close()

    def _come_back(self) -> None:
        """Tell clients that Redis is back, before they get what they missed."""
        was_away, self._up = self.why is not None, self._clock()
        recovered = self._start is None
        if was_away:
            fields = {"redis": self.redis.name, "away_s": round(self._clock() - self.since, 3)}
            if self.why != UNEXPECTED:
                log.info("Redis is back", extra={"fields": fields | {"recovered": recovered}})
            self.why, self.since = None, self._clock()
        self._appender.open()
        self._report_losses(logged=was_away)
        if was_away and recovered:
            self._messages.back(recovered=True)

    def _report_losses(self, logged: bool = False) -> None:
        start, self._start = self._start, None
        if start is not None:
            self._skip_lost(start, logged)

    def _skip_lost(self, start: str, logged: bool = False) -> None:
        """Go on behind `start`: what was up to there and was not seen is lost, and clients are told so."""
        if not logged:
            log.warning("messages were lost with the stream", extra={"fields": {"redis": self.redis.name}})
        ms, sequence = position(self._tail.seen)
        # Whoever has seen what this node saw last, must not be told that nothing is missing.
        here = max(position(start), (ms, sequence + 1))
        self._tail.seen = start
        self._messages.restore(here, here, ())
        self._messages.back(recovered=False)

    # Beats

    async def _beats(self) -> None:
        while True:
            self._beat_wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_INTERVAL):
                    await self._beat_wanted.wait()
            await self._beat()
            self._note_recovery()

    def _note_recovery(self) -> None:
        """Log, once nothing has failed for a while, how many unexpected errors there were."""
        if self._unexpected and self._up is not None and self._clock() - self._up >= STEADY:
            log.info(
                "what Redis says makes sense again", extra={"fields": {"failures": self._unexpected_count}}
            )
            self._unexpected, self._unexpected_count = None, 0

    async def _beat(self) -> str:
        """Renew the node's lease, and learn the state of the others; return the log's newest id."""
        keys, about = self._keys, json.dumps(self._owner.about())
        seen, history = self._tail.seen, self._messages.history
        bound = ("MAXLEN", LEAST_KEPT) if len(history) < LEAST_KEPT else ("MINID", written(history.floor))
        trim = bound if history.is_full_of_bytes else ()
        words = (keys.base, keys.node, int(LEASE * 1000), about, seen)
        wish = "1" if self._wants_turn else ""
        here = self.presence.reported
        answer = await self.redis.run(BEAT, [keys.log], *words, wish, *trim)
        now, start, newest, is_new, before, peers, clients, cleared = answer
        self._appender.set_offset(now)
        self.lag.note(position(newest.decode()), position(self._tail.seen), self._clock())
        if start.decode() != seen == self._tail.seen:
            self._start = start.decode()
        if is_new or clients < here:
            self.presence.again()
        if cleared:
            self.unreadable.note(
                "key", f"{keys.base} at {now}", "it is of another type, or beyond all clocks"
            )
        self.peers = dict(self._accounts(zip(peers[::2], peers[1::2], strict=True)))
        if wish:
            self._owner.turn(before)
        return str(newest.decode())

    def _accounts(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, Account]]:
        for name, value in rows:
            try:
                yield name.decode(), read_account(value)
            except ValueError as error:
                self.unreadable.note("node", repr(name), str(error))

    async def _stop(self) -> None:
        if self._task:
            await _end([self._task])
            self._task = None


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # what the others failed with says nothing new
