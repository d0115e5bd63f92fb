"""The actions by which a server drains and stops: decided by the state machine, done by the driver."""

from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """An action that the server must carry out now."""

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
    """The announcement that also asks each client to leave at its own moment, spread over `window` seconds
    from now."""

    window: float


@dataclass(frozen=True, slots=True)
class CloseOldest:
    """A close frame to `count` clients, those connected longest."""

    count: int


Step = Action | Invite | CloseOldest
