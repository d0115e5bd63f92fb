"""A client's WebSocket under `wsctl serve`."""

import asyncio

from wsctl.codes import CloseCode
from wsctl.frame import CLOSE, PING, PONG, TEXT, Batch, Encoding, close_frame, frame
from wsctl.hub.connection import EndReason
from wsctl.server.websocket.inbound import (
    FrameReader,
    UnreadInput,
    Violation,
    close_reason,
    text,
    whole_small_frame,
)
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.transport_connection import TransportConnection

LINGER = 1.0
"""Seconds that a peer which broke the protocol has to take the close frame and hang up."""

_PING = Batch(wire=frame(PING, b""))


class Wire(TransportConnection):
    """One WebSocket, from the 101 on."""

    __slots__ = ("_ignores_input", "_pinged_at", "_pongs_due", "_reader", "_received_at")

    def __init__(
        self,
        services: ConnectionServices,
        transport: asyncio.Transport,
        client_id: str,
        address: str,
        encoding: Encoding = Encoding.PLAIN,
    ) -> None:
        super().__init__(services, transport, client_id, address, encoding)
        self._reader: FrameReader | None = None
        self._ignores_input = False
        self._received_at = self.opened
        self._pinged_at = 0.0
        self._pongs_due = 0

    # Receiving

    def data_received(self, data: bytes) -> None:
        self._received_at = self._services.clock()
        self._pinged_at = 0.0
        self._services.intake.received_bytes += len(data)
        if self._ignores_input:
            return
        try:
            self._read(data)
        except Violation as violation:
            self._close_for(violation)

    def eof_received(self) -> None:
        self._retire(CloseCode.ABNORMAL, "the peer hung up without a close frame", EndReason.LEFT)

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            small = whole_small_frame(data)
            limit = self._services.settings.max_message_size
            if small and (not limit or len(small[1]) <= limit):
                self._take(*small)
                return
            self._reader = FrameReader(limit, self.encoding is Encoding.DEFLATE)
        for opcode, payload in self._reader.feed(data):
            self._take(opcode, payload)
            if self._ignores_input:
                return
        if self._reader.idle:
            self._reader = None

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self._peer_closes(payload)
        elif self.end_reason is not None:
            return
        elif opcode == TEXT:
            self._services.intake.text(self, text(payload))
        elif opcode == PING:
            self._services.intake.control(self)
            self.offer(Batch(wire=frame(PONG, payload)))
        elif opcode == PONG:
            self._count_pong()
        else:
            self._services.intake.binary(self)

    def _count_pong(self) -> None:
        """Count a pong as a control frame, unless it answers a ping of ours: the server itself has asked for
        that."""
        if self._pongs_due:
            self._pongs_due -= 1
        else:
            self._services.intake.control(self)

    def _peer_closes(self, payload: bytes) -> None:
        code, reason = close_reason(payload)
        self._ignores_input = True
        unsaid = self.end_reason is None or self._outbox is not None or bool(self._further)
        self._outbox = self._missed = self._further = None  # whoever closes reads no more
        self._retire(code, reason, EndReason.LEFT)
        if unsaid:
            self._transport.write(frame(CLOSE, payload[:2]))
        self._transport.close()

    def _close_for(self, violation: Violation) -> None:
        self._ignores_input, self._reader = True, None
        self.close(violation.code, violation.reason, EndReason.EVICTED)
        self._deadline = min(self._deadline, self._services.clock() + LINGER)
        if not self.behind and self._transport.can_write_eof():
            self._transport.write_eof()

    def _unread(self) -> UnreadInput | None:
        return self._reader.unread if self._reader else None

    def _go_on_reading(self, unread: UnreadInput | None) -> None:
        if unread:
            limit = self._services.settings.max_message_size
            self._reader = FrameReader.resumed(unread, limit, self.encoding is Encoding.DEFLATE)

    def _farewell(self, code: int, reason: str) -> Batch:
        return Batch(wire=close_frame(code, reason))

    # Once a second

    def _check_silence(self, now: float) -> None:
        interval, patience = self._services.settings.ping_interval, self._services.settings.ping_timeout
        if self._pinged_at:
            if patience and now - self._pinged_at >= patience:
                self.abort("no answer to a ping")
        elif interval and now - self._received_at >= interval:
            self._pinged_at = now
            self._pongs_due += 1
            self.offer(_PING)

    def _heard(self, now: float) -> None:
        # As good as a pong.
        self._received_at, self._pinged_at = now, 0.0
