"""What a server must do in the course of its end: decided by the state machine, done by the driver."""

from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """What the server must do now."""

    ANNOUNCE = auto()
    """Tell the clients that a drain began, or its new deadline."""
    REASSURE = auto()
    """Tell the clients that the drain was cancelled."""
    CLOSE = auto()
    """Send every client a close frame."""
    ABORT = auto()
    """Cut the connections whose close was not answered."""
    STOP = auto()
    """End the process."""


@dataclass(frozen=True, slots=True)
class Invite:
    """Announce, and ask each client to leave at its own moment, spread over so many seconds from now."""

    window: float


@dataclass(frozen=True, slots=True)
class CloseOldest:
    """Send a close frame to so many clients, those connected longest."""

    count: int


Step = Action | Invite | CloseOldest
