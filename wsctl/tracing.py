"""Traces of publishing, as the log sees them; what they are sent with is in `wsctl/server/tracing.py`."""

from contextvars import ContextVar
from typing import Protocol

TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The trace context (W3C) of the request that is being answered; None where it has none."""


class PublishTrace(Protocol):
    """The trace of one message; one of the last four ends it."""

    @property
    def traceparent(self) -> str | None:
        """The trace context that goes with the message; None where it is to have none."""

    def kept(self, message_id: str) -> None:
        """Note that the log has the message, and that it is delivered from here on."""

    def delivered(self, recipients: int) -> None:
        """Note that it was offered to its recipients."""

    def refused(self, code: str) -> None:
        """Note that it is not published."""

    def repeated(self, message_id: str) -> None:
        """Note that it is not published again."""


class Tracing(Protocol):
    """The maker of traces."""

    def begin(self, sender: str, topic: str | None) -> PublishTrace:
        """Begin the trace of a message, below `TRACEPARENT`, or else below the span of the caller."""

    async def close(self) -> None:
        """Send what is left."""
