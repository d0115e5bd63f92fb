"""A client's connection under `wsctl serve`: the object that the event loop calls, and nothing else.

There is no task and no timer for a connection. Broadcasts are written to the descriptor by the
fan-out while `behind` is false. As soon as the kernel does not take everything, the rest goes
through the transport, at most a chunk at a time, and what comes after it waits in the outbox.
The transport's high-water mark is 0, so `pause_writing` is called exactly when something is left over.
"""

import asyncio
import os
from collections import deque
from collections.abc import Sequence

from wsctl.codes import CLOSE_TIMEOUT, CloseCode
from wsctl.frame import CLOSE, PING, PONG, TEXT, Batch, close_frame, frame
from wsctl.hub.connection import NEVER, STALL_TIMEOUT, Connection, EndReason
from wsctl.hub.outbox import CHUNK, Outbox
from wsctl.log.history import Missed
from wsctl.server.websocket.inbound import FrameReader, Violation, close_reason, text, whole_small_frame
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.snapshot import ConnectionSnapshot, DetachedTransport

LINGER = 1.0
"""Seconds that a peer which broke the protocol has to take the close frame and hang up."""

MAX_UNSENT_TO_MOVE = 4 << 20
"""Bytes that may wait for a client which moves into another process: one that is further behind than four of
the default queues would hold up the others."""

_PING = Batch(wire=frame(PING, b""))


