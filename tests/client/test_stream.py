"""The stream of messages that a program has, against servers that do what each test says."""

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.fake_hub import FakeHub, Frame, ok, refused, serving_hub
from tests.support.fake_server import (
    degraded,
    error_body,
    message,
    refusing,
    serving,
    shutdown,
    welcome,
)
from tests.support.server import DEADLINE
from wsctl.client.commands import CommandRefused
from wsctl.client.inbox import MAX_WAITING, Inbox
from wsctl.client.session import NotConnected, Session
from wsctl.client.stream import (
    MessageStream,
    Presence,
    SessionEnded,
    Unconfirmed,
    connect,
    credential_of,
)
from wsctl.client.stream_events import (
    Connected,
    Degraded,
    Disconnected,
    Draining,
    Joined,
    Left,
    Lost,
    Rejected,
    Restored,
    Retrying,
    StreamEvent,
)
from wsctl.client.target import Target
from wsctl.errors import UsageError

pytestmark = pytest.mark.anyio

Handler = Callable[[ServerConnection], Awaitable[None]]

SOON = 0.05
"""Seconds that a program waits for what does not come."""

SHORTLY = 1.0
"""Seconds that one waits for a connection twice: for one that comes, and for one that does not."""


def stream(target: Target, *, uniform: Any = lambda low, high: 0.0, **how: Any) -> MessageStream:
    """A stream that makes no pauses."""
    session = Session(target, "bob", uniform=uniform)
    return MessageStream(session, "bob", **{"timeout": DEADLINE} | how)


def stream_of_commands(target: Target, **how: Any) -> MessageStream:
    """A stream that makes no pauses, and speaks commands to a server that does."""
    session = Session(target, "bob", uniform=lambda low, high: 0.0, commands=True, paced=True)
    return MessageStream(session, "bob", **{"timeout": DEADLINE} | how)


