"""The protocol of a connection that leaves this process."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from wsctl.frame import Batch
from wsctl.server.handover.carried import Carried


class Departure(asyncio.Protocol):
    """Takes the transport to its end, and then knows what it had not written.

    Only when the transport has ended is it certain that it writes nothing more: an event loop may still flush
    a buffer after `abort`. `fd` is a copy of the descriptor, which outlives the transport.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        fd: int,
        carried: Carried,
        handed: bytes,
        waiting: Sequence[tuple[Batch, bytes]],
    ) -> None:
        self.fd = fd
        self.carried = carried
        self._transport = transport
        self._handed = handed
        self._waiting = waiting
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport.pause_reading()
        transport.set_protocol(self)
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        unsent = self._transport.get_write_buffer_size()
        rest = [(self._handed[len(self._handed) - unsent :], 0)] if unsent else []
        rest += [(data, batch.messages) for batch, data in self._waiting]
        self.carried = replace(self.carried, unsent=tuple(rest))
        self.ended.set_result(None)
