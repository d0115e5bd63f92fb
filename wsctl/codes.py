"""The numbers that the outside sees: WebSocket close codes and process exit codes."""

from enum import IntEnum


class CloseCode(IntEnum):
    """WebSocket close codes that wsctl sends or reports.

    Below 4000: RFC 6455 section 7.4.1 and the IANA registry. 4000-4499 ask the client to
    reconnect, 4500-4999 ask it not to.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    """A new connection met a draining server."""
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    """The client sent a binary frame."""
    NO_STATUS = 1005
    """Never sent: the peer's close frame had no code."""
    ABNORMAL = 1006
    """Never sent: the connection ended without a close frame."""
    INVALID_DATA = 1007
    """Text that is not UTF-8."""
    POLICY_VIOLATION = 1008
    """The rate limit was ignored for too long."""
    MESSAGE_TOO_BIG = 1009
    SERVICE_RESTART = 1012
    """Closed by a drain's deadline or by force: reconnect."""
    TRY_AGAIN_LATER = 1013
    """The client read too slowly and its queue was full."""
    CREDENTIALS_EXPIRED = 4403
    """What the client showed to connect is no longer valid: reconnect with something that is."""
    REPLACED = 4501
    """A newer connection took the same client id: do not reconnect."""


FIRST_FINAL_CODE, LAST_FINAL_CODE = 4500, 4999


def is_final(code: int) -> bool:
    """Whether a client that was closed with `code` should stay away."""
    return FIRST_FINAL_CODE <= code <= LAST_FINAL_CODE


def can_be_sent(code: int) -> bool:
    """Whether `code` may stand in a close frame (RFC 6455 section 7.4)."""
    return code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000)


class ExitCode(IntEnum):
    """What a wsctl process ends with."""

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