class Wire(Connection, asyncio.Protocol):
    """One WebSocket, from the 101 on.

    While it is open, this holds between two calls of the event loop:

    - `_handed` is the last write of which the transport kept a part, and that part is its end. Only what was
      written before `begin` is in no `_handed`.
    - `_granted` is how many bytes of `_handed` and the outbox were missed before; those of a `Missed`, which
      waits outside of both, are added when a slice of it is handed over. They are in front of all live ones.
    - `_replayed` is what is left of them, here and in `Missed`, without what the socket has taken. So
      `waiting - _replayed`, which is held against the queue, is the live bytes that wait, and no more beside
      them than the answer and the welcome while these wait in front of what was missed.
    - Messages that were missed may have to stand behind what waits already: the welcome, or for a client that
      subscribes with `since`, live messages and those that it missed before. `_further` has each such
      `Missed` with an outbox for what comes behind it. The first of them takes the place of `_missed` and
      `_outbox` when these are empty and the socket has taken everything.
    - A connection that is not behind has nothing of all that: no `_handed`, no `_granted`, no `Missed`, and
      nothing in its outbox.
    """

    __slots__ = (
        "_deadline",
        "_further",
        "_granted",
        "_handed",
        "_ignores_input",
        "_missed",
        "_outbox",
        "_pinged_at",
        "_pongs_due",
        "_progress_at",
        "_reader",
        "_received_at",
        "_services",
        "_transport",
        "_unsent_then",
    )

    def __init__(
        self,
        services: ConnectionServices,
        transport: asyncio.Transport,
        client_id: str,
        address: str,
        deflate: bool = False,
    ) -> None:
        now = services.clock()
        fd = None if transport.get_extra_info("ssl_object") else transport.get_extra_info("socket").fileno()
        super().__init__(client_id, address, now, fd, deflate)
        self._services = services
        self._transport = transport
        self._reader: FrameReader | None = None
        self._outbox: Outbox | None = None
        self._ignores_input = False
        self._granted = 0
        self._missed: Missed | None = None
        self._further: deque[tuple[Missed, Outbox]] | None = None
        self._handed = b""
        self._received_at = now
        self._pinged_at = 0.0
        self._pongs_due = 0
        self._unsent_then = 0
        self._progress_at = now
        self._deadline = 0.0
        # TLS compares with "at least", a plain transport with "more than".
        transport.set_write_buffer_limits(high=0 if fd is not None else 1, low=0)

    def begin(self, answer: bytes, since: str | None, early: bytes) -> None:
        """Take the transport over: send the 101, the welcome and what was missed, and read what the client
        sent too early."""
        self._transport.set_protocol(self)
        if self._transport.get_write_buffer_size() and not self.behind:
            self.pause_writing()  # the protocol before this one was told so
        welcome, missed = self._services.welcome.greet(self, since)
        self._services.manager.connect(self, Batch((welcome,), lead=answer), missed)
        if early:
            self.data_received(early)

    # Sending

    @property
    def waiting(self) -> int:
        return (
            self._transport.get_write_buffer_size()
            + (self._outbox.size if self._outbox else 0)
            + (sum(outbox.size for _, outbox in self._further) if self._further else 0)
            + self._missed_bytes
        )

    @property
    def undelivered(self) -> int:
        missed = len(self._missed) if self._missed else 0
        further = sum(len(each) + outbox.messages for each, outbox in self._further or ())
        return missed + (self._outbox.messages if self._outbox else 0) + further

    @property
    def replays(self) -> int:
        return bool(self._missed) + len(self._further or ())

    @property
    def _missed_bytes(self) -> int:
        first = self._missed.bytes if self._missed else 0
        return first + (sum(missed.bytes for missed, _ in self._further) if self._further else 0)

    def offer(self, batch: Batch, written: int = 0) -> None:
        if self.end_reason is not None:
            return
        self._send(batch, written)
        limit = self._services.settings.max_queue
        if self.behind and limit and self.waiting > limit + self._replayed:
            self._cut(f"more than {limit} bytes waited for this client")

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        if self.end_reason is None:
            self._retire(code, reason, end_reason)
            self._send(Batch(wire=close_frame(code, reason)))

    def hang_up(self) -> None:
        if self.behind:  # a transport would try to write the rest without end
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        self._retire(CloseCode.ABNORMAL, reason, end_reason)
        self._transport.abort()

    def replay(self, missed: Sequence[Batch]) -> None:
        if self.end_reason is not None:
            return
        self._outbox = self._outbox or Outbox(self.deflate)
        before = self._outbox.size
        for batch in missed:
            self._outbox.put(batch)
        self._granted += self._outbox.size - before
        if not self.behind:
            self.resume_writing()

    def catch_up(self, missed: Missed) -> None:
        if self.end_reason is not None:
            return
        if self.behind:
            # What waits stays in front. `resume_writing` goes on with this behind it.
            self._further = self._further or deque()
            self._further.append((missed, Outbox(self.deflate)))
            return
        self._missed = missed
        self.behind = True
        self._services.manager.settle(self)
        if self._services.replays.wait(self.client_id):
            self._services.replays.want(self)
        else:
            self.feed()

    def feed(self) -> None:
        """Write the next slice of the missed messages. Whatever else is to be sent waits until all of them
        are."""
        if not self._missed or self._transport.get_write_buffer_size() or self._transport.is_closing():
            return
        batches = self._missed.take(CHUNK)
        data = b"".join([self._services.replays.encoded(batch, self.deflate) for batch in batches])
        self._services.replays.spend(self.client_id, len(data))
        self._services.manager.caught_up(sum(batch.messages for batch in batches), len(data))
        self._granted, self._progress_at = len(data), self._services.clock()
        self._write(data)
        if not self._transport.get_write_buffer_size():
            self.resume_writing()

    def pause_writing(self) -> None:
        self.behind = True
        self._unsent_then, self._progress_at = self.waiting, self._services.clock()
        self._services.manager.settle(self)

    def resume_writing(self) -> None:
        if self._missed:
            self._services.replays.want(self)
            return
        self.behind, self._missed = False, None
        self._granted = max(0, self._granted - len(self._handed))
        while self._outbox and self._outbox.size and not self.behind:
            self._write(b"".join([b.encoded(self.deflate) for b in self._outbox.take()]))
        if not self.behind:
            self._outbox, self._granted, self._handed = None, 0, b""
            if self._further:
                self.behind = True
                self._missed, self._outbox = self._further.popleft()
                self._services.replays.want(self)
            else:
                self._further = None
                self._services.manager.settle(self)

    @property
    def _replayed(self) -> int:
        """The waiting bytes of messages that were missed before, which are not held against the queue."""
        written = max(0, len(self._handed) - self._transport.get_write_buffer_size())
        return max(0, self._granted - written) + self._missed_bytes

    def _send(self, batch: Batch, written: int = 0) -> None:
        if not self.behind:
            self._write(batch.encoded(self.deflate)[written:])
        elif self._further:
            self._further[-1][1].put(batch)
        else:
            self._outbox = self._outbox or Outbox(self.deflate)
            self._outbox.put(batch)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if self.behind:
            self._handed = data  # of which the transport has kept the end
        else:
            self._granted = max(0, self._granted - len(data))

    def _cut(self, reason: str) -> None:
        self._missed = self._further = None
        if self._outbox:
            self._outbox.clear()
        self.close(CloseCode.TRY_AGAIN_LATER, f"too slow: {reason}", EndReason.EVICTED)

    def _retire(self, code: int, reason: str, end_reason: EndReason) -> None:
        if self.end_reason is None:
            self._deadline = self._services.clock() + CLOSE_TIMEOUT
        self._services.manager.retire(self, code, reason, end_reason)

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._services.manager.forget(self)

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            small = whole_small_frame(data)
            limit = self._services.settings.max_message_size
            if small and (not limit or len(small[1]) <= limit):
                self._take(*small)
                return
            self._reader = FrameReader(limit, self.deflate)
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

    # Into another process

    @property
    def can_move(self) -> bool:
        """True if the connection can go on in another process: not with TLS, nor when it is closing, too much
        waits, a hook is at work on what it sent, or a command of it is not answered."""
        unsent = self._transport.get_write_buffer_size()
        if (self._services.hooks and self._services.hooks.is_busy(self)) or self.is_awaiting:
            return False
        known = self.fd is not None and unsent <= len(self._handed)
        open_here = self.end_reason is None and not self._transport.is_closing()
        return known and open_here and self.waiting <= MAX_UNSENT_TO_MOVE

    @property
    def is_awaiting(self) -> bool:
        """True if the home of the log has not answered a command of the client."""
        return self in self._services.intake.awaiting

    def hold_input(self, held: bool) -> None:
        """Read nothing while `held`, so that a connection that awaits answers has them all in a moment."""
        if self.end_reason is None and not self._transport.is_closing():
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    @property
    def needs_topics(self) -> bool:
        """True if only a process that knows of topics can go on with the connection."""
        return bool(self.subscriptions) or self.commands or bool(self._services.permissions.claimed(self))

    def detach(self) -> DetachedTransport:
        """Stop reading and writing, and leave the hub, which has sent everything up to now.

        Raises:
            OSError: no descriptor is left for the copy that goes on; nothing has changed then.
        """
        fd = os.dup(self._transport.get_extra_info("socket").fileno())
        snapshot = ConnectionSnapshot(
            self.client_id,
            self.address,
            self._services.clock() - self.opened,
            self.deflate,
            self._services.log.newest,
            self._reader.unread if self._reader else None,
            expires=self._services.expiry.of(self),
            keepalive=self.keepalive,
            identity=self._services.identities.of(self),
            subscriptions=self.subscriptions,
            commands=self.commands,
            permissions=self._services.permissions.claimed(self),
        )
        self._services.identities.forget(self)
        self._services.permissions.forget(self)
        first, self._missed = self._missed, None
        further, self._further = self._further or (), None
        waiting: list[tuple[Batch, bytes]] = []
        for missed, outbox in ((first, self._outbox), *further):
            waiting += [(batch, batch.wire) for batch in missed or ()]
            waiting += [(batch, batch.encoded(self.deflate)) for batch in outbox.batches()] if outbox else []
        self._services.manager.release(self)
        return DetachedTransport(self._transport, fd, snapshot, self._handed, waiting)

    def restore(self, snapshot: ConnectionSnapshot, missed: Sequence[Batch]) -> None:
        """Go on where `detach` stopped, with what the client has missed meanwhile."""
        self.opened -= snapshot.age
        self.keepalive, self.last_sent = snapshot.keepalive, NEVER  # this process has sent it nothing
        self._services.expiry.set(self, snapshot.expires)
        self._services.identities.set(self, snapshot.identity)
        self._services.permissions.set(self, snapshot.permissions)
        self.subscriptions, self.commands = snapshot.subscriptions, snapshot.commands
        if snapshot.unread:
            limit = self._services.settings.max_message_size
            self._reader = FrameReader.resumed(snapshot.unread, limit, self.deflate)
        self._services.manager.adopt(self, [*snapshot.batches, *missed])

    # Once a second

    def check(self, now: float) -> None:
        if self.end_reason is not None:
            if now >= self._deadline:
                self._services.manager.give_up(self)
            return
        if self.behind:
            self._check_progress(now)
        interval, patience = self._services.settings.ping_interval, self._services.settings.ping_timeout
        if self._pinged_at:
            if patience and now - self._pinged_at >= patience:
                self.abort("no answer to a ping")
        elif interval and now - self._received_at >= interval:
            self._pinged_at = now
            self._pongs_due += 1
            self.offer(_PING)

    def _check_progress(self, now: float) -> None:
        if self._missed and not self._transport.get_write_buffer_size():
            self._progress_at = now  # its turn has not come
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent_then:
            # The peer has acknowledged bytes that left the buffer: as good as a pong.
            self._unsent_then, self._progress_at, self._received_at, self._pinged_at = unsent, now, now, 0.0
        elif now - self._progress_at >= STALL_TIMEOUT:
            self._cut(f"nothing was read for {STALL_TIMEOUT:g} seconds")
