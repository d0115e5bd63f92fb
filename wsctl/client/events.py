"""What happens to a session, as data, and which of it is the end."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from wsctl import codes

FINAL_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UPGRADE_REQUIRED,
    }
)
"""Answers that the same request will get again."""


DEGRADED = codes.ErrorCode.DEGRADED
"""The `code` with which a server says that it is without what it shares messages through: in the frame that
tells it once, and in the answer to each message that it then does not take."""

UNCONFIRMED = codes.ErrorCode.UNCONFIRMED
"""The `code` for a message of which nobody knows whether it was published."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The server welcomed this client; messages flow from here on. `resumed`: it had named the last one
    that it had seen, and what came after that follows. `server` is what messages call the server."""

    welcome: dict[str, Any]
    resumed: bool = False
    server: str = ""

    @property
    def recovered(self) -> bool:
        """Whether it resumed and nothing is missing in between."""
        return self.resumed and self.welcome.get("recovered") is True

    @property
    def gap(self) -> bool:
        """Whether it resumed and messages in between are lost to it."""
        return self.resumed and not self.recovered

    @property
    def degraded(self) -> bool:
        """Whether the server takes no messages for now, as it tells again when that is over."""
        server = self.welcome.get("server")
        return isinstance(server, dict) and server.get("degraded") is True


@dataclass(frozen=True, slots=True)
class Degraded:
    """The server keeps the connection, and is without what it shares messages through: none flow until it
    has that back."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Restored:
    """The server is whole again, and welcomed this client anew on the connection that is open."""

    welcome: dict[str, Any]

    @property
    def recovered(self) -> bool:
        """Whether nothing is lost: what was said meanwhile follows."""
        return self.welcome.get("recovered") is True


@dataclass(frozen=True, slots=True)
class Received:
    """Any other frame of the server: message, heartbeat, shutdown, error."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection that had been accepted ended; 1006 when it was lost without a close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The session closed its connection at the moment that the server had named, and the server has
    read all that was sent on it. The next attempt follows."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An HTTP answer came in place of the handshake. `code` is empty when the answer is not wsctl's;
    `retry_after` is the pause in seconds that the server asks for."""

    status: int
    code: str
    message: str
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """There was no connection, or, which is final, what answered is no wsctl server. `advice` is what to
    do about it, for somebody who tries for the first time; empty where the message says it."""

    message: str
    final: bool = False
    advice: str = ""

    @property
    def advised(self) -> str:
        """The message, and what to do."""
        return f"{self.message}; {self.advice}" if self.advice else self.message


@dataclass(frozen=True, slots=True)
class Waiting:
    """The next attempt comes after this pause."""

    seconds: float


Event = Opened | Degraded | Restored | Received | Closed | Moved | Refused | Failed | Waiting


def is_final(event: Event) -> bool:
    """Whether there is no point in another attempt after this."""
    match event:
        case Closed(code=code):
            return codes.is_final(code)
        case Refused(status=status):
            return status in FINAL_STATUSES
        case Failed(final=final):
            return final
    return False