async def until(true: Callable[[], object]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def either(*awaited: Coroutine[Any, Any, object]) -> None:
    """Wait for one of several things."""
    tasks = [asyncio.create_task(one) for one in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def first(messages: MessageStream, count: int) -> list[Any]:
    """The data of the next so many messages."""
    async with asyncio.timeout(DEADLINE):
        return [(await anext(messages)).data for _ in range(count)]


def lives(*scripts: list[str | tuple[int, str]], then: Handler | None = None) -> Handler:
    """A server whose first connections get these frames, and a close of code and reason; further ones go to
    `then`."""
    left = list(scripts)

    async def handler(connection: ServerConnection) -> None:
        if not left:
            assert then
            return await then(connection)
        for step in left.pop(0):
            if isinstance(step, str):
                await connection.send(step)
            else:
                return await connection.close(*step)
        return await connection.wait_closed()

    return handler


async def echoing(connection: ServerConnection) -> None:
    """Welcomes, and sends back what it hears, numbered."""
    await connection.send(welcome(recovered=True))
    number = 1
    async for text in connection:
        number += 1
        await connection.send(message(text, "bob", number))


@asynccontextmanager
async def ending(messages: MessageStream, caught: list[BaseException]) -> AsyncIterator[None]:
    """Iterates to the end in a task of its own; what it ended with is in `caught`."""

    async def iterate() -> None:
        try:
            async for _ in messages:
                pass
        except Exception as error:
            caught.append(error)

    task = asyncio.create_task(iterate())
    await asyncio.sleep(0)
    yield
    async with asyncio.timeout(DEADLINE):
        await task


async def test_messages_come_in_order_with_id_sender_and_data() -> None:
    heartbeat = '{"type":"heartbeat","ts":1.0,"connections":1,"n":1}'
    script = [welcome(), message("a", "eve", 2), heartbeat, message({"b": 1}, "ann", 3)]
    async with serving(lives(script)) as target, stream(target) as messages, asyncio.timeout(DEADLINE):
        got = [await anext(messages) for _ in range(2)]
    assert [(m.id, m.sender, m.data) for m in got] == [("2-0", "eve", "a"), ("3-0", "ann", {"b": 1})]


async def test_events_are_told_in_their_place_among_the_messages() -> None:
    happened: list[object] = []
    handler = lives(
        [welcome(), message(1, number=2), message(2, number=3), shutdown(60), (1012, "restart")],
        [welcome(id="9-0", recovered=False), message(3, number=10), degraded()],
        then=lives([welcome(id="11-0", recovered=True), message(4, number=11)]),
    )
    async with serving(handler) as target, stream(target, on_event=happened.append) as messages:
        for _ in range(3):
            happened += await first(messages, 1)
    assert happened == [
        Connected(target.name, "1-0", None),
        1,
        2,
        Draining(60.0, "SIGTERM", None),
        Disconnected(1012, "restart"),
        Retrying("closed: 1012 restart", 0.0, 0),
        Connected(target.name, "9-0", False),
        Lost("3-0", "9-0"),
        3,
    ]


async def test_a_degraded_server_is_told_of_and_what_it_lost() -> None:
    happened: list[StreamEvent] = []
    script = [welcome(), degraded(), welcome(id="9-0", recovered=False), message(1, number=10)]
    async with serving(lives(script)) as target, stream(target, on_event=happened.append) as messages:
        assert await first(messages, 1) == [1]
    assert happened[1:] == [Degraded("Redis is away"), Restored(), Lost("1-0", "9-0")]


async def test_an_async_function_is_awaited_with_each_event() -> None:
    told: list[StreamEvent] = []

    async def on_event(event: StreamEvent) -> None:
        await asyncio.sleep(0)
        told.append(event)

    async with (
        serving(lives([welcome(), message(1)])) as target,
        stream(target, on_event=on_event) as messages,
    ):
        await first(messages, 1)
        assert told == [Connected(target.name, "1-0", None)]


async def test_what_on_event_raises_comes_from_the_iteration_which_can_go_on() -> None:
    class LoadAnew(Exception):
        pass

    def on_event(event: StreamEvent) -> None:
        if isinstance(event, Lost):
            raise LoadAnew

    handler = lives(
        [welcome(), message(1), (1012, "")], [welcome(id="9-0", recovered=False), message(2, number=10)]
    )
    async with serving(handler) as target, stream(target, on_event=on_event) as messages:
        assert await first(messages, 1) == [1]
        with pytest.raises(LoadAnew):
            await first(messages, 1)
        assert await first(messages, 1) == [2]


async def test_without_on_event_a_loss_is_a_warning_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wsctl.client")
    handler = lives(
        [welcome(), message(1), (1012, "")], [welcome(id="9-0", recovered=False), message(2, number=10)]
    )
    async with serving(handler) as target, stream(target) as messages:
        assert await first(messages, 2) == [1, 2]
    assert [record.message for record in caplog.records] == [
        "bob: messages are lost: those after 1-0 up to 9-0"
    ]


async def test_leaving_is_not_logged_as_a_disconnection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsctl.client")
    async with serving(echoing) as target, stream(target):
        pass
    assert [record.message for record in caplog.records] == [f"bob: connected to {target.name}"]


# The end


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the server refused: HTTP 401 no; correct token="),
        (403, "the server refused: HTTP 403 no"),
        (404, "the server refused: HTTP 404 no"),
    ],
)
async def test_a_refused_handshake_is_the_end(status: int, words: str) -> None:
    async with serving(echoing, refusing(status, error_body("x", "no"))) as target:
        with pytest.raises(SessionEnded, match=f"^{re.escape(words)}$") as caught:
            async with stream(target):
                raise AssertionError
    assert caught.value.code == status


async def test_a_final_close_is_raised_behind_the_messages_and_again_and_by_publish() -> None:
    told: list[StreamEvent] = []
    handler = lives([welcome(), message(1), (4501, "a newer connection has this id")])
    async with serving(handler) as target, stream(target, on_event=told.append) as messages:
        assert await first(messages, 1) == [1]
        for _ in range(2):
            with pytest.raises(
                SessionEnded, match=r"^closed: 4501 a newer connection has this id, not reconnecting$"
            ) as caught:
                await first(messages, 1)
            assert caught.value.code == 4501
        with pytest.raises(SessionEnded):
            await messages.publish("x")
    assert told[1:] == [Disconnected(4501, "a newer connection has this id")]


async def test_what_is_no_wsctl_server_is_the_end() -> None:
    async with serving(lives(["hello"])) as target:
        with pytest.raises(SessionEnded, match="is no wsctl server") as caught:
            async with stream(target):
                pass
    assert caught.value.code is None


async def test_a_fault_of_the_stream_itself_reaches_the_program() -> None:
    def uniform(low: float, high: float) -> float:
        raise ZeroDivisionError

    async with serving(lives([welcome(), (1012, "")])) as target, stream(target, uniform=uniform) as messages:
        with pytest.raises(ZeroDivisionError):
            await first(messages, 1)


