"""A session against servers that do what each test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.fake_hub import FakeHub, refused, serving_hub
from tests.support.fake_server import (
    degraded,
    error_body,
    message,
    refusing,
    serving,
    serving_on_a_unix_socket,
    shutdown,
    welcome,
)
from tests.support.server import DEADLINE
from wsctl.client import connection
from wsctl.client.commands import CommandRefused
from wsctl.client.connection import CHECK_SERVER, close_connection, open_connection
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
    Waiting,
)
from wsctl.client.session import STEADY, NotConnected, Session, WriteInterrupted
from wsctl.client.target import Target
from wsctl.errors import UsageError

pytestmark = pytest.mark.anyio


def impatient(target: Target, **how: Any) -> Session:
    """A session whose pauses are the longest ones and take no time."""

    async def no_time(_seconds: float) -> None:
        await asyncio.sleep(0)

    return Session(target, "bob", **{"uniform": lambda low, high: high, "sleep": no_time} | how)


async def events(session: Session, count: int) -> list[Event]:
    """The first so many events; then the session is left."""
    async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
        return [await anext(happening) for _ in range(count)]


async def all_events(session: Session) -> list[Event]:
    """Every event of a session that ends."""
    async with asyncio.timeout(DEADLINE):
        return [event async for event in session.events()]


def greeting(
    *frames: str, close: tuple[int, str] = (1012, "restart")
) -> Callable[[ServerConnection], Awaitable[None]]:
    """Welcomes, sends frames, closes."""

    async def handler(connection: ServerConnection) -> None:
        for frame in (welcome(), *frames):
            await connection.send(frame)
        await connection.close(*close)

    return handler


def closing_at_once(code: int, reason: str) -> Callable[[ServerConnection], Awaitable[None]]:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return handler


async def listening(connection: ServerConnection) -> None:
    """Welcomes, and echoes what it hears."""
    await connection.send(welcome())
    async for text in connection:
        await connection.send(message(text, "bob"))


async def keep_sending(session: Session) -> None:
    while True:
        await session.send("hello?")
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


def dead_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_what_a_server_sends_comes_in_order_and_then_its_close() -> None:
    async with serving(greeting(message("a"), message("b"), '{"type":"heartbeat"}')) as target:
        seen = await events(impatient(target), 5)
    opened, *frames, closed = seen
    assert isinstance(opened, Opened)
    assert opened.welcome["client_id"] == "bob"
    assert [f.frame.get("data") for f in frames if isinstance(f, Received)] == ["a", "b", None]
    assert closed == Closed(1012, "restart")


async def test_it_connects_again_after_a_close() -> None:
    async with serving(greeting()) as target:
        seen = await events(impatient(target), 5)
    assert [type(event) for event in seen] == [Opened, Closed, Waiting, Opened, Closed]


async def test_a_server_that_accepts_and_closes_at_once_is_met_with_growing_pauses() -> None:
    async with serving(closing_at_once(1001, "draining")) as target:
        seen = await events(impatient(target), 16)
    assert set(seen[::2]) == {Closed(1001, "draining")}
    assert seen[1::2] == [Waiting(s) for s in (0.5, 1, 2, 4, 8, 16, 30, 30)]


async def test_each_pause_is_slept() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with serving(closing_at_once(1001, "draining")) as target:
        await events(impatient(target, sleep=sleep), 7)
    assert slept == [0.5, 1, 2]


async def test_a_welcome_alone_does_not_start_the_pauses_over() -> None:
    async with serving(greeting()) as target:
        seen = await events(impatient(target), 9)
    assert [e.seconds for e in seen if isinstance(e, Waiting)] == [0.5, 1, 2]


@pytest.mark.parametrize(("lived", "pauses"), [(STEADY, [0.5, 0.5, 0.5]), (STEADY - 0.1, [0.5, 1, 2])])
async def test_a_connection_that_lived_long_enough_starts_them_over(
    lived: float, pauses: list[float]
) -> None:
    # The clock is read when a connection begins and when it ends.
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += lived
        return now

    async with serving(greeting()) as target:
        seen = await events(impatient(target, clock=clock), 9)
    assert [e.seconds for e in seen if isinstance(e, Waiting)] == pauses


async def test_without_a_welcome_even_a_long_life_does_not() -> None:
    async with serving(closing_at_once(1001, "draining")) as target:
        now = iter(range(0, 1000, 100))
        seen = await events(impatient(target, clock=lambda: next(now)), 6)
    assert [e.seconds for e in seen if isinstance(e, Waiting)] == [0.5, 1, 2]


@pytest.mark.parametrize("code", [4500, 4501, 4999])
async def test_a_final_code_ends_it(code: int) -> None:
    async with serving(closing_at_once(code, "go away")) as target:
        assert await all_events(impatient(target)) == [Closed(code, "go away")]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1009, 1012, 1013, 4000, 4499])
async def test_after_any_other_code_it_tries_again(code: int) -> None:
    async with serving(closing_at_once(code, "later")) as target:
        assert await events(impatient(target), 2) == [Closed(code, "later"), Waiting(0.5)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
async def test_an_answer_that_would_be_the_same_again_ends_it(status: int) -> None:
    body = error_body("some_code", "some words")
    async with serving(listening, refusing(status, body)) as target:
        assert await all_events(impatient(target)) == [HandshakeRefused(status, "some_code", "some words")]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_after_any_other_answer_it_tries_again(status: int) -> None:
    async with serving(listening, refusing(status)) as target:
        refused, waiting = await events(impatient(target), 2)
    assert isinstance(refused, HandshakeRefused)
    assert refused.status == status
    assert waiting == Waiting(0.5)


async def test_retry_after_is_the_least_pause_and_the_jitter_comes_on_top() -> None:
    async with serving(listening, refusing(503, retry_after="5")) as target:
        seen = await events(impatient(target), 4)
    assert seen[1::2] == [Waiting(5.5), Waiting(6)]


async def test_without_a_server_it_says_why_and_tries_again() -> None:
    port = dead_port()
    seen = await events(impatient(Target(f"http://127.0.0.1:{port}")), 4)
    why = ConnectFailed(f"cannot connect to http://127.0.0.1:{port}: connection refused", advice=CHECK_SERVER)
    assert seen == [why, Waiting(0.5), why, Waiting(1)]


async def test_a_connection_that_falls_silent_is_given_up_within_thirty_seconds() -> None:
    async with serving(listening) as target:
        connection = await open_connection(target, target.websocket("bob"))
        assert connection.ping_interval
        assert connection.ping_timeout
        assert connection.ping_interval + connection.ping_timeout < 30
        await close_connection(connection)


async def test_a_connection_lost_without_a_close_frame_is_1006() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        connection.transport.abort()

    async with serving(handler) as target:
        _, closed = await events(impatient(target), 2)
    assert isinstance(closed, Closed)
    assert closed.code == 1006
    assert closed.reason


@pytest.mark.parametrize("nonsense", ["hello", "[1]", "null", "[" * 100_000, b"\xff\x00", ""])
async def test_what_is_no_json_object_ends_it(nonsense: str | bytes) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(nonsense)
        await connection.wait_closed()

    async with serving(handler) as target:
        (failed,) = await all_events(impatient(target))
    assert isinstance(failed, ConnectFailed)
    assert "no wsctl server" in failed.message


async def test_what_speaks_no_http_is_a_failure_in_words() -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failed, _ = await events(impatient(Target(f"http://127.0.0.1:{port}")), 2)
    assert isinstance(failed, ConnectFailed)
    assert "does not speak HTTP" in failed.message


async def test_what_is_sent_arrives() -> None:
    async with serving(listening) as target:
        session = impatient(target)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            await anext(happening)
            await session.send("héllo")
            echo = await anext(happening)
    assert isinstance(echo, Received)
    assert echo.frame["data"] == "héllo"


async def test_nothing_is_sent_before_the_welcome_or_after_the_close() -> None:
    async with serving(greeting()) as target:
        session = impatient(target)
        with pytest.raises(NotConnected):
            await session.send("too early")
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert [type(await anext(happening)) for _ in range(3)] == [Opened, Closed, Waiting]
            with pytest.raises(NotConnected):
                await session.send("too late")


async def test_a_close_that_nobody_has_read_yet_is_no_connection_either() -> None:
    async with serving(greeting()) as target:
        session = impatient(target)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert isinstance(await anext(happening), Opened)
            with pytest.raises(NotConnected):
                await keep_sending(session)


async def test_a_connection_that_ends_while_a_message_is_written_leaves_it_open_what_became_of_that() -> None:
    cut = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        connection.transport.pause_reading()
        await cut.wait()
        connection.transport.abort()

    async with serving(handler) as target:
        session = impatient(target)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            await anext(happening)
            sending = asyncio.ensure_future(session.send("x" * (16 << 20)))
            await asyncio.sleep(0)
            cut.set()
            with pytest.raises(WriteInterrupted):
                await sending


async def test_closing_is_a_normal_close_and_the_end() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await listening(connection)
        codes.put_nowait(connection.close_code)

    async with serving(handler) as target:
        session = impatient(target)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            await anext(happening)
            closing = asyncio.ensure_future(session.close())
            assert [event async for event in happening] == [Closed(1000, "")]
            await closing
            assert await codes.get() == 1000


async def test_closing_does_not_wait_for_frames_that_nobody_read() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        for number in range(200):
            await connection.send(message("x" * 1000, number=number))
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async with serving(handler) as target:
        await events(impatient(target), 3)
        async with asyncio.timeout(DEADLINE):
            assert await codes.get() == 1000


async def test_closing_ends_a_pause() -> None:
    async with serving(closing_at_once(1001, "draining")) as target:
        session = impatient(target, sleep=lambda seconds: asyncio.sleep(3600))
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert [type(await anext(happening)) for _ in range(2)] == [Closed, Waiting]
            rest = asyncio.ensure_future(anext(happening, None))
            await session.close()
            assert await rest is None


async def test_a_hurry_ends_a_pause_and_only_the_one_that_is_there() -> None:
    async with serving(closing_at_once(1001, "draining")) as target:
        session = impatient(target, sleep=lambda seconds: asyncio.sleep(3600))
        session.reconnect_now()
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert [type(await anext(happening)) for _ in range(2)] == [Closed, Waiting]
            rest = asyncio.ensure_future(anext(happening))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not rest.done()
            session.reconnect_now()
            assert isinstance(await rest, Closed)


async def test_closing_ends_a_handshake_that_is_not_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        session = impatient(Target(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        everything = asyncio.ensure_future(all_events(session))
        async with asyncio.timeout(DEADLINE):
            silent, _ = await asyncio.get_running_loop().sock_accept(listener)
            await session.close()
            assert await everything == []
        silent.close()


async def test_a_server_that_has_not_welcomed_it_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 2 * DEADLINE)
    accepted, over = asyncio.Event(), asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        for _ in range(2):  # until it has read the answer to its handshake
            await (await connection.ping())
        connection.transport.pause_reading()  # as one that drains keeps newcomers
        accepted.set()
        await over.wait()
        connection.transport.resume_reading()

    async with serving(handler) as target:
        session = impatient(target)
        everything = asyncio.ensure_future(all_events(session))
        try:
            async with asyncio.timeout(DEADLINE):
                await accepted.wait()
                await session.close()
                await everything
        finally:
            over.set()


async def test_a_closed_session_does_not_begin() -> None:
    session = impatient(Target(f"http://127.0.0.1:{dead_port()}"))
    await session.close()
    assert await all_events(session) == []


async def test_a_unix_socket_is_a_server_like_any_other(runtime_dir: Path) -> None:
    async with serving_on_a_unix_socket(greeting(message("a")), str(runtime_dir / "s")) as target:
        seen = await events(impatient(target), 3)
    assert [type(event) for event in seen] == [Opened, Received, Closed]


async def test_a_missing_unix_socket_is_a_failure_in_words(runtime_dir: Path) -> None:
    path = runtime_dir / "none"
    failed, _ = await events(impatient(Target(None, uds=str(path))), 2)
    why = f"cannot connect to unix:{path}: no such file or directory"
    assert failed == ConnectFailed(why, advice=CHECK_SERVER)


# Resuming


def asked(connection: ServerConnection) -> str:
    """What the handshake asked for behind the client id."""
    assert connection.request
    return connection.request.path.partition("/ws/bob")[2]


def script(*lives: list[str]) -> tuple[list[str], Callable[[ServerConnection], Awaitable[None]]]:
    """A server whose connections each send these frames and are cut; the list has what each asked for."""
    requests: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        requests.append(asked(connection))
        for frame in lives[min(len(requests), len(lives)) - 1]:
            await connection.send(frame)
        connection.transport.abort()

    return requests, handler


async def test_a_first_connection_asks_for_nothing_and_the_next_for_what_came_after_the_welcome() -> None:
    requests, handler = script([welcome(id="7-0")])
    async with serving(handler) as target:
        seen = await events(impatient(target), 5)
    assert requests[:2] == ["", "?since=7-0"]
    assert [e.resumed for e in seen if isinstance(e, Opened)] == [False, True]


async def test_it_begins_after_a_message_that_is_named() -> None:
    requests, handler = script([welcome(id="9-0", recovered=False)])
    async with serving(handler) as target:
        opened, *_ = await events(impatient(target, since="7-0"), 2)
    assert requests == ["?since=7-0"]
    assert isinstance(opened, Opened)
    assert (opened.since, opened.gap) == ("7-0", True)


async def test_it_resumes_behind_the_last_message_it_was_given() -> None:
    requests, handler = script([welcome(), message("a", number=8), message("b", number=9)], [])
    async with serving(handler) as target:
        await events(impatient(target), 6)
    assert requests[:2] == ["", "?since=9-0"]


async def test_recovered_it_asks_again_from_where_it_was_until_a_message_has_come() -> None:
    again = welcome(id="20-0", recovered=True)
    lives = [welcome(id="7-0")], [again], [again, message("missed", number=8)], []
    requests, handler = script(*lives)
    async with serving(handler) as target:
        seen = await events(impatient(target), 11)
    assert requests[:4] == ["", "?since=7-0", "?since=7-0", "?since=8-0"]
    assert [(e.recovered, e.gap) for e in seen if isinstance(e, Opened)] == [
        (False, False),
        (True, False),
        (True, False),
    ]


async def test_not_recovered_it_goes_on_from_the_newest_message() -> None:
    requests, handler = script([welcome(id="7-0")], [welcome(id="20-0", recovered=False)], [])
    async with serving(handler) as target:
        seen = await events(impatient(target), 7)
    assert requests[:3] == ["", "?since=7-0", "?since=20-0"]
    assert [(e.recovered, e.gap) for e in seen if isinstance(e, Opened)] == [(False, False), (False, True)]


async def test_failed_attempts_do_not_move_it() -> None:
    requests: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        requests.append(asked(connection))
        if len(requests) == 1:
            await connection.send(welcome(id="7-0"))
        await connection.close(1001, "draining")

    async with serving(handler) as target:
        await events(impatient(target), 9)
    assert requests[:4] == ["", "?since=7-0", "?since=7-0", "?since=7-0"]


# Leaving when the server asks for it


class Moves:
    """A server that sends each connection these frames and notes its close.

    Attributes:
        requests: what each connection asked for.
        codes: how each was closed.
    """

    def __init__(self, *frames: str) -> None:
        self.requests: list[str] = []
        self.codes: list[int | None] = []
        self._frames = frames

    async def __call__(self, connection: ServerConnection) -> None:
        self.requests.append(asked(connection))
        for frame in (welcome(id="7-0", recovered=True), *self._frames):
            await connection.send(frame)
        await connection.wait_closed()
        self.codes.append(connection.close_code)


async def test_at_the_moment_named_it_closes_normally_and_comes_back_at_once() -> None:
    server = Moves(message("a", number=8), shutdown(reconnect_in_s=0.01))
    async with serving(server) as target:
        seen = await events(impatient(target), 5)
    assert [type(event) for event in seen] == [Opened, Received, Received, Moved, Opened]
    assert server.requests == ["", "?since=8-0"]
    assert server.codes[0] == 1000


async def test_it_waits_as_long_as_the_server_said() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with serving(Moves(shutdown(reconnect_in_s=123.4))) as target:
        await events(impatient(target, sleep=sleep), 3)
    assert slept == [123.4]


async def test_a_cancelled_drain_is_stayed_for() -> None:
    forgotten = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            forgotten.set()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.send(shutdown(reconnect_in_s=123.4))
        await connection.recv()
        await connection.send(shutdown(None))
        await connection.wait_closed()

    async with serving(handler) as target:
        session = impatient(target, sleep=sleep)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert [type(await anext(happening)) for _ in range(2)] == [Opened, Received]
            await session.send("planned")
            assert isinstance(await anext(happening), Received)
            await forgotten.wait()
            await session.send("still here")


async def test_when_it_cannot_come_back_at_once_it_pauses_as_ever() -> None:
    calls = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await connection.close(1001, "draining")
            return
        await Moves(shutdown(reconnect_in_s=0))(connection)

    async with serving(handler) as target:
        seen = await events(impatient(target), 7)
    assert seen[2:] == [
        Moved(),
        *[Closed(1001, "draining"), Waiting(0.5)],
        Closed(1001, "draining"),
        Waiting(1),
    ]


async def test_who_is_sent_away_again_and_again_does_not_hammer_the_servers() -> None:
    async with serving(Moves(shutdown(reconnect_in_s=0))) as target:
        seen = await events(impatient(target), 11)
    life = [Opened, Received, Moved]
    assert [type(event) for event in seen] == [*life, *life, Waiting, *life, Waiting]


async def test_after_a_while_on_a_server_a_move_is_at_once_again() -> None:
    now = iter(range(0, 1000, 100))
    async with serving(Moves(shutdown(reconnect_in_s=0))) as target:
        seen = await events(impatient(target, clock=lambda: next(now)), 9)
    assert [type(event) for event in seen] == [Opened, Received, Moved] * 3


async def leaving(last_words: Callable[[ServerConnection], Awaitable[None]]) -> list[Event]:
    """What a session tells when its server does something between the session's close frame and reading
    it; until the session waits or is open again."""
    gone = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome(recovered=True))
        if not gone.is_set():
            connection.transport.pause_reading()
            await connection.send(shutdown(reconnect_in_s=0))
            await gone.wait()
            await last_words(connection)
            connection.transport.resume_reading()
        async for _ in connection:
            pass

    async with serving(handler) as target:
        session = impatient(target)
        async with asyncio.timeout(DEADLINE), aclosing(session.events()) as happening:
            assert [type(await anext(happening)) for _ in range(2)] == [Opened, Received]
            with pytest.raises(NotConnected):
                await keep_sending(session)
            gone.set()
            seen = [await anext(happening)]
            while not isinstance(seen[-1], Opened | Waiting):
                seen.append(await anext(happening))
            return seen


async def test_what_arrives_while_it_closes_is_not_lost() -> None:
    async def send(connection: ServerConnection) -> None:
        for number in range(3):
            await connection.send(message(number))

    *frames, moved, opened = await leaving(send)
    assert [f.frame["data"] for f in frames if isinstance(f, Received)] == [0, 1, 2]
    assert (moved, type(opened)) == (Moved(), Opened)


async def test_a_connection_lost_while_it_closes_is_no_move() -> None:
    async def vanish(connection: ServerConnection) -> None:
        connection.transport.abort()

    closed, waiting = await leaving(vanish)
    assert isinstance(closed, Closed)
    assert (closed.code, waiting) == (1006, Waiting(0.5))


async def test_what_the_server_says_while_it_closes_counts() -> None:
    async def force(connection: ServerConnection) -> None:
        connection.transport.resume_reading()
        await connection.close(1012, "restart")

    assert await leaving(force) == [Closed(1012, "restart"), Waiting(0.5)]


# A server that is degraded for a while


async def test_a_welcome_on_an_open_connection_restores_it_and_where_it_stands() -> None:
    again = welcome(id="20-0", recovered=True)
    lost = welcome(id="30-0", recovered=False)
    lives = [welcome(id="7-0"), degraded(), degraded(), again], [again, degraded(), lost], []
    requests, handler = script(*lives)
    async with serving(handler) as target:
        seen = await events(impatient(target), 12)
    first = [Opened, ServerDegraded, Received, ServerRestored, Closed, Waiting]
    assert [type(event) for event in seen[:10]] == [*first, Opened, ServerDegraded, ServerRestored, Closed]
    assert requests[:3] == ["", "?since=7-0", "?since=30-0"]
    assert [event.recovered for event in seen if isinstance(event, ServerRestored)] == [True, False]


async def test_a_restored_connection_goes_on_and_keeps_its_plan_to_leave() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome(recovered=True))
        await connection.send(shutdown(reconnect_in_s=0.01))
        await connection.send(welcome(recovered=True))
        await connection.wait_closed()

    async with serving(handler) as target:
        seen = await events(impatient(target), 4)
    assert [type(event) for event in seen] == [Opened, Received, ServerRestored, Moved]


# Several servers


def turning_away() -> Callable[[ServerConnection], Awaitable[None]]:
    return closing_at_once(1001, "draining")


async def test_a_server_that_does_not_take_it_is_left_for_the_next_without_a_pause() -> None:
    dead = Target(f"http://127.0.0.1:{dead_port()}")
    async with (
        serving(turning_away()) as draining,
        serving(turning_away(), refusing(503, error_body("full", "full"))) as full,
        serving(greeting()) as taking,
    ):
        session = impatient(dead, others=(draining, full, taking))
        seen = await events(session, 5)
    kinds = [ConnectFailed, Closed, HandshakeRefused, Opened, Closed]
    assert [type(event) for event in seen] == kinds
    assert isinstance(seen[3], Opened)
    assert seen[3].server == taking.name


async def test_a_lost_connection_is_sought_at_its_own_server_first() -> None:
    async with serving(greeting()) as own, serving(greeting()) as other:
        seen = await events(impatient(own, others=(other,)), 8)
    assert [event.server for event in seen if isinstance(event, Opened)] == [own.name] * 3


async def test_elsewhere_it_resumes_and_comes_home_after_that_connection() -> None:
    requests: list[tuple[str, str]] = []

    def life(name: str, *, takes: bool) -> Callable[[ServerConnection], Awaitable[None]]:
        async def handler(connection: ServerConnection) -> None:
            requests.append((name, asked(connection)))
            if takes or len(requests) == 1:
                await connection.send(welcome(id="7-0", recovered=True))
                await connection.send(message("x", number=len(requests)))
            await connection.close(1012, "restart")

        return handler

    async with serving(life("own", takes=False)) as own, serving(life("other", takes=True)) as other:
        await events(impatient(own, others=(other,)), 10)
    assert requests[:4] == [
        ("own", ""),
        ("own", "?since=1-0"),
        ("other", "?since=1-0"),
        ("own", "?since=3-0"),
    ]


async def test_when_nobody_takes_it_a_pause_follows_each_round() -> None:
    async with serving(turning_away()) as own, serving(turning_away()) as other:
        seen = await events(impatient(own, others=(other,)), 6)
    assert seen == [
        *[Closed(1001, "draining")] * 2,
        Waiting(0.5),
        *[Closed(1001, "draining")] * 2,
        Waiting(1),
    ]


async def test_a_final_answer_is_final_whatever_other_servers_there_are() -> None:
    async with serving(turning_away(), refusing(403)) as own, serving(greeting()) as other:
        seen = await all_events(impatient(own, others=(other,)))
    assert [type(event) for event in seen] == [HandshakeRefused]


async def test_each_attempt_shows_the_credential_of_its_moment() -> None:
    shown: list[str | None] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request
        shown.append(connection.request.headers.get("Authorization"))
        await greeting()(connection)

    credentials = iter(["a", "b", None])
    async with serving(note) as target:
        seen = await events(impatient(target, credential=lambda: next(credentials)), 8)
    assert [type(event) for event in seen[:3]] == [Opened, Closed, Waiting]
    assert shown == ["Bearer a", "Bearer b", None]


async def test_a_credential_may_be_one_that_is_waited_for() -> None:
    shown: list[str | None] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request
        shown.append(connection.request.headers.get("Authorization"))
        await greeting()(connection)

    async def credential() -> str:
        await asyncio.sleep(0)
        return "a"

    async with serving(note) as target:
        await events(impatient(target, credential=credential), 1)
    assert shown == ["Bearer a"]


async def test_closing_does_not_wait_for_a_credential() -> None:
    asked = asyncio.Event()

    async def credential() -> str:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    session = impatient(Target("http://127.0.0.1:9"), credential=credential)
    everything = asyncio.ensure_future(all_events(session))
    async with asyncio.timeout(DEADLINE):
        await asked.wait()
        await session.close()
        assert await everything == []


async def test_a_credential_that_cannot_be_read_just_now_is_tried_again() -> None:
    answers: list[str] = []

    def credential() -> str | None:
        answers.append("asked")
        if len(answers) == 1:
            raise UsageError("WSCTL_CLIENT_TOKEN_FILE: it is being written")
        return "a"

    async with serving(greeting()) as target:
        failed, waiting, opened = await events(impatient(target, credential=credential), 3)
    assert failed == ConnectFailed("WSCTL_CLIENT_TOKEN_FILE: it is being written")
    assert isinstance(waiting, Waiting)
    assert isinstance(opened, Opened)


async def test_credentials_that_have_expired_are_no_reason_to_stay_away_and_refused_ones_are() -> None:
    async with serving(greeting(close=(4403, "expired"))) as target:
        seen = await events(impatient(target), 4)
    assert seen[1] == Closed(4403, "expired")
    assert isinstance(seen[3], Opened)
    async with serving(greeting(), refusing(401, error_body("bad_credentials", "no"))) as target:
        assert await all_events(impatient(target)) == [HandshakeRefused(401, "bad_credentials", "no")]


# Topics


@asynccontextmanager
async def connected(session: Session) -> AsyncIterator[list[Event]]:
    """A session that is connected and read; what happens is in the list."""
    seen: list[Event] = []
    opened = asyncio.Event()

    async def read() -> None:
        async for event in session.events():
            seen.append(event)
            if isinstance(event, Opened):
                opened.set()

    reading = asyncio.create_task(read())
    async with asyncio.timeout(DEADLINE):
        await opened.wait()
        yield seen
        await session.close()
        await reading


async def come_back(hub: FakeHub, count: int) -> None:
    """Cut the connection, and wait for the next one."""
    await hub.cut()
    await until(lambda: len(hub.queries) == count)


async def test_topics_are_subscribed_to_at_each_connection_and_one_since_is_for_all() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, connected(impatient(target, topics=["a.>", "b"])) as seen:
        await hub.publish("x", "a.b")
        await until(lambda: len(seen) == 2)
        await come_back(hub, 2)
    topics = [("topic", "a.>"), ("topic", "b")]
    assert hub.queries == [topics, [("since", "2-0"), *topics]]


async def test_what_is_subscribed_to_later_is_kept_and_what_is_unsubscribed_is_not() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target:
        session = impatient(target, commands=True)
        async with connected(session):
            assert (await session.request("subscribe", topics=["a", "b"]))["id"] == "7-0"
            session.unsubscribe(["a"])
            assert session.topics == ("b",)
            await come_back(hub, 2)
    assert hub.queries == [[], [("since", "7-0"), ("topic", "b")]]


async def test_a_refused_command_says_why_and_changes_nothing() -> None:
    hub = FakeHub(refused("topic_not_allowed", "not yours"))
    async with serving_hub(hub) as target:
        session = impatient(target, topics=["a"])
        async with connected(session) as seen:
            with pytest.raises(CommandRefused, match=r"^not yours \(topic_not_allowed\)$"):
                await session.request("subscribe", topics=["b"])
            assert session.topics == ("a",)
            assert isinstance(seen[-1], Received)
            assert seen[-1].awaited


async def test_a_connection_that_ends_before_the_answer_is_an_error_of_the_command() -> None:
    hub = FakeHub(lambda command: None)
    async with serving_hub(hub) as target:
        session = impatient(target, commands=True)
        async with connected(session):
            asking = asyncio.ensure_future(session.request("publish", data="x"))
            await until(lambda: hub.commands)
            await hub.cut()
            with pytest.raises(WriteInterrupted, match="before the answer"):
                await asking


async def test_a_command_whose_program_is_gone_leaves_nothing_behind() -> None:
    hub = FakeHub(lambda command: None)
    async with serving_hub(hub) as target:
        session = impatient(target, commands=True)
        async with connected(session) as seen:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.request("publish", data="x"), 0.05)
            await hub.send({"type": "ok", "ref": 1, "id": "2-0"})
            await until(lambda: len(seen) == 2)
    assert seen[1] == Received({"type": "ok", "ref": 1, "id": "2-0"})


async def test_a_text_is_a_command_where_these_are_spoken_and_itself_elsewhere() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, connected(session := impatient(target, commands=True)):
        await session.send("hello")
        await until(lambda: hub.commands)
    assert hub.commands == [{"type": "publish", "data": "hello"}]
    async with serving(listening) as target:
        session = impatient(target, commands=True)
        async with connected(session) as seen:
            assert not session.speaks_commands
            await session.send("hello")
            await until(lambda: len(seen) == 2)
            with pytest.raises(CommandRefused, match="knows no topics") as caught:
                await session.request("publish", data="x")
    assert caught.value.code == "unknown_command"


async def test_without_a_connection_no_command_is_sent() -> None:
    session = impatient(Target("http://127.0.0.1:9"), commands=True)
    with pytest.raises(NotConnected):
        await session.request("publish", data="x")


async def test_a_server_without_topics_is_none_for_a_client_that_wants_some() -> None:
    async with serving_hub(FakeHub(), "wsctl") as target:
        failed, waiting = await events(impatient(target, topics=["a"]), 2)
    assert failed == ConnectFailed(
        f"{target.name} knows no topics: it is of a release before them", advice="update it"
    )
    assert isinstance(waiting, Waiting)


async def test_nothing_is_offered_by_a_client_that_has_no_use_for_it() -> None:
    offers: list[str | None] = []

    async def note(connection: ServerConnection) -> None:
        assert connection.request
        offers.append(connection.request.headers.get("Sec-WebSocket-Protocol"))
        await greeting()(connection)

    async with serving(note) as target:
        for how in ({}, {"commands": True}):
            await events(impatient(target, **how), 1)
    assert offers == [None, "wsctl.2, wsctl"]
