"""A client's event stream under `wsctl serve`."""

import asyncio
import random
import socket
from collections.abc import Callable

from wsctl.codes import RESTART, CloseCode
from wsctl.event_stream import LAST_CHUNK, chunk, closing, seen_up_to
from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import EndReason
from wsctl.server.http.deadlines import MAX_UNREAD
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.transport_connection import TransportConnection

KEEPALIVE = 15
"""Seconds without a message after which a comment is sent (HTML standard, section 9.2.7: about every 15)."""

FIRST_RETRY = (1.0, 3.0)
"""Seconds after which a client connects again when its stream has ended without a word, each at a moment of
its own between them: the default of browsers is a few seconds, the same for all."""

LAST_RETRY = (0.5, 1.5)
"""The same for a stream that the server has ended: another server is there, or this one again."""


class EventStream(TransportConnection):
    """One event stream, from the answer's head on. Nothing is read from its client any more."""

    __slots__ = ("_leaves_at", "_unread_bytes")

    def __init__(
        self,
        services: ConnectionServices,
        transport: asyncio.Transport,
        client_id: str,
        address: str,
        encoding: Encoding = Encoding.EVENTS,
    ) -> None:
        super().__init__(services, transport, client_id, address, encoding)
        self._leaves_at: float | None = None
        self._unread_bytes = 0
        self._bound_silence()

    def _caught_up(self) -> bytes:
        # What it resumes by is new again, however old the id was that it came with.
        field = seen_up_to(self._services.log.newest)
        return chunk(field) if self.encoding is Encoding.EVENTS else field

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Drop what comes behind the request: an answer without an end is followed by no other."""
        self._unread_bytes += len(data)
        if self._unread_bytes > MAX_UNREAD:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self._retire(CloseCode.ABNORMAL, "the client has ended the connection", EndReason.LEFT)

    # The end

    def asked_to_leave(self, seconds: float | None) -> None:
        self._leaves_at = None if seconds is None else self._services.clock() + seconds

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        if self.end_reason is None:
            super().close(code, reason, end_reason)
            if not self.behind:
                self._transport.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.end_reason is not None and not self.behind:
            self._transport.close()

    def _farewell(self, code: int, reason: str) -> Batch:
        event = closing(code, reason, some_milliseconds(LAST_RETRY))
        is_chunked = self.encoding is Encoding.EVENTS
        return Batch(wire=chunk(event) + LAST_CHUNK if is_chunked else event)

    # Once a second

    def _check_silence(self, now: float) -> None:
        if self._leaves_at is not None and now >= self._leaves_at:
            self.close(CloseCode.SERVICE_RESTART, RESTART, EndReason.LEFT)

    def _bound_silence(self) -> None:
        """Have the kernel end the connection when a comment is not acknowledged: a stream has no pong."""
        interval, timeout = self._services.settings.ping_interval, self._services.settings.ping_timeout
        patience = interval + timeout if interval and timeout else 0.0
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
        sock = self._transport.get_extra_info("socket")
        if patience and option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, option, round(1000 * patience))


def some_milliseconds(
    between: tuple[float, float], uniform: Callable[[float, float], float] = random.uniform
) -> int:
    """Return a moment between two, which are in seconds, as the field `retry` has it."""
    return round(1000 * uniform(*between))
