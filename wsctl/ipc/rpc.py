"""Requests and replies over a channel, in both directions at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet


class Reply(NamedTuple):
    """An answer of the control API: HTTP status and JSON object."""

    status: int
    body: dict[str, Any]


RequestHandler = Callable[[str, str, bytes], Awaitable[Reply]]
"""A function that answers a request: method, path with query, body."""

FINISH_TIMEOUT = 3.0
"""The time for answers that are still to be given, in seconds: longer than the asking process waits."""


class PendingRequest(NamedTuple):
    """A request of the other end that has no answer yet."""

    number: int
    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class RpcState:
    """One end of the exchange, so that the same process can go on with it as another program: the number of
    its next request, and the requests that it has not answered, which are answered anew."""

    next_number: int = 1
    pending: Sequence[PendingRequest] = ()


class RpcPeer:
    """One end of the exchange. `handler` answers the requests of the other end; it must not raise. With a
    `state` it goes on where another one was."""

    def __init__(self, channel: Channel, handler: RequestHandler, state: RpcState | None = None) -> None:
        state = state or RpcState()
        self._channel = channel
        self._handler = handler
        self._next_number = state.next_number
        self._calls: dict[int, asyncio.Future[Reply | None]] = {}
        self._pending = {request.number: request for request in state.pending}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._held = self._disconnected = False
        self.release()

    def start_call(self, method: str, path: str, body: bytes = b"") -> "asyncio.Future[Reply | None]":
        """Send a request, in the order of the calls. The answer is None when the other process is gone before
        it answers."""
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        if self._disconnected:
            future.set_result(None)
            return future
        number, self._next_number = self._next_number, self._next_number + 1
        self._calls[number] = future
        future.add_done_callback(lambda _: self._calls.pop(number, None))
        self._channel.send("ask", {"n": number, "method": method, "path": path}, [body])
        return future

    async def call(
        self, method: str, path: str, body: bytes = b"", patience: float | None = None
    ) -> Reply | None:
        """Send a request and wait for its answer, at most `patience` seconds; without limit unless given.
        None if none came."""
        try:
            async with asyncio.timeout(patience):
                return await self.start_call(method, path, body)
        except TimeoutError:
            return None

    def receive(self, packet: Packet) -> None:
        """Handle an `ask` or an `answer` that arrived."""
        fields = packet.fields
        if packet.kind == "ask":
            request = PendingRequest(fields["n"], fields["method"], fields["path"], packet.blobs[0])
            self._pending[request.number] = request
            if not self._held:
                self._begin(request)
        elif (future := self._calls.get(fields["n"])) and not future.done():
            future.set_result(Reply(fields["status"], fields["body"]))

    async def finish(self) -> None:
        """Wait until every request of the other end is answered, at most `FINISH_TIMEOUT` seconds."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=FINISH_TIMEOUT)

    async def hold(self) -> None:
        """Begin no answer from here on, until `release`, and wait until all requests that change something
        are answered. Those that only ask can be answered anew."""
        self._held = True
        while changing := [t for n, t in self._tasks.items() if self._pending[n].method != "GET"]:
            await asyncio.wait(changing)

    def release(self) -> None:
        """Begin the answers that were held back."""
        self._held = False
        for number, request in self._pending.items():
            if number not in self._tasks:
                self._begin(request)

    def state(self) -> RpcState:
        """Return how the exchange stands. The answers to requests of this end are not waited for any more."""
        return RpcState(self._next_number, list(self._pending.values()))

    def disconnect(self) -> None:
        """Answer the open requests with None: nothing arrives any more."""
        self._disconnected = True
        for future in list(self._calls.values()):
            if not future.done():
                future.set_result(None)

    def _begin(self, request: PendingRequest) -> None:
        self._tasks[request.number] = asyncio.create_task(self._answer(request))

    async def _answer(self, request: PendingRequest) -> None:
        try:
            reply = await self._handler(request.method, request.path, request.body)
            self._channel.send("answer", {"n": request.number, "status": reply.status, "body": reply.body})
        finally:
            del self._pending[request.number], self._tasks[request.number]
