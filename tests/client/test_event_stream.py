"""Clients of event streams, with a real server, also where something in between lets no WebSocket through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.conftest import StartServer
from tests.support.server import DEADLINE
from wsctl import CommandRefused, Connected, SessionEnded, StreamEvent, connect
from wsctl.client import session
from wsctl.client.stream import MessageStream

pytestmark = pytest.mark.anyio

PAGE = "<h1>No WebSockets here</h1>"


class Filter:
    """A road to a server on which a WebSocket is answered with a page, until it is open."""

    def __init__(self) -> None:
        self.open = False

    @asynccontextmanager
    async def leading_to(self, port: int) -> AsyncIterator[str]:
        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                if b"upgrade: websocket" in head.lower() and not self.open:
                    answer = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(PAGE)}\r\n\r\n{PAGE}"
                    writer.write(answer.encode())
                    await writer.drain()
                else:
                    beyond, onward = await asyncio.open_connection("127.0.0.1", port)
                    onward.write(head)
                    await asyncio.gather(_pass_on(reader, onward), _pass_on(beyond, writer))
            writer.close()

        async with await asyncio.start_server(join, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def data_of(messages: MessageStream, count: int) -> list[object]:
    async with asyncio.timeout(DEADLINE):
        return [(await anext(messages)).data for _ in range(count)]


async def test_over_a_stream_everything_is_as_over_a_websocket(start_server: StartServer) -> None:
    server = start_server("--rate", "500/s:3")
    told: list[StreamEvent] = []
    async with (
        asyncio.timeout(DEADLINE),
        connect(server.url, id="bob", topics=["a"], transport="event-stream", on_event=told.append) as bob,
    ):
        ids = await asyncio.gather(*(bob.publish(number, topic="a") for number in range(30)))
        assert [(await anext(bob)).id for _ in ids] == ids
        assert await bob.publish("x", key="k") == await bob.publish("x", key="k")
        await bob.subscribe("b.*")
        await bob.publish("later", topic="b.c")
        assert await data_of(bob, 2) == ["x", "later"]
        assert bob.topics == ("a", "b.*")
        with pytest.raises(CommandRefused, match="an event stream cannot tell who else is there"):
            await bob.presence("a")
        with pytest.raises(CommandRefused, match=r"\(too_many_subscriptions\)$"):
            await bob.subscribe(*(f"t{number}" for number in range(200)))
        await bob.publish("still", topic="a")
        assert await data_of(bob, 1) == ["still"]
    connected = [event for event in told if isinstance(event, Connected)]
    assert [event.recovered for event in connected] == [None, True]
    assert {event.transport for event in connected} == {"event-stream"}


async def test_a_newer_connection_of_its_id_ends_a_stream_for_good(start_server: StartServer) -> None:
    server = start_server()
    async with (
        asyncio.timeout(DEADLINE),
        connect(server.url, id="bob", transport="event-stream") as older,
        connect(server.url, id="bob", transport="event-stream") as newer,
    ):
        with pytest.raises(SessionEnded) as ended:
            await anext(older)
        assert ended.value.code == 4501
        await newer.publish("mine")
        assert await data_of(newer, 1) == ["mine"]


async def test_where_a_websocket_is_refused_on_the_way_a_stream_stands_in_until_there_is_one(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WEBSOCKET_AGAIN", (0.05, 0.05))
    server, road = start_server(), Filter()
    told: list[StreamEvent] = []
    sent: list[object] = []
    async with (
        road.leading_to(server.port) as url,
        asyncio.timeout(DEADLINE),
        connect(url, id="bob", transport="auto", on_event=told.append) as bob,
    ):

        def last() -> Connected:
            return [event for event in told if isinstance(event, Connected)][-1]

        async def exchange() -> None:
            sent.append(len(sent))
            await bob.publish(sent[-1])
            assert await data_of(bob, 1) == [sent[-1]]

        await exchange()
        assert last().transport == "event-stream"
        assert last().fallback == "refused: HTTP 403 Forbidden"
        for _ in range(5):
            await exchange()
        road.open = True
        while last().transport != "websocket":
            await exchange()
        assert (last().recovered, last().fallback) == (True, "")
        await exchange()


async def test_a_refusal_of_the_server_itself_is_no_reason_for_a_stream(start_server: StartServer) -> None:
    server = start_server("--auth", "token", env={"WSCTL_CLIENT_TOKEN": "s" * 40})
    with pytest.raises(SessionEnded) as ended:
        async with connect(server.url, id="bob", transport="auto"):
            pass
    assert ended.value.code == 401


async def test_a_stream_resumes_over_a_restart(start_server: StartServer) -> None:
    server = start_server("--reconnect-window", "0.2")
    told: list[StreamEvent] = []
    async with (
        asyncio.timeout(DEADLINE),
        connect(
            server.url, id="bob", transport="event-stream", on_event=told.append, timeout=DEADLINE
        ) as bob,
    ):
        await bob.publish("before")
        assert await data_of(bob, 1) == ["before"]
        await asyncio.to_thread(server.stop)
        start_server("--port", str(server.port))
        await bob.publish("after")
        assert await data_of(bob, 1) == ["after"]
    assert len([event for event in told if isinstance(event, Connected)]) == 2


def test_an_unknown_transport_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match="transport is 'sse': give one of 'websocket', 'event-stream', 'auto'"
    ):
        connect("http://localhost", id="bob", transport="sse")
