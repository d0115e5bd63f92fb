"""A client's connection under `wsctl serve`, whatever it speaks: the object that the event loop calls, and
nothing else.

There is no task and no timer for a connection. Broadcasts are written to the descriptor by the
fan-out while `behind` is false. As soon as the kernel does not take everything, the rest goes
through the transport, at most a chunk at a time, and what comes after it waits in the outbox.
The transport's high-water mark is 0, so `pause_writing` is called exactly when something is left over.
"""

import asyncio
import os
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence

from wsctl.codes import CLOSE_TIMEOUT, CloseCode
from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import NEVER, STALL_TIMEOUT, Connection, EndReason
from wsctl.hub.outbox import CHUNK, Outbox
from wsctl.log.history import Missed
from wsctl.server.websocket.inbound import UnreadInput
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.snapshot import ConnectionSnapshot, DetachedTransport

MAX_UNSENT_TO_MOVE = 4 << 20
"""Bytes that may wait for a client which moves into another process: one that is further behind than four of
the default queues would hold up the others."""


class TransportConnection(Connection, asyncio.Protocol):
    """The connection of a client to a transport of ours, from the answer to its request on.

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
        "_missed",
        "_outbox",
        "_progress_at",
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
        encoding: Encoding,
    ) -> None:
        now = services.clock()
        fd = None if transport.get_extra_info("ssl_object") else transport.get_extra_info("socket").fileno()
        super().__init__(client_id, address, now, fd, encoding)
        self._services = services
        self._transport = transport
        self._outbox: Outbox | None = None
        self._granted = 0
        self._missed: Missed | None = None
        self._further: deque[tuple[Missed, Outbox]] | None = None
        self._handed = b""
        self._unsent_then = 0
        self._progress_at = now
        self._deadline = 0.0
        # TLS compares with "at least", a plain transport with "more than".
        transport.set_write_buffer_limits(high=0 if fd is not None else 1, low=0)

    def begin(self, answer: bytes, since: str | None, early: bytes) -> None:
        """Take the transport over: send the answer, the welcome and what was missed, and read what the client
        sent too early."""
        self._transport.set_protocol(self)
        if self._transport.get_write_buffer_size() and not self.behind:
            self.pause_writing()  # the protocol before this one was told so
        welcome, missed = self._services.welcome.greet(self, since)
        lead = answer if since is None or missed else answer + self._caught_up()
        self._services.manager.connect(self, Batch.behind(lead, welcome), missed)
        if early:
            self.data_received(early)

    def _caught_up(self) -> bytes:
        """Return what stands in front of the welcome of a client that resumes and has missed nothing which is
        kept."""
        return b""

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
            self._send(self._farewell(code, reason))

    @abstractmethod
    def _farewell(self, code: int, reason: str) -> Batch:
        """Return the last bytes, which tell the client how the connection ends."""

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
        self._outbox = self._outbox or Outbox(self.encoding)
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
            self._further.append((missed, Outbox(self.encoding)))
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
        data = self._services.replays.encoded(batches, self.encoding)
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
            self._write(b"".join([b.encoded(self.encoding) for b in self._outbox.take()]))
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
            self._write(batch.encoded(self.encoding)[written:])
        elif self._further:
            self._further[-1][1].put(batch)
        else:
            self._outbox = self._outbox or Outbox(self.encoding)
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

    def connection_lost(self, exc: Exception | None) -> None:
        self._services.manager.forget(self)

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
            self.encoding,
            self._services.log.newest,
            self._unread(),
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
            waiting += [(batch, batch.uncompressed(self.encoding)) for batch in missed or ()]
            waiting += [(batch, batch.encoded(self.encoding)) for batch in outbox.batches()] if outbox else []
        self._services.manager.release(self)
        return DetachedTransport(self._transport, fd, snapshot, self._handed, waiting)

    def _unread(self) -> UnreadInput | None:
        """Return what has arrived and is not read yet."""
        return None

    def _go_on_reading(self, unread: UnreadInput | None) -> None:
        """Go on with what had arrived and was not read yet."""

    def restore(self, snapshot: ConnectionSnapshot, missed: Sequence[Batch]) -> None:
        """Go on where `detach` stopped, with what the client has missed meanwhile."""
        self.opened -= snapshot.age
        self.keepalive, self.last_sent = snapshot.keepalive, NEVER  # this process has sent it nothing
        self._services.expiry.set(self, snapshot.expires)
        self._services.identities.set(self, snapshot.identity)
        self._services.permissions.set(self, snapshot.permissions)
        self.subscriptions, self.commands = snapshot.subscriptions, snapshot.commands
        self._go_on_reading(snapshot.unread)
        self._services.manager.adopt(self, [*snapshot.batches, *missed])

    # Once a second

    def check(self, now: float) -> None:
        if self.end_reason is not None:
            if now >= self._deadline:
                self._services.manager.give_up(self)
            return
        if self.behind:
            self._check_progress(now)
        self._check_silence(now)

    @abstractmethod
    def _check_silence(self, now: float) -> None:
        """Send a sign of life when it is time for one."""

    def _heard(self, now: float) -> None:
        """Note that the peer is there: it has acknowledged bytes."""

    def _check_progress(self, now: float) -> None:
        if self._missed and not self._transport.get_write_buffer_size():
            self._progress_at = now  # its turn has not come
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent_then:
            self._unsent_then, self._progress_at = unsent, now
            self._heard(now)
        elif now - self._progress_at >= STALL_TIMEOUT:
            self._cut(f"nothing was read for {STALL_TIMEOUT:g} seconds")
