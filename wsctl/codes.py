"""The codes that are visible from outside: WebSocket close codes, codes of `error` frames, and exit codes."""

from enum import IntEnum, StrEnum
from typing import Self

CLOSE_TIMEOUT = 10.0
"""Seconds a peer has to answer a close frame before the connection is aborted (as `websockets`)."""


class CloseCode(IntEnum):
    """WebSocket close codes that wsctl sends or reports.

    Below 4000: RFC 6455 section 7.4.1 and the IANA registry. 4000-4499 ask the client to
    reconnect, 4500-4999 ask it not to.

    Attributes:
        meaning: the meaning of the code for a client, in a sentence for people.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    NORMAL = 1000, "The client asked for the end: its own close frame, answered."
    GOING_AWAY = 1001, "The server is draining and takes no new clients: connect again in a moment."
    PROTOCOL_ERROR = 1002, "The client broke the WebSocket protocol."
    UNSUPPORTED_DATA = 1003, "The client sent a binary frame: send text."
    NO_STATUS = 1005, "Never sent: the peer's close frame had no code."
    ABNORMAL = 1006, "Never sent: the connection ended without a close frame."
    INVALID_DATA = (
        1007,
        "The client sent text that is not UTF-8, or compressed data that is damaged or cut off.",
    )
    POLICY_VIOLATION = 1008, "The rate limit was ignored for too long, or a message had too many fragments."
    MESSAGE_TOO_BIG = 1009, "A message was larger than the server takes."
    SERVICE_RESTART = 1012, "Closed by a drain's deadline or by force: reconnect and resume."
    TRY_AGAIN_LATER = 1013, "The client read too slowly and its queue was full: reconnect and resume."
    DISCONNECTED = 4000, "Disconnected by an operator or the application: reconnect and resume."
    CREDENTIALS_EXPIRED = (
        4403,
        "What the client showed to connect is valid no longer: reconnect with something that is.",
    )
    REPLACED = 4501, "A newer connection took the same client id: do not reconnect."


RESTART = "the server is restarting: reconnect"
"""The reason in a close frame with `SERVICE_RESTART`."""


class ErrorCode(StrEnum):
    """The codes of `error` frames. The connection stays open after one."""

    RATE_LIMITED = "rate_limited"
    """The client sends faster than it may: this message was not sent on."""
    PUBLISH_DISABLED = "publish_disabled"
    """The server takes no messages from clients."""
    DEGRADED = "degraded"
    """The server can publish nothing for now, since its Redis or its journal is away: a message was not
    published."""
    UNCONFIRMED = "unconfirmed"
    """The server does not know whether a message was published: it may still be delivered."""
    RENEWAL_REFUSED = "renewal_refused"
    """New credentials were not taken: they are not valid, or there is nothing to renew."""
    HOOK_FAILED = "hook_failed"
    """The application failed on a message or a topic: it was not published, or not subscribed to."""
    BAD_COMMAND = "bad_command"
    """The text is no command: no JSON object, or one with a wrong field."""
    UNKNOWN_COMMAND = "unknown_command"
    """No command has this `type`."""
    BAD_TOPIC = "bad_topic"
    """The text is no topic, or a pattern where there must be a name."""
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    """The client would have more subscriptions than it may: nothing has changed."""
    TOPIC_NOT_ALLOWED = "topic_not_allowed"
    """The client may not subscribe or publish to this topic, or may no longer."""
    DIRECT_NOT_ALLOWED = "direct_not_allowed"
    """The client may not address messages to single clients."""


FIRST_FINAL_CODE, LAST_FINAL_CODE = 4500, 4999


def is_final(code: int) -> bool:
    """Tell whether a client that was closed with `code` should stay away."""
    return FIRST_FINAL_CODE <= code <= LAST_FINAL_CODE


def can_be_sent(code: int) -> bool:
    """Tell whether `code` may stand in a close frame (RFC 6455 section 7.4)."""
    return code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000)


class ExitCode(IntEnum):
    """The exit codes of a wsctl process."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    CANNOT_START = 3
    FORCED = 4
    """The drain's deadline came and clients were closed by force."""
    UNREACHABLE = 5
    REFUSED = 6
    OPERATOR = 130
    """Forced by the operator: 128 + SIGINT, as shells report it."""
