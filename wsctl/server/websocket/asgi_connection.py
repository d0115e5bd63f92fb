"""A connection on another ASGI server: the same rules, with tasks for each connection."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from wsctl.addresses import host_port
from wsctl.codes import CLOSE_TIMEOUT, CloseCode
from wsctl.frame import Batch
from wsctl.hub.connection import STALL_TIMEOUT, Connection, EndReason
from wsctl.hub.outbox import CHUNK, Outbox
from wsctl.log.history import Missed
from wsctl.server.http.proxy import canonical_ip
from wsctl.server.websocket.hook_calls import drop_error
from wsctl.server.websocket.services import ConnectionServices


def client_host(connection: HTTPConnection) -> str:
    """Return the client's IP address; empty where it is not known, or is a text that is no address."""
    return (canonical_ip(connection.client.host) or "") if connection.client else ""


def client_address(connection: HTTPConnection) -> str:
    """Return the client's address and port, as `192.0.2.1:50123`."""
    return host_port(client_host(connection), connection.client.port if connection.client else 0)


def joined(connection: HTTPConnection, name: str) -> str | None:
    """Return a header, or several of a name as one list (RFC 9110 section 5.2); None if it is not there, or
    empty."""
    return ", ".join(connection.headers.getlist(name)) or None


class AsgiConnection(Connection):
    """A connection whose socket belongs to another ASGI server."""

    __slots__ = (
        "_closed",
        "_deadline",
        "_further",
        "_granted",
        "_is_closed",
        "_missed",
        "_outbox",
        "_progress",
        "_sender",
        "_services",
        "_wake",
    )

    def __init__(self, services: ConnectionServices, connection: HTTPConnection, client_id: str) -> None:
        super().__init__(client_id, client_address(connection), services.clock())
        self._services = services
        self._is_closed = False
        self._deadline = 0.0
        self._outbox = Outbox()
        self._granted = 0
        self._missed: Missed | None = None
        self._further: deque[tuple[Missed, Outbox]] = deque()
        self._wake = asyncio.Event()
        self._progress = services.clock()
        self._sender: asyncio.Task[None] | None = None

    async def run(self, since: str | None) -> None:
        """Serve the client until it leaves or is closed."""
        self._sender = asyncio.create_task(self._send_all())
        welcome, missed = self._services.welcome.greet(self, since)
        lead = b"" if since is None or missed else self._caught_up()
        self._services.manager.connect(self, Batch.behind(lead, welcome), missed)
        receiver = asyncio.create_task(self._receive_all())
        tasks = {self._sender, receiver}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.add_done_callback(drop_error)
                task.cancel()
            try:
                # Not `gather`: whoever cancels this task must know its own CancelledError again.
                await asyncio.wait(tasks)
            finally:
                self._services.manager.forget(self)

    def _caught_up(self) -> bytes:
        """Return what stands in front of the welcome of a client that resumes and has missed nothing which is
        kept."""
        return b""

    @property
    def waiting(self) -> int:
        missed = (self._missed.bytes if self._missed else 0) + sum(each.bytes for each, _ in self._further)
        return self._live + missed

    @property
    def undelivered(self) -> int:
        return self._outbox.messages + sum(outbox.messages for _, outbox in self._further)

    @property
    def replays(self) -> int:
        return bool(self._missed) + len(self._further)

    @property
    def _live(self) -> int:
        """Bytes in the queue, without messages that were missed."""
        return self._outbox.size + sum(outbox.size for _, outbox in self._further)

    def offer(self, batch: Batch, written: int = 0) -> None:
        if self.end_reason is not None:
            return
        limit = self._services.settings.max_queue
        if limit and self._live + len(batch.wire) > limit + self._granted:
            self._cut(f"more than {limit} bytes waited for this client")
            return
        self._put(batch)

    def replay(self, missed: Sequence[Batch]) -> None:
        if self.end_reason is not None:
            return
        for batch in missed:
            self._granted += len(batch.wire)
            self._put(batch)

    def catch_up(self, missed: Missed) -> None:
        """Send what was missed behind what waits: it stands in front of an outbox for what comes behind it,
        and that takes the place of the one before it when everything in there is sent."""
        if self.end_reason is not None:
            return
        if not self.waiting:
            self._progress = self._services.clock()
        self._further.append((missed, Outbox()))
        self._wake.set()

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        if self.end_reason is None:
            self._is_closed, self._deadline = True, self._services.clock() + CLOSE_TIMEOUT
        self._services.manager.retire(self, code, reason, end_reason)
        self._wake.set()

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        self._services.manager.retire(self, CloseCode.ABNORMAL, reason, end_reason)
        if self._sender:
            self._sender.cancel()

    def check(self, now: float) -> None:
        if self._is_closed and now >= self._deadline:
            self._services.manager.give_up(self)
        elif (self._outbox.size or self._missed or self._further) and now - self._progress >= STALL_TIMEOUT:
            if self.end_reason is None:
                self._cut(f"nothing was read for {STALL_TIMEOUT:g} seconds")
            else:
                self._services.manager.give_up(self)

    def _put(self, batch: Batch) -> None:
        if not self._outbox.size and not self._further:
            self._progress = self._services.clock()
        (self._further[-1][1] if self._further else self._outbox).put(batch)
        self._wake.set()

    def _cut(self, reason: str) -> None:
        self._outbox.clear()
        self._missed = None
        self._further.clear()
        self.close(CloseCode.TRY_AGAIN_LATER, f"too slow: {reason}", EndReason.EVICTED)

    async def _send_all(self) -> None:
        while True:
            await self._send_missed()
            while batches := self._outbox.take():
                await self._send(batches)
                self._granted = max(0, self._granted - sum(len(batch.wire) for batch in batches))
            if self._further:
                self._missed, self._outbox = self._further.popleft()
                continue
            if self._is_closed:
                await self._end()
                return
            self._wake.clear()
            await self._wake.wait()

    async def _send_missed(self) -> None:
        """Send the missed messages in slices, between which others have their turn."""
        while self._missed:
            await asyncio.sleep(self._services.replays.wait(self.client_id))
            self._progress = self._services.clock()
            batches = self._missed.take(CHUNK) if self._missed else []
            size = sum(len(batch.wire) for batch in batches)
            self._services.replays.spend(self.client_id, size)
            self._services.manager.caught_up(sum(batch.messages for batch in batches), size)
            await self._send(batches)

    async def _send(self, batches: Sequence[Batch]) -> None:
        await self._write(batches)
        self._progress = self._services.clock()

    @abstractmethod
    async def _write(self, batches: Sequence[Batch]) -> None:
        """Send batches, and wait until the server has taken them."""

    @abstractmethod
    async def _end(self) -> None:
        """Tell the client with which code and reason the connection ends."""

    @abstractmethod
    async def _receive_all(self) -> None:
        """Take in what comes until the client has left."""
