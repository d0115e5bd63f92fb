"""The news of a log's home that clients are told: that it is away, and there again."""

from collections.abc import Callable

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog

AWAY = "the server takes no messages for now, and says when it does again"
"""The text that clients get when the home is away."""


class HomeNotifier:
    """An observer of the home of a log. `welcome` returns the frame that greets a client, which tells whether
    messages were lost."""

    def __init__(
        self, manager: ConnectionManager, log: MessageLog, welcome: Callable[[str, bool], bytes]
    ) -> None:
        self._manager = manager
        self._log = log
        self._welcome = welcome
        log.observers.append(self)

    def cut_off(self, why: str) -> None:
        # Why is for operators: the log has it, and the status.
        self._manager.broadcast(messages.error(ErrorCode.DEGRADED, AWAY))

    def back(self, recovered: bool) -> None:
        connections = list(self._manager.active_connections.values())
        self._manager.send_each([self._welcome(each.client_id, recovered) for each in connections])

    def replaced(self, client_id: str, serial: int | None) -> None:
        """Close the connection of a client that has newer ones in other processes; all of the client where
        the other process does not say which."""
        here = [c for c in self._manager.addressees([client_id]) if serial in (None, c.serial)]
        for connection in here:
            connection.replaced()
        if self._log.follower and not here:
            self._log.follower.replaced(client_id, serial)
