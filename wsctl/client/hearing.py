"""The events that a client makes of the frames that it is sent."""

from typing import Any

from wsctl.client.cursor import Cursor
from wsctl.client.events import DEGRADED, Degraded, Event, Opened, Received, Restored


class Hearing:
    """The frames of a client's connections, one after the other, as events. No I/O.

    Attributes:
        cursor: the position of the client.
        welcomed: True if the present connection was welcomed.
    """

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.welcomed = False
        self._degraded = False

    def ended(self) -> None:
        """Note that the connection is over."""
        self.welcomed = self._degraded = False

    def take(self, frame: dict[str, Any], server: str) -> Event:
        """Return the event of a frame, which came from the server with the name `server`."""
        match frame.get("type"):
            case "message":
                self.cursor.message(frame)
            case "welcome":
                return self._welcome(frame, server)
            case "error" if self._falls(frame):
                self._degraded = True
                return Degraded(frame)
        return Received(frame)

    def _welcome(self, frame: dict[str, Any], server: str) -> Opened | Restored:
        opened = Opened(frame, resumed=self.cursor.at is not None, server=server)
        again, self.welcomed = self.welcomed, True
        self._degraded = opened.degraded
        self.cursor.welcome(frame)
        return Restored(frame) if again else opened

    def _falls(self, frame: dict[str, Any]) -> bool:
        """Tell whether this error says that the server has become degraded; any further one until it is whole
        again answers a message that it did not take."""
        return frame.get("code") == DEGRADED and self.welcomed and not self._degraded
