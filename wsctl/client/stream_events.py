"""What a program is told beside its messages: the events of a message stream, and how they are logged."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from wsctl.client.transport import Transport
from wsctl.codes import ErrorCode

_log = logging.getLogger("wsctl.client")


@dataclass(frozen=True, slots=True)
class Connected:
    """The begin of a connection: messages follow.

    Attributes:
        server: the URL of the server.
        position: the id after which messages follow; with it as `since` another program begins at the same
            message.
        recovered: True if nothing is missing since the last message; False if messages may be, and then
            `Lost` follows; None at the first connection of a stream without `since`.
        transport: `websocket` or `event-stream`.
        fallback: the reason in words why it is no WebSocket, where one was wanted; else empty.
    """

    server: str
    position: str
    recovered: bool | None
    transport: str = "websocket"
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A gap in the messages, which nothing will fill: load anew what they are about.

    Attributes:
        since: the id of the last message before the gap.
        newest: the id of the newest message in it; all after that one follow.
        topics: the topics, or patterns of them, of which messages are lost: what the server still has of
            others follows too. Empty when it does not say, and then everything may be missing.
    """

    since: str
    newest: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The end of a connection. The stream connects again and resumes, unless `SessionEnded` is raised.

    Attributes:
        code: the close code; 1006 when the connection was lost without one.
        reason: the server's words.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """A pause before the next attempt to connect.

    Attributes:
        why: what happened, in words.
        seconds: the length of the pause.
        failed: the attempts that failed since the last connection.
    """

    why: str
    seconds: float
    failed: int


@dataclass(frozen=True, slots=True)
class Draining:
    """The begin of the server's drain, or a change of it. The stream leaves at the moment that the server has
    named and connects again; a program need do nothing.

    Attributes:
        deadline_s: the seconds until the server closes the connection; None when the drain was cancelled.
        reason: the server's words.
        reconnect_in_s: the seconds until the stream leaves; None when the server has named no moment.
    """

    deadline_s: float | None
    reason: str
    reconnect_in_s: float | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refusal of the server that answers no call. From a server of a release before topics it is about a
    message of this program, and it is not said about which one; `publish` raises the refusals of others.

    Attributes:
        code: `rate_limited`, `publish_disabled`, `degraded`; `unconfirmed` when the server does not know
            whether a message was published; `topic_not_allowed` when new credentials permit less, and
            subscriptions have ended.
        message: the server's words.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Degraded:
    """The loss, on the server's side, of its Redis or its journal: the connection stays, and no messages flow
    until `Restored`.

    Attributes:
        message: the server's words.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Restored:
    """The end of `Degraded`. What was said meanwhile follows; where messages may be missing, `Lost` does."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The begin of a client's subscription to a topic that is watched, by whichever pattern.

    Attributes:
        topic: the topic.
        client_id: the client, which had no other connection that was subscribed.
    """

    topic: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Left:
    """The end of a client's subscription to a topic that is watched.

    Attributes:
        topic: the topic.
        client_id: the client, which has no other connection that is subscribed.
    """

    topic: str
    client_id: str


StreamEvent = (
    Connected | Lost | Disconnected | Retrying | Draining | Rejected | Degraded | Restored | Joined | Left
)


class EventLog:
    """Writes the events of one client to the logger `wsctl.client`: warnings for what a person should know,
    the rest as info, but debug for who comes and goes. What repeats itself is a warning once a connection,
    and then debug."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._warned: set[str] = set()

    def write(self, event: StreamEvent) -> None:
        """Write one line."""
        if isinstance(event, Connected):
            self._warned.clear()
        _log.log(self._level(event), "%s: %s", self._client_id, event_text(event))

    def _level(self, event: StreamEvent) -> int:
        match event:
            case Connected(fallback=why) if why:
                return logging.WARNING
            case Lost() | Degraded():
                return logging.WARNING
            case Rejected(code=code):
                return self._once(code)
            case Retrying(failed=failed) if failed:
                return self._once("retrying")
            case Joined() | Left():
                return logging.DEBUG
        return logging.INFO

    def _once(self, kind: str) -> int:
        """Return the level of what repeats itself."""
        if kind in self._warned:
            return logging.DEBUG
        self._warned.add(kind)
        return logging.WARNING


def event_text(event: StreamEvent) -> str:
    """Describe an event in words for people."""
    match event:
        case Connected():
            text = _connected_text(event)
        case Lost(since, newest, topics):
            text = f"messages are lost: those after {since} up to {newest}{_of_topics(topics)}"
        case Disconnected(code, reason):
            text = f"disconnected: {code} {reason}"
        case Retrying(why, seconds):
            text = f"{why}; trying again in {seconds:.1f} s"
        case Draining():
            text = _drain_text(event)
        case Rejected(code, message):
            ended = code == ErrorCode.TOPIC_NOT_ALLOWED
            what = "has ended subscriptions" if ended else "did not take a message"
            text = f"the server {what}: {code}: {message}"
        case Degraded(message):
            text = f"the server is degraded: {message}"
        case Restored():
            text = "the server is no longer degraded"
        case Joined(topic, who) | Left(topic, who):
            text = f"{who} has {type(event).__name__.lower()} {topic}"
    return text.rstrip()


def _connected_text(event: Connected) -> str:
    how = "" if event.transport == Transport.WEBSOCKET else " by an event stream"
    why = f"; no WebSocket: {event.fallback}" if event.fallback else ""
    return f"connected to {event.server}{how}{why}"


def _drain_text(event: Draining) -> str:
    if event.deadline_s is None:
        return "the server's drain was cancelled"
    return f"the server drains ({event.reason}): connections are closed in {event.deadline_s:.0f} s"


NAMED = 5
"""Topics that a line names."""


def topics_text(topics: Sequence[str]) -> str:
    """Name topics in a line: the first few, and how many more there are."""
    more = f" and {len(topics) - NAMED} more" if len(topics) > NAMED else ""
    return ", ".join(topics[:NAMED]) + more


def _of_topics(topics: Sequence[str]) -> str:
    return f" of {topics_text(topics)}" if topics else ""
