"""The events of a session, as data, and which of them are final."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from wsctl import codes
from wsctl.client.transport import Transport

FINAL_STATUSES = frozenset(
    {
        HTTPStatus.NO_CONTENT,
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

TOPIC_NOT_ALLOWED = codes.ErrorCode.TOPIC_NOT_ALLOWED
"""The `code` for a topic that a client may not have; without a `ref` it names subscriptions that ended."""

UNCONFIRMED = codes.ErrorCode.UNCONFIRMED
"""The `code` for a message of which the server does not know whether it was published."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The welcome of this client by the server; messages flow from here on. `since` is the id of the last
    message that the client had seen, if it named one. `server` is the name of the server in messages.
    `partly` says that something is lost, and what is kept of some topics follows all the same."""

    welcome: dict[str, Any]
    since: str | None = None
    server: str = ""
    partly: bool = False
    transport: Transport = Transport.WEBSOCKET
    fallback: str = ""

    @property
    def resumed(self) -> bool:
        """True if the client had named the last message that it had seen: what came after that follows."""
        return self.since is not None

    @property
    def recovered(self) -> bool:
        """True if the client resumed and nothing is missing in between."""
        return self.resumed and self.welcome.get("recovered") is True

    @property
    def lost(self) -> tuple[str, ...]:
        """The topics, or patterns of them, of which messages in between are lost to the client; what is kept
        of the others follows."""
        return lost_topics(self.welcome)

    @property
    def gap(self) -> bool:
        """True if the client resumed and messages in between are lost to it."""
        return self.resumed and not self.recovered

    @property
    def degraded(self) -> bool:
        """True if the server takes no messages for now; it tells again when that is over."""
        server = self.welcome.get("server")
        return isinstance(server, dict) and server.get("degraded") is True


@dataclass(frozen=True, slots=True)
class ServerDegraded:
    """The loss, on the server's side, of what it shares messages through: it keeps the connection, and no
    messages flow until it has that back."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerRestored:
    """The end of `ServerDegraded`: the server is whole again, and welcomed this client anew on the connection
    that is open. `since` is the id of the last message that the client had seen."""

    welcome: dict[str, Any]
    since: str | None = None

    @property
    def recovered(self) -> bool:
        """True if nothing is lost: what was said meanwhile follows."""
        return self.welcome.get("recovered") is True

    @property
    def lost(self) -> tuple[str, ...]:
        """The topics, or patterns of them, of which messages are lost."""
        return lost_topics(self.welcome)


@dataclass(frozen=True, slots=True)
class Received:
    """Any other frame of the server: message, heartbeat, shutdown, error, the answer to a command. `awaited`
    says that it is the answer to one that is waited for."""

    frame: dict[str, Any]
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a connection that had been accepted; 1006 when it was lost without a close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The end of a connection that the session closed at the moment that the server had named, or for a
    better one; the server has read all that was sent on it. The next attempt follows."""

    why: str = "left as the server asked"


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """An HTTP answer in place of the handshake. `code` is empty when the answer is not wsctl's; `retry_after`
    is the pause in seconds that the server asks for."""

    status: int
    code: str
    message: str
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A failure to connect, or, which is final, an answer that is not of a wsctl server. `advice` is what to
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
    """The pause before the next attempt."""

    seconds: float


Event = (
    Opened
    | ServerDegraded
    | ServerRestored
    | Received
    | Closed
    | Moved
    | HandshakeRefused
    | ConnectFailed
    | Waiting
)


def end_text(event: Closed | Moved | HandshakeRefused | ConnectFailed) -> str:
    """Describe how a connection, or the attempt to have one, ended, in words for people."""
    match event:
        case Closed(code=code, reason=reason):
            return f"closed: {f'{code} {reason}'.strip()}{', not reconnecting' if is_final(event) else ''}"
        case Moved(why=why):
            return f"{why}, reconnecting"
        case HandshakeRefused(status=status, message=message):
            return f"refused: HTTP {status} {message}"
        case ConnectFailed(message=message):
            return message


def is_final(event: Event) -> bool:
    """Tell whether there is no point in another attempt after this event."""
    match event:
        case Closed(code=code):
            return codes.is_final(code)
        case HandshakeRefused(status=status):
            return status in FINAL_STATUSES
        case ConnectFailed(final=final):
            return final
    return False


def lost_topics(frame: dict[str, Any]) -> tuple[str, ...]:
    """Return the topics, or patterns of them, that a `welcome` or an `ok` names as lost."""
    return texts(frame, "lost")


def texts(frame: dict[str, Any], field: str) -> tuple[str, ...]:
    """Return the texts in a field of a frame; none where it holds something else."""
    found = frame.get(field)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
