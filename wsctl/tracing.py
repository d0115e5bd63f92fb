"""Traces of publishing, as the log sees them; what they are sent with is in `wsctl/server/tracing.py`."""

from contextvars import ContextVar
from typing import Protocol

TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The trace context (W3C) of the request that is being answered; None where it has none."""


class DeliveryTrace(Protocol):
    """The trace of what this process does with one message that the log has; the last one ends it."""

    def kept(self, message_id: str) -> None:
        """Note that the log has the message, and that it is delivered from here on."""

    def delivered(self, recipients: int, elsewhere: int) -> None:
        """Note that it was offered to its recipients, and how many there are at other processes."""


class PublishTrace(DeliveryTrace, Protocol):
    """The trace of one message that is published here; one of the last four ends it."""

    @property
    def traceparent(self) -> str | None:
        """The trace context that goes with the message; None where it is to have none."""

    def refused(self, code: str) -> None:
        """Note that it is not published."""

    def repeated(self, message_id: str) -> None:
        """Note that it is not published again."""


class Tracing(Protocol):
    """The maker of traces."""

    def begin(self, sender: str, topic: str | None, above: str | None) -> PublishTrace:
        """Begin the trace of a message, below the context `above`, or else `TRACEPARENT`, or else the span of
        the caller. What is no context counts as none."""

    def follow(self, traceparent: str, topic: str | None) -> DeliveryTrace | None:
        """Go on with the trace of a message that another process has published, and that has this context;
        None if that is no context."""

    async def close(self) -> None:
        """Send what is left."""
