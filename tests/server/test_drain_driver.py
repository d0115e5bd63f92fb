"""The drain carried out on connections, and shown."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from signal import SIGHUP, SIGINT, SIGTERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.frames import read
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from wsctl import messages
from wsctl.codes import CLOSE_TIMEOUT, ExitCode
from wsctl.drain.graceful import GracefulShutdownManager, NotDraining
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.observers import DrainLog, DrainObserver
from wsctl.drain.pace import HANDOVER_WINDOW, Pace
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectedClient, DrainProgress
from wsctl.frame import Batch
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.drainable import HubClients

pytestmark = pytest.mark.anyio


@dataclass
class Watcher:
    """Somebody who is shown the drain, every ten seconds."""

    interval: float = 10.0
    seen: list[str] = field(default_factory=list)
    steps: list[Intervention] = field(default_factory=list)
    last: DrainProgress | None = None
    exit_code: ExitCode | None = None

    def intervened(self, step: Intervention) -> None:
        self.steps.append(step)

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

    def __init__(self, pace: Pace) -> None:
        self.now = 1000.0
        self.watcher = Watcher()
        self.life = GracefulShutdownManager(pace)
        self.manager = ConnectionManager(self.clock, asyncio.get_running_loop().call_soon)
        self.clients = HubClients(self.manager, self.clock, list.reverse)
        self.drive(self.clock, [self.watcher])

    def drive(self, clock: Callable[[], float], observers: Sequence[DrainObserver]) -> None:
        self.driver = DrainDriver(self.life, [self.clients], clock, observers)

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
async def _serving(
    longest: float = 60.0, delay: float = 0.0, spread: float = 0.0, window: float = 0.0
) -> AsyncIterator[Server]:
    server = Server(Pace(longest, delay, spread, window))
    server.life.started()
    task = asyncio.create_task(server.driver.run())
    await server.settled()
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _shutdown_frames(connection: RecordedConnection) -> list[tuple[float | None, str]]:
    frames = [read(payload) for payload in connection.payloads[1:]]
    return [(f["deadline_s"], f["reason"]) for f in frames if f["type"] == "shutdown"]


async def test_clients_are_told_and_the_last_to_leave_ends_it() -> None:
    async with _serving() as server:
        bob, eve = server.join("bob"), server.join("eve")
        ending = asyncio.create_task(server.driver.wait_until_over())
        await server.settled()
        server.driver.signal(SIGTERM)
        await server.settled()
        assert not ending.done()
        assert _shutdown_frames(bob) == _shutdown_frames(eve) == [(60.0, "SIGTERM")]
        server.manager.retire(bob, 1000, "", EndReason.LEFT)
        await server.settled()
        assert not server.driver.stopped.is_set()
        server.manager.forget(eve)
        await server.stopped()
        await ending
        await server.driver.wait_until_over()  # over for good
        assert server.watcher.seen == ["began"]
        server.manager.forget(bob)  # whose end is told before that of the drain
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
            assert connection.closed[0::2] == (1012, EndReason.FORCED)
        server.manager.forget(bob)
        await server.later(CLOSE_TIMEOUT - 0.1)
        assert eve.aborted is None
        await server.later(0.1)
        await server.stopped()
        assert eve.aborted
        assert bob.aborted is None
        assert "ended" not in server.watcher.seen
        server.manager.forget(eve)
        last = server.watcher.last
        assert last
        assert (last.forced, last.aborted, last.undelivered) == (1, 1, 5)
        assert server.watcher.exit_code == ExitCode.FORCED


async def test_run_returns_by_itself_when_a_step_of_its_own_stops_the_server() -> None:
    server = Server(Pace(0.01))
    server.drive(asyncio.get_running_loop().time, [])
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
        server.driver.signal(SIGINT)  # the same key, passed on by somebody else too
        assert not bob.aborted
        server.now += 1
        server.driver.signal(SIGINT)
        assert bob.aborted
        assert server.driver.stopped.is_set()
        server.driver.conclude()
        assert server.watcher.exit_code == ExitCode.OPERATOR


async def test_a_cancelled_drain_reassures_and_a_new_one_is_shown_anew() -> None:
    async with _serving() as server:
        bob = server.join("bob")
        server.driver.drain(30)
        ending = asyncio.create_task(server.driver.wait_until_over())
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
    server = Server(Pace(60))
    server.driver.signal(SIGTERM)
    server.driver.signal(SIGINT)
    assert server.driver.stopped.is_set()
    await server.driver.wait_until_over()
    assert server.watcher.seen == []


async def test_the_log_says_it_with_fields_that_have_a_value(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(Pace(60))
    server.drive(server.clock, [DrainLog()])
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


async def test_clients_hear_nothing_before_the_delay_is_over() -> None:
    async with _serving(60, delay=5) as server:
        bob = server.join("bob")
        server.driver.signal(SIGTERM)
        await server.later(4.5)
        assert server.life.phase is Phase.LAMEDUCK
        eve = server.join("eve")
        await server.later(0.5)
        assert _shutdown_frames(bob) == _shutdown_frames(eve) == [(60.0, "SIGTERM")]
        assert server.watcher.seen == ["began", "began"]


async def test_a_drain_cancelled_before_clients_were_told_is_over_for_who_waits() -> None:
    async with _serving(60, delay=5) as server:
        bob = server.join("bob")
        server.driver.drain()
        ending = asyncio.create_task(server.driver.wait_until_over())
        await server.settled()
        server.driver.cancel()
        await ending
        await server.later(100)
        assert _shutdown_frames(bob) == []
        assert server.life.phase is Phase.SERVING
        assert server.watcher.seen == ["began", "cancelled"]


async def test_those_connected_longest_are_closed_first_and_the_last_at_the_deadline() -> None:
    async with _serving(60, spread=30) as server:
        clients = [server.join(name) for name in "abc"]
        server.driver.signal(SIGTERM)
        for seconds, closed in ((39, ""), (1, "a"), (9.5, "a"), (0.5, "ab"), (9.5, "ab"), (0.5, "abc")):
            await server.later(seconds)
            assert [c.client_id for c in clients if c.closed] == [*closed]
        assert {c.closed[0::2] for c in clients if c.closed} == {(1012, EndReason.FORCED)}
        assert server.life.phase is Phase.CLOSING
        for client in clients:
            server.manager.forget(client)
        await server.stopped()
        assert server.watcher.exit_code == ExitCode.FORCED


async def test_each_client_is_told_a_moment_of_its_own() -> None:
    async with _serving(60, window=9) as server:
        clients = [server.join(name) for name in "abc"]
        server.driver.drain()
        await server.settled()
        told = [read(payload) for client in clients for payload in client.payloads[1:]]
        assert [frame["reconnect_in_s"] for frame in told] == [6.0, 3.0, 0.0]  # reversed, not shuffled
        assert {(frame["deadline_s"], frame["reason"]) for frame in told} == {(60.0, "requested")}
        server.driver.drain(600)
        await server.settled()
        later = [read(client.payloads[-1]) for client in clients]
        assert later == [{"type": "shutdown", "deadline_s": 600.0, "reason": "requested"}] * 3


async def test_what_was_published_before_the_drain_arrives_before_its_announcement() -> None:
    async with _serving(60, window=9) as server:
        bob = server.join("bob")
        server.manager.broadcast(messages.heartbeat(0.0, 1, 1))
        server.driver.drain()
        kinds = [read(payload)["type"] for payload in bob.payloads[1:]]
        assert kinds == ["heartbeat", "shutdown"]


async def test_a_handover_that_fails_leaves_the_server_as_it_was() -> None:
    async with _serving() as server:
        bob = server.join("bob")
        server.driver.begin_handover()
        with pytest.raises(NotDraining):
            server.driver.begin_handover()
        server.driver.abort_handover()
        await server.later(100)
        assert (server.life.phase, server.watcher.seen) == (Phase.SERVING, [])
        server.driver.begin_handover()
        server.driver.signal(SIGTERM)
        assert _shutdown_frames(bob) == []
        server.driver.abort_handover()
        await server.settled()
        assert _shutdown_frames(bob) == [(60.0, "SIGTERM")]


async def test_after_a_handover_the_rest_drains_and_the_end_tells_how_many_went_over() -> None:
    async with _serving() as server:
        moved, bob = server.join("moved"), server.join("bob")
        server.driver.begin_handover()
        server.manager.release(moved)
        server.driver.finish_handover()
        await server.settled()
        assert read(bob.payloads[-1]) == {
            "type": "shutdown",
            "deadline_s": 60.0,
            "reason": "handover",
            "reconnect_in_s": 0.0,
        }
        assert HANDOVER_WINDOW < 60
        server.manager.forget(bob)
        await server.stopped()
        last = server.watcher.last
        assert last
        assert (last.left, last.handed_over, last.started_with) == (1, 1, 1)
        assert server.watcher.exit_code is ExitCode.DONE


async def test_a_server_that_handed_over_everybody_stops_at_once() -> None:
    async with _serving() as server:
        moved = server.join("moved")
        server.driver.begin_handover()
        server.manager.release(moved)
        server.driver.finish_handover()
        assert server.driver.stopped.is_set()
        assert server.watcher.exit_code is ExitCode.DONE


async def test_progress_names_those_connected_longest() -> None:
    async with _serving() as server:
        for name in "abcdefg":
            server.join(name)
            server.now += 1
        server.driver.signal(SIGTERM)
        progress = server.driver.progress()
        assert progress
        assert progress.longest == tuple(ConnectedClient(name, 7.0 - n, 0) for n, name in enumerate("abcde"))
        assert progress.oldest == "a"


async def test_the_log_tells_of_the_delay_the_forecast_and_the_handed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(Pace(60, delay=5))
    server.drive(server.clock, [DrainLog()])
    server.life.started()
    clients = [server.join(name) for name in "abcd"]
    with caplog.at_level(logging.INFO, "wsctl.drain"):
        run = asyncio.create_task(server.driver.run())
        server.driver.signal(SIGTERM)
        await server.later(5)
        server.manager.forget(clients[0])
        await server.later(10)
        for client in clients[1:]:
            server.manager.forget(client)
        async with asyncio.timeout(DEADLINE):
            await run
    told = [(record.getMessage(), record.__dict__["fields"]) for record in caplog.records]
    assert [event for event, _ in told] == ["lameduck", "draining", "still draining", "drained"]
    assert (told[0][1]["remaining_s"], told[1][1]["remaining_s"]) == (65.0, 60.0)
    assert (told[2][1]["eta_s"], told[2][1]["oldest"]) == (30.0, "b")
    assert told[3][1]["handed_over"] == 0


async def test_ten_thousand_leave_in_a_second() -> None:
    async with _serving() as server:
        clients = [server.join(f"c{n}") for n in range(10_000)]
        server.driver.signal(SIGTERM)
        began = time.process_time()  # others may have the core
        for client in clients:
            server.manager.forget(client)
            await asyncio.sleep(0)
        await server.stopped()
        assert time.process_time() - began < 5  # a second, where nothing disturbs it


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
                server.manager.retire(client, 1000, "", EndReason.LEFT)
            elif what == "vanish" and client.end_reason is None:
                server.manager.forget(client)
            elif what == "evict" and client.end_reason is None:
                client.close(1013, "too slow", EndReason.EVICTED)
            elif what == "answer" and client in server.manager.closing:
                server.manager.forget(client)
            elif what in ("sigterm", "sigint"):
                server.driver.signal(SIGTERM if what == "sigterm" else SIGINT)
            await server.later(n if what == "later" else 0)
        await server.later(30)
        await server.later(CLOSE_TIMEOUT)
        await server.stopped()
        server.driver.conclude()
        last = server.watcher.last
        assert last
        assert last.left + last.evicted + last.forced + last.aborted == last.started_with == len(clients)
        assert last.aborted == sum(1 for c in clients if c.end_reason is EndReason.ABORTED)
        assert server.watcher.seen.count("began") == server.watcher.seen.count("ended") == 1
        assert server.watcher.seen[-1] == "ended"
        assert (server.watcher.exit_code is ExitCode.DONE) == (last.forced + last.aborted == 0)


@examples(60)
@given(STEPS, st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True))
def test_everyone_who_was_there_is_accounted_for(steps: list[tuple[str, int]], names: list[str]) -> None:
    asyncio.run(_everyone_ends(steps, names))


async def test_each_step_of_an_operator_is_told_with_its_way_and_the_deadlines() -> None:
    async with _serving() as server:
        server.join("bob")
        server.driver.drain(by="control socket")
        server.now += 10
        server.driver.drain(3.0, by="token, from 10.0.0.1")
        server.driver.drain()  # nothing is moved
        server.driver.cancel(by="control socket")
        server.driver.drain(5.0, by="control socket")
        server.driver.signal(SIGHUP)
        server.now += 0.5
        server.driver.signal(SIGINT)
        server.now += 0.6
        for _ in range(2):  # one key, which two processes pass on
            server.driver.signal(SIGINT)
        server.now += 0.2
        server.driver.signal(SIGINT)
        assert [(step.kind, step.by, step.was_s, step.is_s) for step in server.watcher.steps] == [
            (InterventionKind.BEGUN, "control socket", None, 60.0),
            (InterventionKind.MOVED, "token, from 10.0.0.1", 50.0, 3.0),
            (InterventionKind.CANCELLED, "control socket", 3.0, None),
            (InterventionKind.BEGUN, "control socket", None, 5.0),
            (InterventionKind.FINAL, "SIGHUP", None, 5.0),
            (InterventionKind.TOO_SOON, "SIGINT", None, 4.5),
            (InterventionKind.FORCED, "SIGINT", None, pytest.approx(3.9)),
            (InterventionKind.CUT, "SIGINT", None, pytest.approx(3.7)),
        ]


async def test_a_signal_that_comes_in_a_handover_is_told_at_once_and_when_it_takes_effect() -> None:
    async with _serving() as server:
        server.join("bob")
        server.driver.begin_handover()
        server.driver.signal(SIGTERM)
        server.driver.abort_handover()
        assert [(step.kind, step.by) for step in server.watcher.steps] == [
            (InterventionKind.LATER, "SIGTERM"),
            (InterventionKind.BEGUN, "SIGTERM"),
        ]
