"""The connections on their way to a successor."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from wsctl.server.carried import packed
from wsctl.server.heir import Heir
from wsctl.server.node import Node
from wsctl.server.wire import Wire

STALL_TIMEOUT = 10.0
"""Seconds without a sign of life after which a successor that takes connections counts as hanging: as long
as a client that does not read."""

TOGETHER = 100
"""Connections in one parcel: within what the kernel passes at a time, and some milliseconds of work."""

AHEAD = 3
"""Parcels of connections under way: enough to keep the successor busy, and what a crash of it cuts off."""

LAST_HEADS = 1.0
"""Seconds in which requests that have arrived in part may become connections, which still move."""

LOOK = 0.05
"""Seconds between two looks for them."""


class House(Protocol):
    """Where connections come from."""

    def half_heard(self) -> int:
        """How many requests have arrived in part."""

    def take_unheard(self) -> Sequence[asyncio.Transport]:
        """The connections that have said nothing yet; they are the caller's from here on."""


class Convoy:
    """What has moved.

    Attributes:
        moved, lost: connections that the successor has, and that ended on the way.
        silence: the longest time, in seconds, in which one of them was with nobody.
    """

    def __init__(self, node: Node, house: House, heir: Heir) -> None:
        self._node = node
        self._house = house
        self._heir = heir
        self._under_way = 0
        self.moved = 0
        self.lost = 0
        self.silence = 0.0

    async def move_connections(self) -> None:
        """All that can move, those connected longest first."""
        while self._movable():
            await self._heir.until(self._may_send, STALL_TIMEOUT, "stopped answering")
            # Looked up again: nothing is awaited between this and the sending.
            self._send(self._movable())
            await asyncio.sleep(0)

    def move_unheard(self) -> None:
        """Connections that have said nothing will say it to the successor."""
        transports = self._house.take_unheard()
        for at in range(0, len(transports), TOGETHER):
            some = transports[at : at + TOGETHER]
            self._heir.send("doors", fds=[t.get_extra_info("socket").fileno() for t in some])
        for transport in transports:
            transport.abort()

    async def move_latecomers(self) -> None:
        """Clients whose request was under way when the move began."""
        until = self._node.clock() + LAST_HEADS
        while self._node.clock() < until and (self._house.half_heard() or self._movable()):
            await self.move_connections()
            await asyncio.sleep(LOOK)

    async def arrived(self) -> None:
        """Wait until the successor has told of everything that was sent."""
        await self._heir.until(
            lambda: not self._under_way and not self._heir.queued, STALL_TIMEOUT, "stopped answering"
        )

    def note(self, told: dict[str, Any]) -> None:
        """The successor has got some."""
        self._under_way -= told["moved"] + told["lost"]
        self.moved += told["moved"]
        self.lost += told["lost"]
        self.silence = max(self.silence, told["silence_s"])

    def _may_send(self) -> bool:
        return self._under_way <= (AHEAD - 1) * TOGETHER and not self._heir.queued

    def _movable(self) -> list[Wire]:
        found: list[Wire] = []
        for connection in self._node.manager.active_connections.values():
            if len(found) == TOGETHER:
                break
            if isinstance(connection, Wire) and connection.can_move:
                found.append(connection)
        return found

    def _send(self, wires: list[Wire]) -> None:
        self._node.manager.flush()
        wires = [wire for wire in wires if wire.can_move]  # the flush may have found some to be gone
        rows, blobs = packed([wire.depart() for wire in wires])
        fields = {"rows": rows, "seen": self._node.log.newest, "at": self._node.clock()}
        self._under_way += len(wires)
        self._heir.send("move", fields, blobs, [wire.fd for wire in wires if wire.fd is not None])
        for wire in wires:
            wire.gone()