async def test_without_a_server_in_time_it_says_why() -> None:
    tasks = asyncio.all_tasks()
    async with serving(echoing) as target:
        pass
    words = f"not connected within {SHORTLY:g} s: cannot connect to {target.name}: connection refused; check"
    with pytest.raises(NotConnected, match=re.escape(words)):
        async with stream(target, timeout=SHORTLY, uniform=lambda low, high: high):
            pass
    await until(lambda: asyncio.all_tasks() == tasks)


async def test_a_server_that_comes_later_is_waited_for() -> None:
    turned_away = [(1001, "draining")]
    handler = lives(turned_away, turned_away, [welcome(), message(1)])
    async with serving(handler) as target, stream(target) as messages:
        assert await first(messages, 1) == [1]


# Leaving


async def closings(*, body: Callable[[MessageStream], Awaitable[None]]) -> int | None:
    """The close code that a server gets from a program with this body."""
    code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.wait_closed()
        code.set_result(connection.close_code)

    async with serving(handler) as target, asyncio.timeout(DEADLINE):
        with suppress(ZeroDivisionError):
            async with stream(target) as messages:
                await body(messages)
        return await code


async def test_leaving_closes_normally() -> None:
    async def nothing(_messages: MessageStream) -> None:
        pass

    assert await closings(body=nothing) == 1000


async def test_an_error_in_the_program_closes_normally_too() -> None:
    async def failing(_messages: MessageStream) -> None:
        raise ZeroDivisionError

    assert await closings(body=failing) == 1000


async def test_a_program_that_is_cancelled_closes_normally_too() -> None:
    async def cancelled(messages: MessageStream) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SOON):
                await anext(messages)

    tasks = asyncio.all_tasks()
    assert await closings(body=cancelled) == 1000
    await until(lambda: asyncio.all_tasks() == tasks)


async def test_an_iteration_in_another_task_ends_with_it() -> None:
    caught: list[BaseException] = []
    async with serving(echoing) as target, stream(target) as messages, asyncio.timeout(DEADLINE):
        async with ending(messages, caught):
            await messages.__aexit__(None, None, None)
        with pytest.raises(NotConnected, match="async with"):
            await messages.publish("x")
    assert caught == []


async def test_leaving_with_a_full_inbox_does_not_hang() -> None:
    frames = [message("x" * 1000, number=n) for n in range(2, 20 * MAX_WAITING)]
    inbox = Inbox()
    async with (
        serving(lives([welcome(), *frames])) as target,
        asyncio.timeout(DEADLINE),
        stream(target, inbox=inbox) as messages,
    ):
        await first(messages, 1)
        await until(lambda: inbox.full)


# Iterating


