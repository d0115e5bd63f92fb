"""Handshakes whose hook has not returned: clients can leave, speak early, or find the server draining."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.support.server import DEADLINE
from tests.support.services import Services
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, client, data_of, frames
from wsctl.frame import TEXT
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.websocket.hook_calls import HookCalls
from wsctl.server.websocket.hooks import Handshake, Hooks, Refuse
from wsctl.server.websocket.opener import ClientRequest

pytestmark = pytest.mark.anyio

HEADERS = {
    "host": "here",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Accepting:
    """An acceptor whose hook waits until it is told what to return or raise."""

    def __init__(self) -> None:
        self.services = Services()
        self.cancelled = False
        connections = self.services.connections
        calls = HookCalls(
            Hooks(on_connect=self._who),
            connections.intake,
            connections.identities,
            connections.clock,
            DEADLINE,
        )
        self.parts = replace(self.services.acceptors, connections=replace(connections, hooks=calls))
        self.acceptor = ClientAcceptor(self.parts, TrustedProxies(None), "")
        self.transport = HandTransport(buffer=1 << 16)
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def accept(self, early: bytes = b"") -> None:
        request = ClientRequest("GET", "1.1", "/ws/bob", "", HEADERS)
        assert self.acceptor.accept(self.transport, request, early) is None
        assert len(self.parts.waiting) == 1

    async def decided(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.parts.waiting:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _who(self, request: Handshake) -> object:
        try:
            return await self.answer
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def make_accepting() -> Iterator[Callable[[], Accepting]]:
    with ExitStack() as stack:

        def make() -> Accepting:
            accepting = Accepting()
            stack.callback(accepting.transport.dispose)
            return accepting

        yield make


async def test_what_a_client_says_too_early_is_read_after_its_welcome(
    make_accepting: Callable[[], Accepting],
) -> None:
    accepting = make_accepting()
    accepting.accept(early=client(TEXT, b"early"))
    assert accepting.transport.drain() == b""
    accepting.answer.set_result(("eve", {"role": "guest"}))
    await accepting.decided()
    accepting.services.flush()
    answer, _, rest = accepting.transport.drain().partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    found, _ = frames(ANSWER + rest)
    assert data_of(found) == ["early"]
    (wire,) = accepting.services.connections.manager.active_connections.values()
    known = accepting.services.connections.identities.client(wire)
    assert (known.id, known.identity) == ("eve", {"role": "guest"})


async def test_a_client_that_leaves_meanwhile_ends_the_hook(make_accepting: Callable[[], Accepting]) -> None:
    accepting = make_accepting()
    accepting.accept()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (waiting,) = accepting.parts.waiting
    waiting.connection_lost(None)
    await accepting.decided()
    async with asyncio.timeout(DEADLINE):
        while not accepting.cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert accepting.services.connections.manager.active_connections == {}


async def test_a_refusal_is_an_answer_and_is_counted(make_accepting: Callable[[], Accepting]) -> None:
    accepting = make_accepting()
    accepting.accept()
    accepting.answer.set_exception(Refuse(403, "members only"))
    await accepting.decided()
    answer = accepting.transport.drain()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden")
    assert b"members only" in answer
    assert accepting.parts.refusals.counts["forbidden"] == 1


async def test_a_server_that_drains_meanwhile_closes_with_1001(
    make_accepting: Callable[[], Accepting],
) -> None:
    accepting = make_accepting()
    accepting.accept()
    accepting.services.drain()
    accepting.answer.set_result("bob")
    await accepting.decided()
    assert accepting.transport.drain().startswith(b"HTTP/1.1 101 ")
    assert len(accepting.parts.drain_rejector.waiting) == 1
    assert accepting.services.connections.manager.active_connections == {}
