"""One node of several that share a Redis: what it tells the others, its clients and operators."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from wsctl import __version__
from wsctl.codes import ExitCode
from wsctl.control.encoding import decode
from wsctl.control.status import ClientStatus, ClusterNode, RedisState
from wsctl.drain.interventions import Intervention
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress
from wsctl.log.home import Away, Elsewhere
from wsctl.log.message_log import MessageLog
from wsctl.log.redis.client import RedisClient
from wsctl.log.redis.session import create_session


class Sharing:
    """One node of several that share a Redis. As an observer of its drain it asks for a turn.

    At most `max_draining` nodes drain at a time; 0 is no limit. A client may have `per_id` connections; 0 is
    any number. `elsewhere` is told of the connections of other nodes that subscribe to topics, `about`
    returns what others should know of the server, `replaced` is called with the id of a client that has newer
    connections at another node and the serial number of the one that ends, `disconnect` with the id of a
    client that an operator has asked another node to disconnect, the close code and the reason, and `turn`
    with how many nodes must drain before this one may.

    Attributes:
        session: the session of the node with Redis, the home of its log.
        url: the address at which clients reach it, once it listens.
    """

    interval = float("inf")  # nothing is due while a drain goes on

    def __init__(
        self,
        redis: RedisClient,
        prefix: str,
        log: MessageLog,
        elsewhere: Elsewhere,
        *,
        per_id: int,
        max_draining: int,
        about: Callable[[], dict[str, Any]],
        replaced: Callable[[str, int | None], None],
        disconnect: Callable[[str, int, str], int],
        turn: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self.session = create_session(redis, prefix, log, self, elsewhere, per_id=per_id, clock=clock)
        log.move_to(self.session)
        self.url: str | None = None
        self._max_draining = max_draining
        self._about = about
        self._replaced = replaced
        self._disconnect = disconnect
        self._turn = turn
        self._clock = clock
        self._host = socket.gethostname()

    @property
    def why_degraded(self) -> str | None:
        """The reason why messages are not shared just now; None while they are."""
        return None if self.session.why is None else f"Redis is away: {self.session.why}"

    async def check(self) -> None:
        """Check that there is a Redis to share.

        Raises:
            Unusable: there is none, or none that can be used.
        """
        await self.session.redis.check()

    def redis_state(self) -> RedisState:
        """Return the state of this node's Redis."""
        session = self.session
        return RedisState(
            url=session.redis.name,
            state="up" if session.why is None else "away",
            for_s=round(self._clock() - session.availability.since, 3),
            why=session.why,
            unreadable=session.unreadable.count,
        )

    def nodes(self) -> tuple[ClusterNode, ...]:
        """Return all nodes, the one that started first leading; the others as of their last sign of life."""
        now = self.session.lease.peers | {self.session.node: self.about()}
        told = [facts | {"node": name, "this": name == self.session.node} for name, facts in now.items()]
        return tuple(sorted((decode(ClusterNode, each) for each in told), key=lambda n: (n.started, n.node)))

    async def clients_elsewhere(self) -> tuple[ClientStatus, ...]:
        """Return the clients of the other nodes; none while Redis is away."""
        try:
            found = await self.session.presence.everywhere(self.session.lease.peers)
        except Away:
            return ()
        return tuple(
            ClientStatus(name, None, since, None, node)
            for node, stays in found.items()
            if node != self.session.node
            for name, since in stays
        )

    async def disconnect_elsewhere(self, client_id: str, code: int, reason: str) -> int:
        """Have the other nodes close the connections of a client, and return how many these are.

        Raises:
            Away: Redis did not tell, or did not pass it on.
        """
        presence = self.session.presence
        return await presence.disconnect(self.session.lease.peers, client_id, code, reason)

    # The owner of the session

    def about(self) -> dict[str, Any]:
        where = {"host": self._host, "pid": os.getpid(), "url": self.url, "version": __version__}
        return where | self._about()

    def replaced(self, client_id: str, serial: int | None) -> None:
        self._replaced(client_id, serial)

    def disconnect(self, client_id: str, code: int, reason: str) -> None:
        self._disconnect(client_id, code, reason)

    def turn(self, before: int) -> None:
        self._turn(max(0, before - self._max_draining + 1) if self._max_draining else 0)

    # An observer of the drain

    def intervened(self, step: Intervention) -> None: ...

    def began(self, progress: DrainProgress) -> None:
        self.session.lease.renew_soon()
        if progress.phase is Phase.LAMEDUCK and self._max_draining:
            self._want_turn(True)

    def progressed(self, progress: DrainProgress) -> None: ...

    def cancelled(self) -> None:
        self._want_turn(False)

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None: ...

    def _want_turn(self, wanted: bool) -> None:
        # Later: the answer may change the very drain that is being shown.
        asyncio.get_running_loop().call_soon(self.session.want_turn, wanted)