async def test_two_tasks_cannot_iterate_and_the_first_one_goes_on() -> None:
    async with serving(echoing) as target, stream(target) as messages:
        waiting = asyncio.ensure_future(first(messages, 1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(messages)
        await messages.publish("hello")
        assert await waiting == ["hello"]


async def test_a_task_that_is_cancelled_loses_no_message() -> None:
    frames = [message(number, number=number + 2) for number in range(3 * MAX_WAITING)]
    got: list[Any] = []
    async with serving(lives([welcome(), *frames])) as target, stream(target) as messages:
        for patience in itertools.cycle(range(4)):
            reading = asyncio.ensure_future(first(messages, 1))
            for _ in range(patience):
                await asyncio.sleep(0)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                got += await reading
            if got and got[-1] == len(frames) - 1:
                break
    assert got == list(range(len(frames)))


async def test_a_stream_is_entered_first_and_once() -> None:
    async with serving(echoing) as target:
        messages = stream(target)
        with pytest.raises(RuntimeError, match="async with connect"):
            await anext(messages)
        with pytest.raises(NotConnected, match="async with"):
            await messages.publish("x")
        async with messages:
            with pytest.raises(RuntimeError, match="entered once"):
                async with messages:
                    pass
        with pytest.raises(RuntimeError, match="entered once"):
            async with messages:
                pass


# Publishing


async def test_what_is_published_arrives_and_comes_back() -> None:
    async with serving(echoing) as target, stream(target) as messages, asyncio.timeout(DEADLINE):
        await messages.publish("héllo")
        echo = await anext(messages)
    assert (echo.data, echo.sender, messages.id) == ("héllo", "bob", "bob")


async def test_publishing_waits_for_the_next_connection() -> None:
    told: list[StreamEvent] = []
    handler = lives([welcome(), (1012, "restart")], [(1001, "draining")], then=echoing)
    async with serving(handler) as target, stream(target, on_event=told.append) as messages:
        reading = asyncio.ensure_future(first(messages, 1))
        await until(lambda: Disconnected(1012, "restart") in told)
        await messages.publish("later")
        assert await reading == ["later"]


async def test_publishing_waits_only_so_long_and_sends_nothing_then() -> None:
    told: list[StreamEvent] = []
    heard: list[str | bytes] = []

    async def hearing(connection: ServerConnection) -> None:
        await connection.send(welcome())
        heard.append(await connection.recv())

    uniform, turned_away = (lambda low, high: high), [(1001, "draining")]
    handler = lives([welcome(), (1012, "restart")], turned_away, then=hearing)
    async with serving(handler) as target:
        messages = stream(target, on_event=told.append, timeout=SHORTLY, uniform=uniform)
        async with messages:
            reading = asyncio.ensure_future(first(messages, 1))
            await until(lambda: Disconnected(1012, "restart") in told)
            with pytest.raises(NotConnected, match=rf"^not connected within {SHORTLY:g} s: closed: 10"):
                await messages.publish("early")
            reading.cancel()
    assert heard == []


async def test_leaving_ends_a_publish_that_waits() -> None:
    told: list[StreamEvent] = []
    handler = lives([welcome(), (1012, "restart")], *([[(1001, "draining")]] * 10))
    uniform = lambda low, high: high  # noqa: E731
    async with serving(handler) as target:
        async with stream(target, on_event=told.append, timeout=None, uniform=uniform) as messages:
            reading = asyncio.ensure_future(first(messages, 1))
            await until(lambda: Disconnected(1012, "restart") in told)
            publishing = asyncio.ensure_future(messages.publish("x"))
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(NotConnected, match="async with"):
                await publishing
        with pytest.raises(StopAsyncIteration):
            await reading


async def test_a_refusal_of_the_server_is_an_event() -> None:
    told: list[StreamEvent] = []
    refusal = '{"type":"error","code":"rate_limited","message":"slower"}'

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.recv()
        await connection.send(refusal)
        await connection.send(message("on"))
        await connection.wait_closed()

    async with serving(handler) as target, stream(target, on_event=told.append) as messages:
        await messages.publish("x")
        assert await first(messages, 1) == ["on"]
    assert told[1:] == [Rejected("rate_limited", "slower")]


async def test_a_connection_that_ends_while_a_text_is_written_leaves_it_unconfirmed() -> None:
    cut = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        connection.transport.pause_reading()
        await either(cut.wait(), connection.wait_closed())
        connection.transport.abort()

    async with serving(handler) as target, stream(target) as messages, asyncio.timeout(DEADLINE):
        publishing = asyncio.ensure_future(messages.publish("x" * (16 << 20)))
        await asyncio.sleep(0)
        cut.set()
        with pytest.raises(Unconfirmed, match="may have been published"):
            await publishing


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [(b"x", TypeError, "bytes"), (float("nan"), ValueError, "JSON"), ("\ud800", ValueError, "surrogate")],
)
async def test_what_is_not_json_is_an_error_and_harms_nothing(
    data: Any, error: type[Exception], words: str
) -> None:
    async with serving(echoing) as target, stream(target) as messages:
        with pytest.raises(error, match=words):
            await messages.publish(data)
        await messages.publish("fine")
        assert await first(messages, 1) == ["fine"]


async def test_a_program_that_only_publishes_is_never_held_up() -> None:
    count = 10 * MAX_WAITING
    heard: list[str | bytes] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        async for text in connection:
            heard.append(text)
            await connection.send(message("x" * 10_000))

    async with serving(handler) as target, stream(target, receive=False) as messages:
        async with asyncio.timeout(DEADLINE):
            for number in range(count):
                await messages.publish(str(number))
        await until(lambda: len(heard) == count)
        with pytest.raises(RuntimeError, match="receive=False"):
            await anext(messages)


async def test_one_that_only_publishes_is_told_of_events_as_they_happen() -> None:
    told: list[StreamEvent] = []

    async def on_event(event: StreamEvent) -> None:
        told.append(event)

    refusal = '{"type":"error","code":"rate_limited","message":"slower"}'
    async with (
        serving(lives([welcome(), message(1), refusal])) as target,
        stream(target, receive=False, on_event=on_event),
    ):
        await until(lambda: len(told) == 2)
    assert told[:2] == [Connected(target.name, "1-0", None), Rejected("rate_limited", "slower")]


async def test_what_on_event_raises_then_comes_from_publish() -> None:
    def on_event(event: StreamEvent) -> None:
        if isinstance(event, Disconnected):
            ended.set()
            raise ZeroDivisionError

    ended = asyncio.Event()
    script: list[str | tuple[int, str]] = [welcome(), (1012, "restart")]
    async with serving(lives(script)) as target, stream(target, receive=False, on_event=on_event) as messages:
        await asyncio.wait_for(ended.wait(), DEADLINE)
        with pytest.raises(ZeroDivisionError):
            await messages.publish("x")


async def test_one_that_has_stopped_reading_is_told_why_it_cannot_publish() -> None:
    cut = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        for number in range(3 * MAX_WAITING):
            await connection.send(message("x" * 1000, number=number))
        await either(cut.wait(), connection.wait_closed())
        connection.transport.abort()

    async def publish_on(messages: MessageStream) -> None:
        while True:
            await messages.publish("x")
            await asyncio.sleep(0)

    inbox = Inbox()
    async with serving(handler) as target, stream(target, timeout=SHORTLY, inbox=inbox) as messages:
        await first(messages, 1)
        await until(lambda: inbox.full)
        cut.set()
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(NotConnected, match=f"{MAX_WAITING} messages wait for the program"):
                await publish_on(messages)


# Topics and receipts


async def test_what_is_published_has_a_receipt() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, stream_of_commands(target) as messages:
        assert await messages.publish("hello") == "2-0"
        assert await messages.publish({"price": 3}, "quotes.eu", to="ann", key="k1") == "3-0"
        assert await messages.publish(None, to=["ann", "eve"]) == "4-0"
        got = [await anext(messages) for _ in range(3)]
    assert hub.commands == [
        {"type": "publish", "data": "hello"},
        {"type": "publish", "data": {"price": 3}, "topic": "quotes.eu", "to": ["ann"], "key": "k1"},
        {"type": "publish", "data": None, "to": ["ann", "eve"]},
    ]
    assert [(m.data, m.topic) for m in got] == [("hello", None), ({"price": 3}, "quotes.eu"), (None, None)]


async def test_a_trace_context_goes_with_what_is_published_and_comes_with_messages() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, stream_of_commands(target) as messages:
        await messages.publish("hello", traceparent="00-1")
        traced = {"type": "message", "id": "9-0", "ts": 0.0, "from": "eve", "traceparent": "00-2", "data": 1}
        await hub.send(traced)
        got = [await anext(messages) for _ in range(2)]
    assert hub.commands == [{"type": "publish", "data": "hello", "traceparent": "00-1"}]
    assert [m.traceparent for m in got] == [None, "00-2"]


async def test_a_refusal_is_raised_and_is_no_event() -> None:
    told: list[StreamEvent] = []
    hub = FakeHub(refused("rate_limited", "slower"))
    async with serving_hub(hub) as target, stream_of_commands(target, on_event=told.append) as messages:
        with pytest.raises(CommandRefused, match=r"^slower \(rate_limited\)$") as caught:
            await messages.publish("x")
        await hub.publish("on")
        assert await first(messages, 1) == ["on"]
    assert caught.value.code == "rate_limited"
    assert told == [Connected(target.name, "1-0", None)]


async def test_a_burst_waits_for_the_rate_that_the_server_has_named_and_keeps_its_order() -> None:
    hub = FakeHub(ok, {"rate": {"per_second": 1000, "burst": 2, "left": 1}})
    async with serving_hub(hub) as target, asyncio.timeout(DEADLINE), stream_of_commands(target) as messages:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(messages.publish(number) for number in range(30)))
        assert asyncio.get_running_loop().time() - began >= 0.028
        assert [m.data for m in [await anext(messages) for _ in range(30)]] == [*range(30)]


