"""Questions and answers between two processes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.server import DEADLINE
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet
from wsctl.ipc.rpc import Reply, RpcPeer

pytestmark = pytest.mark.anyio


class Side:
    """One process: it answers with what it was asked, once `may_answer`."""

    def __init__(self, sock: socket.socket) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.heard = asyncio.Event()
        self.asked: list[tuple[str, str, bytes]] = []
        self.channel = Channel(sock, self._take, self._lost)
        self.rpc = RpcPeer(self.channel, self._answer)

    def _take(self, packet: Packet) -> None:
        self.rpc.receive(packet)

    def _lost(self, why: str) -> None:
        self.rpc.disconnect()

    async def heard_of(self, count: int) -> None:
        """Wait until it was asked so often."""
        while len(self.asked) < count:
            self.heard.clear()
            await self.heard.wait()

    async def _answer(self, method: str, path: str, body: bytes) -> Reply:
        self.asked.append((method, path, body))
        self.heard.set()
        await self.may_answer.wait()
        return Reply(200, {"path": path, "body": body.decode()})


Sides = tuple[Side, Side]


async def answer(method: str, path: str, body: bytes) -> Reply:
    return Reply(200, {"path": path, "body": body.decode()})


@asynccontextmanager
async def sides() -> AsyncIterator[Sides]:
    one, other = socket.socketpair()
    here, there = Side(one), Side(other)
    try:
        async with asyncio.timeout(DEADLINE):
            yield here, there
    finally:
        here.channel.close()
        there.channel.close()


async def test_each_question_gets_its_own_answer_in_both_directions() -> None:
    async with sides() as (here, there):
        asked = [here.rpc.call("GET", f"/{n}", b"x" * n) for n in range(3)]
        back = there.rpc.call("POST", "/back")
        answers = await asyncio.gather(*asked, back)
        assert [answer and answer.body["path"] for answer in answers] == ["/0", "/1", "/2", "/back"]
        assert answers[2] == Reply(200, {"path": "/2", "body": "xx"})
        assert here.asked == [("POST", "/back", b"")]


async def test_who_asks_a_process_that_goes_gets_none() -> None:
    async with sides() as (here, there):
        there.may_answer.clear()
        question = here.rpc.start_call("GET", "/")
        await there.heard.wait()
        there.channel.close()
        assert await question is None
        assert await here.rpc.call("GET", "/again") is None


async def test_who_has_no_patience_goes_without_and_a_late_answer_is_nobodys() -> None:
    async with sides() as (here, there):
        there.may_answer.clear()
        assert await here.rpc.call("GET", "/slow", patience=0) is None
        await there.heard.wait()
        there.may_answer.set()
        assert await here.rpc.call("GET", "/next") == Reply(200, {"path": "/next", "body": ""})


async def test_while_requests_are_held_none_begins_and_those_that_change_something_end() -> None:
    async with sides() as (here, there):
        there.may_answer.clear()
        changing = here.rpc.start_call("POST", "/1")
        asking = here.rpc.start_call("GET", "/2")
        await there.heard_of(2)
        holding = asyncio.create_task(there.rpc.hold())
        late = here.rpc.start_call("POST", "/3")
        await here.rpc.call("GET", "/", patience=0.01)  # what was sent before has arrived then
        assert [each.path for each in there.rpc.state().pending][:3] == ["/1", "/2", "/3"]
        assert len(there.asked) == 2
        assert not holding.done()
        there.may_answer.set()
        await holding
        reply = await changing
        assert reply
        assert reply.body["path"] == "/1"
        there.rpc.release()
        assert [reply and reply.body["path"] for reply in (await asking, await late)] == ["/2", "/3"]
        assert not there.rpc.state().pending


async def test_who_goes_on_with_the_exchange_answers_what_was_asked_and_asks_under_other_numbers() -> None:
    async with sides() as (here, there):
        there.may_answer.clear()
        asked = here.rpc.start_call("GET", "/old", b"body")
        unanswered = there.rpc.start_call("GET", "/back")
        await there.heard_of(1)
        state = there.rpc.state()
        assert [(each.path, each.body) for each in state.pending] == [("/old", b"body")]
        there.rpc.disconnect()
        assert await unanswered is None
        # The program that was there before answers no more.
        there.rpc = RpcPeer(there.channel, answer, state)
        reply = await asked
        assert reply
        assert reply.body == {"path": "/old", "body": "body"}
        back = await there.rpc.call("GET", "/again")
        assert back
        assert back.body["path"] == "/again"
