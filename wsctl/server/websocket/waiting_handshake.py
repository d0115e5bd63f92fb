"""Handshakes whose hook has not returned yet."""

import asyncio
from collections.abc import Awaitable, Callable

from wsctl.server.http.deadlines import MAX_UNREAD
from wsctl.server.http.semantics import HttpRefusal, error_response
from wsctl.server.websocket.hook_calls import ConnectVerdict

LINGER = 1.0
"""Seconds that a client has to read a refusal and hang up."""


class WaitingHandshake(asyncio.Protocol):
    """The protocol of a connection from its upgrade request to the verdict on that. Nothing is read
    meanwhile, but for what had been received.

    `decide` is called with the verdict and what came early, if the client is still there; it returns the
    refusal, if there is one. `waiting` has all of them.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        verdict: Awaitable[ConnectVerdict],
        early: bytes,
        decide: Callable[[ConnectVerdict, bytes], HttpRefusal | None],
        waiting: "set[WaitingHandshake]",
    ) -> None:
        self._transport = transport
        self._early = bytearray(early)
        self._decide = decide
        self._waiting = waiting
        self._refused = False
        waiting.add(self)
        transport.set_protocol(self)
        transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._wait(verdict))

    def data_received(self, data: bytes) -> None:
        if not self._refused and len(self._early) + len(data) <= MAX_UNREAD:
            self._early += data
        elif not self._refused:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.discard(self)
        self._task.cancel()

    async def _wait(self, awaited: Awaitable[ConnectVerdict]) -> None:
        try:
            verdict = await awaited
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        self._waiting.discard(self)
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        if refused := self._decide(verdict, bytes(self._early)):
            self._refuse(refused)

    def _refuse(self, refused: HttpRefusal) -> None:
        """Answer, and read on for a moment: to close over unread input would reset the connection."""
        self._refused = True
        self._transport.write(error_response(refused.status, refused.code, refused.message, refused.headers))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER, self._transport.abort)
