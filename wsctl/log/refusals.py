"""The bounds of what waits for a home of the log that is elsewhere, and what is told beyond them."""

from wsctl.codes import ErrorCode
from wsctl.log.home import Refusal

CONFIRM_TIMEOUT = 1.0
"""Seconds in which a message comes back from the log; after them its publisher is told that it did not: on a
busy machine too, that reaches the publisher within two."""

MOST_WAITING = 10_000
"""Messages that wait to be sent: at most a second of them, so more is a flood."""

MOST_BYTES_WAITING = 64 << 20
"""Bytes of messages that wait to be sent: a thousand of the longest."""

AWAY = Refusal(
    ErrorCode.DEGRADED, "the server cannot publish for now: this message was not published, send it later"
)
"""The refusal while the home is known to be away."""

FULL = Refusal(
    ErrorCode.DEGRADED, "too many messages wait to be published: this one was not published, send it later"
)
"""The refusal of a message beyond those that may wait."""

LATE = Refusal(
    ErrorCode.DEGRADED, f"it could not be published within {CONFIRM_TIMEOUT:g} s, and was not published"
)
"""The refusal of a message that the home was never asked to publish."""

UNCONFIRMED = Refusal(
    ErrorCode.UNCONFIRMED,
    f"nobody confirmed within {CONFIRM_TIMEOUT:g} s that it was published; it may still be delivered",
)
"""The refusal of a message that the home was asked to publish, and did not say what became of it."""
