"""The welcome: the first frame that a client gets."""

from collections.abc import Callable, Sequence

from wsctl import __version__, messages
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.hub.connection import Connection
from wsctl.hub.manager import ConnectionManager
from wsctl.log.history import Missed
from wsctl.log.message_log import MessageLog


class Welcome:
    """Writes the welcome of each connection.

    `elsewhere` returns how many clients the other processes of the server have, `degraded` whether messages
    are not shared that should be, `allowance` the rate that a client has to keep.
    """

    def __init__(
        self,
        manager: ConnectionManager,
        log: MessageLog,
        life: GracefulShutdownManager,
        *,
        elsewhere: Callable[[], int],
        degraded: Callable[[], bool],
        allowance: Callable[[str], messages.Allowance | None],
    ) -> None:
        self._manager = manager
        self._log = log
        self._life = life
        self._elsewhere = elsewhere
        self._degraded = degraded
        self._allowance = allowance

    def greet(self, connection: Connection, since: str | None) -> tuple[bytes, Missed | None]:
        """Return the welcome of a new connection, and what its client has missed since the message `since`,
        as far as that is kept."""
        client_id, keepalive = connection.client_id, connection.keepalive
        # Where it has as many connections as it may, the oldest of them makes room for this one.
        newcomers = 0 if self._manager.is_full(client_id) else 1
        if since is None:
            return self.frame(client_id, None, keepalive, newcomers), None
        missed, recovered, lost = self._log.missed(since, client_id, connection.subscriptions)
        return self.frame(client_id, recovered, keepalive, newcomers, lost), missed

    def frame(
        self,
        client_id: str,
        recovered: bool | None,
        keepalive: int = 0,
        newcomers: int = 0,
        lost: Sequence[str] = (),
    ) -> bytes:
        """Return a welcome; `recovered` tells whether nothing is missing of what came before it, None where
        nothing was asked for, and `lost` of which topics something is. `keepalive` is in seconds, 0 for none.
        So many `newcomers` are counted beside those that are connected."""
        return messages.welcome(
            client_id,
            self._log.newest,
            __version__,
            self._life.phase,
            recovered,
            connections=len(self._manager.active_connections) + newcomers + self._elsewhere(),
            keepalive_s=keepalive,
            degraded=self._degraded(),
            lost=lost,
            rate=self._allowance(client_id),
        )