async def test_what_others_with_its_id_have_left_no_token_for_is_published_again() -> None:
    answers = iter([refused("rate_limited", "slower"), ok])
    hub = FakeHub(ok, {"rate": {"per_second": 1000, "burst": 2, "left": 2}})

    def answer_in_turn(command: Frame) -> Frame | None:
        return next(answers)(command)

    hub.answer = answer_in_turn
    async with serving_hub(hub) as target, asyncio.timeout(DEADLINE), stream_of_commands(target) as messages:
        assert await messages.publish("x") == "2-0"
    assert [command["data"] for command in hub.commands] == ["x", "x"]


async def test_what_the_server_does_not_know_is_unconfirmed() -> None:
    async with (
        serving_hub(FakeHub(refused("unconfirmed", "Redis did not answer"))) as target,
        stream_of_commands(target) as messages,
    ):
        with pytest.raises(Unconfirmed, match="Redis did not answer"):
            await messages.publish("x")


async def test_a_connection_that_ends_before_the_answer_leaves_it_unconfirmed() -> None:
    hub = FakeHub(lambda command: None)
    async with (
        serving_hub(hub) as target,
        asyncio.timeout(DEADLINE),
        stream_of_commands(target) as messages,
    ):
        publishing = asyncio.ensure_future(messages.publish("x"))
        await until(lambda: hub.commands)
        await hub.cut()
        with pytest.raises(Unconfirmed, match="may have been published"):
            await publishing
    assert len(hub.commands) == 1


