"""The drain carried out on connections, and shown."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from signal import SIGINT, SIGTERM

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.server import DEADLINE
from wsctl.codes import ExitCode
from wsctl.hub.connection import CLOSE_TIMEOUT, Ending
from wsctl.hub.frame import Batch
from wsctl.hub.manager import ConnectionManager
from wsctl.lifecycle.driver import DrainDriver, DrainLog
from wsctl.lifecycle.graceful import DrainProgress, GracefulShutdownManager, NotDraining
from wsctl.lifecycle.phases import Phase

pytestmark = pytest.mark.anyio


@dataclass
class Watcher:
    """Somebody who is shown the drain, every ten seconds."""

    interval: float = 10.0
    seen: list[str] = field(default_factory=list)
    last: DrainProgress | None = None
    exit_code: ExitCode | None = None

    def began(self, progress: DrainProgress) -> None:
        self.seen.append("began")

    def progressed(self, progress: DrainProgress) -> None:
        self.seen.append("progressed")
        self.last = progress

    def cancelled(self) -> None:
        self.seen.append("cancelled")

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self.seen.append("ended")
        self.last, self.exit_code = progress, exit_code


class Server:
    """A driver on this loop, with a clock that is moved by hand."""

    def __init__(self, timeout: float) -> None:
        self.now = 1000.0
        self.watcher = Watcher()
        self.life = GracefulShutdownManager(timeout)
        self.manager = ConnectionManager(self.clock, asyncio.get_running_loop().call_soon)
        self.driver = DrainDriver(self.life, self.manager, self.clock, [self.watcher])

    def clock(self) -> float:
        return self.now

    def join(self, name: str) -> RecordedConnection:
        connection = RecordedConnection(name, self.manager, self.now)
        self.manager.connect(connection, Batch((b"{}",)))
        return connection

    async def later(self, seconds: float) -> None:
        """So much later, as soon as somebody looks."""
        self.now += seconds
        for observer in self.manager.observers:
            observer()
        await self.settled()

    async def settled(self) -> None:
        """Every callback and task that could run has run."""
        for _ in range(6):
            await asyncio.sleep(0)

    async def stopped(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.driver.stopped.wait()


@asynccontextmanager
async def _serving(longest: float = 60.0) -> AsyncIterator[Server]:
    server = Server(longest)
    server.life.started()
    task = asyncio.create_task(server.driver.run())
    await server.settled()
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _shutdown_frames(connection: RecordedConnection) -> list[tuple[float | None, str]]:
    frames = [json.loads(payload) for payload in connection.payloads[1:]]
    return [(f["deadline_s"], f["reason"]) for f in frames if f["type"] == "shutdown"]


async def test_clients_are_told_and_the_last_to_leave_ends_it() -> None:
    async with _serving() as server:
        bob, eve = server.join("bob"), server.join("eve")
        ending = asyncio.create_task(server.driver.ending())
        await server.settled()
        server.driver.signal(SIGTERM)
        await server.settled()
        assert not ending.done()
        assert _shutdown_frames(bob) == _shutdown_frames(eve) == [(60.0, "SIGTERM")]
        server.manager.retire(bob, 1000, "", Ending.LEFT)
        await server.settled()
        assert not server.driver.stopped.is_set()
        server.manager.forget(eve)
        await server.stopped()
        await ending
        await server.driver.ending()  # over for good
        assert server.watcher.seen == ["began", "ended"]
        assert server.watcher.last
        assert (server.watcher.last.left, server.watcher.last.started_with) == (2, 2)
        assert server.watcher.exit_code == ExitCode.DONE


async def test_the_deadline_closes_with_1012_and_the_silent_are_aborted() -> None:
    async with _serving() as server:
        bob, eve = server.join("bob"), server.join("eve")
        eve.missed = 5
        server.driver.signal(SIGTERM)
        await server.later(60)
        for connection in (bob, eve):
            assert connection.closed
            assert connection.closed[0::2] == (1012, Ending.FORCED)
        server.manager.forget(bob)
        await server.later(CLOSE_TIMEOUT - 0.1)
        assert eve.aborted is None
        await server.later(0.1)
        await server.stopped()
        assert eve.aborted
        assert bob.aborted is None
        last = server.watcher.last
        assert last
        assert (last.forced, last.aborted, last.undelivered) == (1, 1, 5)
        assert server.watcher.exit_code == ExitCode.FORCED


async def test_run_returns_by_itself_when_a_step_of_its_own_stops_the_server() -> None:
    server = Server(0.01)
    server.driver = DrainDriver(server.life, server.manager, asyncio.get_running_loop().time, [])
    server.life.started()
    bob = server.join("bob")
    server.driver.signal(SIGTERM)
    server.manager.observers.append(lambda: server.manager.closing.discard(bob))
    async with asyncio.timeout(DEADLINE):
        await server.driver.run()
    assert server.life.phase is Phase.STOPPED


async def test_the_operator_forces_and_then_aborts() -> None:
    async with _serving() as server:
        bob = server.join("bob")
        server.driver.signal(SIGINT)
        server.driver.signal(SIGTERM)
        server.driver.signal(SIGINT)
        assert bob.closed is None
        server.now += 1
        server.driver.signal(SIGINT)
        assert bob.closed
        server.driver.signal(SIGINT)
        assert bob.aborted
        assert server.driver.stopped.is_set()
        assert server.watcher.exit_code == ExitCode.OPERATOR


async def test_a_cancelled_drain_reassures_and_a_new_one_is_shown_anew() -> None:
    async with _serving() as server:
        bob = server.join("bob")
        server.driver.drain(30)
        ending = asyncio.create_task(server.driver.ending())
        await server.settled()
        server.driver.cancel()
        await ending
        assert server.driver.progress() is None
        assert [deadline for deadline, _ in _shutdown_frames(bob)] == [30.0, None]
        await server.later(100)
        assert bob.closed is None
        server.driver.drain()
        assert server.watcher.seen == ["began", "cancelled", "began"]
        server.driver.signal(SIGTERM)
        with pytest.raises(NotDraining):
            server.driver.cancel()


async def test_a_moved_deadline_holds_and_clients_learn_of_it() -> None:
    async with _serving() as server:
        bob = server.join("bob")
        server.driver.drain(30)
        server.driver.drain(300)
        await server.later(299)
        assert bob.closed is None
        await server.later(1)
        assert bob.closed
        assert [deadline for deadline, _ in _shutdown_frames(bob)] == [30.0, 300.0]


async def test_progress_is_shown_each_interval_and_a_gap_is_not_caught_up() -> None:
    async with _serving(10_000) as server:
        server.join("bob")
        server.driver.signal(SIGTERM)
        for seconds, shown in ((9.9, 0), (0.1, 1), (5, 1), (5, 2), (0, 2), (600, 3), (9, 3), (1, 4)):
            await server.later(seconds)
            assert server.watcher.seen.count("progressed") == shown
        assert server.watcher.last
        assert (server.watcher.last.elapsed_s, server.watcher.last.remaining_s) == (630.0, 9370.0)


async def test_a_signal_while_starting_stops_without_a_drain() -> None:
    server = Server(60)
    server.driver.signal(SIGTERM)
    server.driver.signal(SIGINT)
    assert server.driver.stopped.is_set()
    await server.driver.ending()
    assert server.watcher.seen == []


async def test_the_log_says_it_with_fields_that_have_a_value(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(60)
    server.driver = DrainDriver(server.life, server.manager, server.clock, [DrainLog()])
    server.life.started()
    with caplog.at_level(logging.INFO, "wsctl.drain"):
        bob = server.join("bob")
        server.driver.drain()
        server.driver.cancel()
        server.driver.signal(SIGTERM)
        server.manager.forget(bob)
        await asyncio.wait_for(server.driver.run(), DEADLINE)
    assert [record.getMessage() for record in caplog.records] == [
        "draining",
        "drain cancelled",
        "draining",
        "drained",
    ]
    first, last = caplog.records[0].__dict__["fields"], caplog.records[-1].__dict__["fields"]
    assert (first["active"], first["remaining_s"]) == (1, 60.0)
    assert (last["left"], last["exit_code"]) == (1, 0)
    assert None not in [*first.values(), *last.values()]


STEPS = st.lists(
    st.tuples(st.sampled_from(["leave", "vanish", "evict", "answer"]), st.integers(0, 7))
    | st.tuples(st.sampled_from(["later", "sigterm", "sigint"]), st.integers(0, 20)),
    max_size=14,
)


async def _everyone_ends(steps: list[tuple[str, int]], names: list[str]) -> None:
    async with _serving(30) as server:
        clients = [server.join(name) for name in names]
        before = server.join("left before")
        server.manager.forget(before)
        server.driver.drain()
        for what, n in steps:
            client = clients[n % len(clients)]
            if what == "leave":
                server.manager.retire(client, 1000, "", Ending.LEFT)
            elif what == "vanish" and client.ending is None:
                server.manager.forget(client)
            elif what == "evict" and client.ending is None:
                client.close(1013, "too slow", Ending.EVICTED)
            elif what == "answer" and client in server.manager.closing:
                server.manager.forget(client)
            elif what in ("sigterm", "sigint"):
                server.driver.signal(SIGTERM if what == "sigterm" else SIGINT)
            await server.later(n if what == "later" else 0)
        await server.later(30)
        await server.later(CLOSE_TIMEOUT)
        await server.stopped()
        last = server.watcher.last
        assert last
        assert last.left + last.evicted + last.forced + last.aborted == last.started_with == len(clients)
        assert last.aborted == sum(1 for c in clients if c.ending is Ending.ABORTED)
        assert server.watcher.seen.count("began") == server.watcher.seen.count("ended") == 1
        assert server.watcher.seen[-1] == "ended"
        assert (server.watcher.exit_code is ExitCode.DONE) == (last.forced + last.aborted == 0)


@settings(max_examples=60)
@given(STEPS, st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True))
def test_everyone_who_was_there_is_accounted_for(steps: list[tuple[str, int]], names: list[str]) -> None:
    asyncio.run(_everyone_ends(steps, names))
