"""Clients of event streams, with a real server, also where something in between lets no WebSocket through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.conftest import StartServer
from tests.support.generations import Generations
from tests.support.server import DEADLINE
from wsctl import CommandRefused, Connected, SessionEnded, StreamEvent, connect
from wsctl.client import connection, session
from wsctl.client.stream import MessageStream

pytestmark = pytest.mark.anyio

PAGE = "<h1>No WebSockets here</h1>"


class Filter:
    """A road to a server on which a WebSocket is answered with a page, or accepted and then held back, until
    it is open."""

    def __init__(self, *, accepting: bool = False) -> None:
        self.open = False
        self.accepting = accepting

    @asynccontextmanager
    async def leading_to(self, port: int) -> AsyncIterator[str]:
        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                wanted = b"upgrade: websocket" in head.lower() and not self.open
                if wanted and not self.accepting:
                    answer = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(PAGE)}\r\n\r\n{PAGE}"
                    writer.write(answer.encode())
                    await writer.drain()
                else:
                    beyond, onward = await asyncio.open_connection("127.0.0.1", port)
                    onward.write(head)
                    if wanted:
                        writer.write(await beyond.readuntil(b"\r\n\r\n"))
                        await reader.read()
                        onward.close()
                    else:
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


async def test_a_websocket_that_is_accepted_and_then_held_back_gives_way_to_a_stream(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OPEN_TIMEOUT", 0.2)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.1)
    server, road = start_server(), Filter(accepting=True)
    told: list[StreamEvent] = []
    async with (
        road.leading_to(server.port) as url,
        asyncio.timeout(DEADLINE),
        connect(url, id="bob", transport="auto", on_event=told.append, timeout=DEADLINE) as bob,
    ):
        await bob.publish("through")
        assert await data_of(bob, 1) == ["through"]
    (connected,) = [event for event in told if isinstance(event, Connected)]
    assert connected.transport == "event-stream"
    assert connected.fallback == "a WebSocket is accepted, and then nothing comes"


async def test_what_is_published_while_a_stream_is_opened_anew_for_topics_is_answered(
    start_server: StartServer,
) -> None:
    server = start_server()
    async with (
        asyncio.timeout(DEADLINE),
        connect(server.url, id="bob", topics=["a"], transport="event-stream") as bob,
    ):
        under_way = [asyncio.create_task(bob.publish(number, topic="a")) for number in range(40)]
        await asyncio.gather(*(bob.subscribe(f"b{number}") for number in range(3)))
        ids = await asyncio.gather(*under_way)
        assert sorted([str((await anext(bob)).id) for _ in ids]) == sorted(map(str, ids))
        assert sorted(bob.topics) == ["a", "b0", "b1", "b2"]


async def test_a_client_that_is_to_stay_away_stays_away() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(SessionEnded, match="the server wants this client to stay away") as ended:
            async with connect(url, id="bob", transport="event-stream"):
                pass
    assert ended.value.code == 204
    assert len(asked) == 1


async def test_an_upgrade_moves_a_stream_without_a_word(start_server: StartServer) -> None:
    first = start_server("--broadcast-interval", "0")
    server = Generations(first)
    told: list[StreamEvent] = []
    try:
        async with (
            asyncio.timeout(DEADLINE),
            connect(first.url, id="bob", transport="event-stream", on_event=told.append) as bob,
        ):
            await bob.publish("before")
            assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
            await bob.publish("after")
            assert await data_of(bob, 2) == ["before", "after"]
        assert [type(event) for event in told] == [Connected]
    finally:
        server.kill()


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