async def test_one_with_a_key_is_sent_again_on_the_next_connection() -> None:
    hub = FakeHub(lambda command: None)
    async with (
        serving_hub(hub) as target,
        asyncio.timeout(DEADLINE),
        stream_of_commands(target) as messages,
    ):
        publishing = asyncio.ensure_future(messages.publish("x", key="k1"))
        await until(lambda: hub.commands)
        hub.answer = ok
        await hub.cut()
        assert await publishing == "2-0"
    assert hub.commands == [{"type": "publish", "data": "x", "key": "k1"}] * 2


async def test_publishing_amid_many_messages_does_not_wait_for_itself() -> None:
    """The answer stands behind more messages than the inbox takes, and the program reads none meanwhile."""
    hub = FakeHub()
    many = 3 * MAX_WAITING

    def answer(command: Frame) -> Frame | None:
        tasks.append(asyncio.ensure_future(flood()))
        return None

    async def flood() -> None:
        for number in range(many):
            await hub.publish(number)
        await hub.send({"type": "ok", "ref": 1, "id": "9-0"})

    tasks: list[asyncio.Future[None]] = []
    hub.answer = answer
    async with (
        serving_hub(hub) as target,
        asyncio.timeout(DEADLINE),
        stream_of_commands(target) as messages,
    ):
        assert await messages.publish("x") == "9-0"
        assert await first(messages, many) == list(range(many))


async def test_one_that_only_publishes_may_do_so_when_it_is_told_something() -> None:
    hub = FakeHub()

    async def on_event(event: StreamEvent) -> None:
        await messages.publish(type(event).__name__)

    async with serving_hub(hub) as target, asyncio.timeout(DEADLINE):
        messages = stream_of_commands(target, receive=False, on_event=on_event)
        async with messages:
            await until(lambda: hub.commands)
    assert hub.commands == [{"type": "publish", "data": "Connected"}]


@pytest.mark.parametrize("how", [{"topic": "a"}, {"to": "ann"}, {"key": "k"}, {"data": 7}])
async def test_a_server_of_the_release_before_takes_texts_for_everybody_alone(how: dict[str, Any]) -> None:
    async with serving(echoing) as target, stream_of_commands(target) as messages:
        with pytest.raises(CommandRefused, match="knows no topics") as caught:
            await messages.publish(**{"data": "x"} | how)
        assert await messages.publish("fine") is None
        assert await first(messages, 1) == ["fine"]
    assert caught.value.code == "unknown_command"


@pytest.mark.parametrize("topic", ["a.*", "", "a b", "é"])
async def test_a_message_has_one_topic(topic: str) -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, stream_of_commands(target) as messages:
        with pytest.raises(ValueError, match="a topic has segments"):
            await messages.publish("x", topic)
    assert hub.commands == []


async def test_topics_hold_over_reconnects_and_what_is_lost_of_them_is_told() -> None:
    told: list[StreamEvent] = []
    hub = FakeHub(ok, {}, {"recovered": False, "lost": ["a.old"]})
    async with (
        serving_hub(hub) as target,
        connect(target.name, id="bob", topics=["a.>"], on_event=told.append) as messages,
        asyncio.timeout(DEADLINE),
    ):
        await hub.publish(1, "a.new")
        assert await first(messages, 1) == [1]
        await hub.cut()
        await until(lambda: len(hub.queries) == 2)
        await hub.publish(2, "a.new")
        assert await first(messages, 1) == [2]
    assert hub.queries == [[("topic", "a.>")], [("since", "2-0"), ("topic", "a.>")]]
    assert [event for event in told if isinstance(event, Connected | Lost)][1:] == [
        Connected(target.name, "2-0", False),
        Lost("2-0", "2-0", ("a.old",)),
    ]


