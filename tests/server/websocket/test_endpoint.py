"""WebSockets whose sockets belong to another ASGI server."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import WebSocket

from tests.support.frames import read
from tests.support.server import DEADLINE
from tests.support.services import Services
from wsctl.server.websocket import drain_rejection
from wsctl.server.websocket.endpoint import AsgiAcceptor

pytestmark = pytest.mark.anyio


class Peer:
    """A client as its ASGI server shows it.

    Attributes:
        events: what the application has sent, in order.
    """

    def __init__(self, name: str, headers: Mapping[str, str] | None = None, query: str = "") -> None:
        self.events: list[Mapping[str, Any]] = []
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        self.say("websocket.connect")
        scope = {
            "type": "websocket",
            "path": f"/ws/{name}",
            "raw_path": f"/ws/{name}".encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": ("192.0.2.1", 5),
            "server": ("192.0.2.2", 80),
            "extensions": {"websocket.http.response": {}},
        }
        self.websocket = WebSocket(scope, self._said.get, self._take)

    def say(self, kind: str, **fields: Any) -> None:
        self._said.put_nowait({"type": kind, **fields})

    def leave(self) -> None:
        self.say("websocket.disconnect", code=1000)

    async def sent(self, count: int) -> list[Mapping[str, Any]]:
        """The first events, once there are so many."""
        async with asyncio.timeout(DEADLINE):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events[:count]

    async def _take(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()


async def test_a_client_is_greeted_and_gets_what_is_published_until_it_leaves() -> None:
    services = Services()
    peer = Peer("bob")
    serving = asyncio.create_task(AsgiAcceptor(services.acceptors).accept(peer.websocket))
    accepted, welcome = await peer.sent(2)
    assert accepted["type"] == "websocket.accept"
    assert read(welcome["text"])["client_id"] == "bob"
    peer.say("websocket.receive", text="hello")
    await services.called()
    services.flush()
    assert read((await peer.sent(3))[2]["text"])["data"] == "hello"
    peer.leave()
    async with asyncio.timeout(DEADLINE):
        await serving
    assert not services.connections.manager.active_connections


async def test_who_may_not_connect_is_answered_and_counted() -> None:
    services = Services()
    peer = Peer("bob", {"origin": "http://elsewhere", "host": "here"})
    await AsgiAcceptor(services.acceptors).accept(peer.websocket)
    assert peer.events[0]["status"] == 403
    assert services.acceptors.refusals.counts == {"origin_not_allowed": 1}


async def test_any_other_path_is_not_found_and_is_no_client() -> None:
    services = Services()
    peer = Peer("bob")
    await AsgiAcceptor(services.acceptors).refuse_path(peer.websocket)
    assert peer.events[0]["status"] == 404
    assert not services.acceptors.refusals.counts


async def test_while_the_server_drains_a_client_is_accepted_and_closed_with_1001() -> None:
    services = Services()
    services.drain()
    peer = Peer("bob")
    await AsgiAcceptor(services.acceptors).accept(peer.websocket)
    accepted, closed = peer.events
    assert accepted["type"] == "websocket.accept"
    assert (closed["code"], closed["reason"]) == (1001, drain_rejection.REASON)
    assert services.acceptors.refusals.counts == {"draining": 1}


async def test_a_client_that_is_closed_is_told_why() -> None:
    services = Services()
    peer = Peer("bob")
    serving = asyncio.create_task(AsgiAcceptor(services.acceptors).accept(peer.websocket))
    await peer.sent(2)
    services.connections.manager.close_all(1012, "restart")
    closed = (await peer.sent(3))[2]
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 1012, "restart")
    peer.leave()
    async with asyncio.timeout(DEADLINE):
        await serving
