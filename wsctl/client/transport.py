"""The ways in which a client is connected, and what a session needs of each."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from websockets.protocol import State


class Transport(StrEnum):
    """The transport of a client; with `AUTO` an event stream only where a WebSocket cannot be had."""

    WEBSOCKET = "websocket"
    EVENT_STREAM = "event-stream"
    AUTO = "auto"


class Wish(NamedTuple):
    """A command that an open event stream cannot carry out: the next one can, where that is possible."""

    kind: str
    fields: dict[str, Any]
    ref: int | str | None = None


WANTS_WEBSOCKET = Wish("websocket", {})
"""The wish to try a WebSocket again."""


class ClientTransport(Protocol):
    """An accepted connection. What it has received is read in order, before the error that says how it ended:
    websockets' `ConnectionClosed`, whichever the transport is."""

    close_timeout: float | None

    @property
    def state(self) -> "State":
        """`State.OPEN` while something can be sent."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has chosen."""

    async def recv(self) -> Any:
        """Return the next frame, which is text or bytes, or a `Wish`."""

    async def send(self, message: str) -> None:
        """Send a frame."""

    async def close(self) -> None:
        """Close normally."""