async def test_subscribing_to_more_and_to_less_on_an_open_connection() -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target, stream_of_commands(target) as messages, asyncio.timeout(DEADLINE):
        await messages.subscribe("a.b", "c.>")
        assert messages.topics == ("a.b", "c.>")
        await messages.unsubscribe("a.b")
        assert messages.topics == ("c.>",)
        await messages.subscribe()
        with pytest.raises(ValueError, match="a topic has segments"):
            await messages.subscribe("a b")
    assert hub.commands == [
        {"type": "subscribe", "topics": ["a.b", "c.>"]},
        {"type": "unsubscribe", "topics": ["a.b"]},
    ]


async def test_a_subscription_that_is_refused_is_an_error_and_none_later() -> None:
    hub = FakeHub(refused("topic_not_allowed"))
    async with serving_hub(hub) as target, stream_of_commands(target) as messages:
        with pytest.raises(CommandRefused, match="topic_not_allowed"):
            await messages.subscribe("secret.>")
        assert messages.topics == ()


async def test_a_subscription_whose_answer_was_lost_is_made_anew() -> None:
    hub = FakeHub(lambda command: None)
    async with serving_hub(hub) as target, stream_of_commands(target) as messages, asyncio.timeout(DEADLINE):
        subscribing = asyncio.ensure_future(messages.subscribe("a"))
        await until(lambda: hub.commands)
        hub.answer = ok
        await hub.cut()
        await subscribing
        assert messages.topics == ("a",)
    assert hub.queries[1] == [("since", "1-0")]
    assert hub.commands == [{"type": "subscribe", "topics": ["a"]}] * 2


async def test_who_comes_and_goes_is_told_and_asked_for_at_the_next_connection() -> None:
    told: list[StreamEvent] = []
    hub = FakeHub()
    async with (
        serving_hub(hub) as target,
        asyncio.timeout(DEADLINE),
        stream_of_commands(target, on_event=told.append) as messages,
    ):
        await messages.watch("a", "b")
        assert messages.topics == ("a", "b")
        await messages.unsubscribe("b")
        with pytest.raises(ValueError, match="a topic has segments"):
            await messages.watch("a.*")
        await hub.send({"type": "joined", "topic": "a", "client_id": "eve"})
        await hub.send({"type": "left", "topic": "a", "client_id": "eve"})
        await hub.cut()
        await until(lambda: len(hub.commands) == 3)
        await hub.publish(1)
        assert await first(messages, 1) == [1]
    assert told[1:3] == [Joined("a", "eve"), Left("a", "eve")]
    assert hub.commands == [
        {"type": "subscribe", "topics": ["a", "b"], "events": True},
        {"type": "unsubscribe", "topics": ["b"]},
        {"type": "subscribe", "topics": ["a"], "events": True},
    ]
    assert hub.queries[1][1:] == [("topic", "a")]


async def test_who_subscribes_can_be_asked() -> None:
    clients = [{"client_id": "ann", "connections": 2}, {"client_id": "bob", "connections": 1}]
    hub = FakeHub(lambda command: {"type": "ok", "count": 2, "clients": clients})
    async with serving_hub(hub) as target, stream_of_commands(target) as messages:
        assert await messages.presence("a.b") == Presence(2, {"ann": 2, "bob": 1})
    assert hub.commands == [{"type": "presence", "topic": "a.b"}]


async def test_what_ends_because_new_credentials_permit_less_is_told() -> None:
    told: list[StreamEvent] = []
    hub = FakeHub()
    error = {"type": "error", "code": "topic_not_allowed", "message": "a is over", "topics": ["a"]}
    async with (
        serving_hub(hub) as target,
        connect(target.name, id="bob", topics=["a", "b"], on_event=told.append) as messages,
    ):
        await hub.send(error)
        await hub.publish(1)
        assert await first(messages, 1) == [1]
        assert messages.topics == ("b",)
    assert told[1:] == [Rejected("topic_not_allowed", "a is over")]


# The arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "127.0.0.1:8000"}, "url '127.0.0.1:8000' is not an address"),
        ({"url": "http://127.0.0.1:8000/?x"}, "url takes no query"),
        ({"url": "http://bob:pw@127.0.0.1:8000"}, "the token comes from token="),
        ({"url": []}, "url '' is not an address"),
        ({"id": ""}, "a client id has 1 to 128 characters"),
        ({"id": "a/b"}, "a client id has letters"),
        ({"id": "server"}, "is taken"),
        ({"since": ""}, "since is empty"),
        ({"topics": ["a..b"]}, "a topic has segments"),
        ({"topics": ["a.>.b"]}, "it is the last segment"),
        ({"topics": "a.b"}, "topics is a text: write ['a.b']"),
        ({"token": ""}, "token is empty"),
        ({"token": "a\nb"}, "characters that a header cannot carry"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": float("nan")}, "seconds above 0"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_one_clear_line(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        connect(**{"url": "http://127.0.0.1:8000", "id": "bob"} | arguments)
    assert "\n" not in str(caught.value)


async def test_the_address_may_have_a_path_and_any_scheme_and_the_id_is_composed() -> None:
    paths: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        paths.append(connection.request.path)
        await echoing(connection)

    async with serving(handler) as target:
        for scheme in ("http", "ws"):
            url = target.name.replace("http", scheme)
            async with connect(f"{url}/chat/", id="zoe\u0308", since="5-0") as messages:
                assert messages.id == "zo\xeb"
    assert paths == ["/chat/ws/zo%C3%AB?since=5-0"] * 2


async def test_of_several_servers_another_one_is_tried_when_the_first_is_away() -> None:
    async with serving(echoing) as away:
        pass
    async with serving(echoing) as there, connect([away.name, there.name], id="bob") as messages:
        await messages.publish("x")
        assert await first(messages, 1) == ["x"]


# The token


def showing(shown: list[str | None], *rest: list[str | tuple[int, str]]) -> Handler:
    """A server that notes what it is shown, and closes the first connections."""
    inner = lives(*rest, then=echoing)

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        shown.append(connection.request.headers.get("Authorization"))
        await inner(connection)

    return handler


async def test_a_token_is_shown_at_each_attempt() -> None:
    shown: list[str | None] = []
    async with (
        serving(showing(shown, [welcome(), (4403, "expired")])) as target,
        connect(target.name, id="bob", token="t0ken") as messages,
    ):
        await until(lambda: len(shown) == 2)
        await messages.publish("x")
        await first(messages, 1)
    assert shown == ["Bearer t0ken"] * 2


async def test_a_function_is_asked_for_a_token_at_each_attempt() -> None:
    shown: list[str | None] = []
    tokens = iter(["old", "new"])

    async def token() -> str:
        await asyncio.sleep(0)
        return next(tokens)

    async with (
        serving(showing(shown, [welcome(), (4403, "expired")])) as target,
        connect(target.name, id="bob", token=token) as messages,
    ):
        await until(lambda: len(shown) == 2)
        await messages.publish("x")
        await first(messages, 1)
    assert shown == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (OSError("the login service is away"), "token() gave no token: OSError: the login service is away"),
        (ValueError(), "token() gave no token: ValueError"),
        ("two words", "what token() gave is empty or has characters that a header cannot carry"),
        (7, "token() gave no token: TypeError"),
    ],
)
async def test_a_function_that_gives_no_token_is_asked_again(answer: Any, words: str) -> None:
    answers = [answer, "good"]
    shown: list[str | None] = []
    told: list[StreamEvent] = []

    def token() -> str:
        if isinstance(got := answers.pop(0), Exception):
            raise got
        return str(got) if got == "good" else got

    async with (
        serving(showing(shown)) as target,
        connect(target.name, id="bob", token=token, on_event=told.append) as messages,
    ):
        await messages.publish("x")
        await first(messages, 1)
    assert shown == ["Bearer good"]
    retrying = told[0]
    assert isinstance(retrying, Retrying)
    assert retrying.why.startswith(words)


async def test_a_function_that_never_answers_is_given_up() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    credential = credential_of(never, timeout=SOON)
    with pytest.raises(UsageError, match="token\\(\\) gave no token: TimeoutError"):
        await credential()  # type: ignore[misc]


async def test_a_function_may_say_that_there_is_no_token() -> None:
    shown: list[str | None] = []
    async with serving(showing(shown)) as target, connect(target.name, id="bob", token=lambda: None):
        pass
    assert shown == [None]
