"""The messages that a client has sent: each comes back, or there is a reason why not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wsctl.client.events import TOPIC_NOT_ALLOWED
from wsctl.codes import CloseCode, ErrorCode

UNSENT = "never sent, for there was no connection"

UNANSWERED = "without an answer"

_REFUSALS: dict[str, str] = {
    ErrorCode.RATE_LIMITED: "above the rate that the server takes from a client",
    ErrorCode.PUBLISH_DISABLED: "to a server that takes no messages from clients",
    ErrorCode.DEGRADED: "while the server was degraded",
    ErrorCode.HOOK_FAILED: "on which the application failed",
    TOPIC_NOT_ALLOWED: "to a topic that this client may not publish to",
}


@dataclass(slots=True)
class Sent:
    """A message, and why it may not come back; empty while nothing is against it. One that is sent as a
    command has a `ref`."""

    text: str
    reason: str = UNSENT
    ref: str | None = None


class Deliveries:
    """The messages of one client, in the order in which it sends them. No I/O.

    A server answers in that order, and does not say which message a refusal is about: one that is overtaken
    by a later one was refused for the reason that the server gave last on that connection. A connection that
    ends leaves its last messages open: they may come back behind the next welcome. Messages that are sent as
    commands have an answer each, with their `ref`.

    Attributes:
        total: messages, also those that could not be sent yet.
    """

    def __init__(self) -> None:
        self.total = 0
        self._open: list[Sent] = []
        self._failed: Counter[str] = Counter()
        self._refusal = ""
        self._refused = 0

    @property
    def settled(self) -> bool:
        """True if each message has come back or was refused."""
        return len(self._open) + self._failed.total() <= self._refused

    def add(self, text: str) -> Sent:
        """Take a message that is to be sent; once it is written, its `reason` is to be emptied."""
        self.total += 1
        message = Sent(text)
        self._open.append(message)
        return message

    def came_back(self, text: object) -> None:
        """Take a message of this client that the server has sent to all; one that is not known by its text is
        the first of those that are due, for a server may change it."""
        place = next((n for n, message in enumerate(self._open) if message.text == text), 0)
        self._failed.update(message.reason or self._why for message in self._open[:place])
        del self._open[: place + 1]

    def echoed(self, text: object) -> None:
        """Take a message of this client that was sent as a command, and came back, perhaps on a connection
        after the one that it was sent on."""
        if found := next((message for message in self._open if message.text == text), None):
            self._open.remove(found)

    def answered(self, ref: object, code: str = "") -> None:
        """Take the answer to a message that was sent as a command: it was published, or refused with a
        code."""
        found = next((message for message in self._open if message.ref == ref), None)
        if found is None:
            return
        self._open.remove(found)
        if code:
            self._failed[_refusal(code)] += 1
            self._refused += 1

    def refused(self, code: str) -> None:
        """Note that the server did not take a message."""
        self._refusal = _refusal(code)
        self._refused += 1

    def closed(self, code: int, reason: str) -> None:
        """Note that the connection is over."""
        lost = [message for message in self._open if not message.reason]
        ended = f"on a connection that was closed: {code} {reason}".rstrip()
        read = _read(lost, code)
        for number, message in enumerate(lost):
            message.reason = self._refusal or ended if number < read else ended
        self._refusal = ""

    def failures(self) -> dict[str, int]:
        """Count the messages that have not come back, by reason."""
        return dict(self._failed + Counter(message.reason or self._why for message in self._open))

    @property
    def _why(self) -> str:
        return self._refusal or UNANSWERED


def _refusal(code: str) -> str:
    return f"{_REFUSALS.get(code, 'refused')} ({code})"


def _read(lost: Sequence[Sent], code: int) -> int:
    """Return how many of the messages that did not come back a server has read before it closed the
    connection. If one was too big, it is the longest one, and nothing behind it was read."""
    if code != CloseCode.MESSAGE_TOO_BIG or not lost:
        return len(lost)
    return max(range(len(lost)), key=lambda number: len(lost[number].text.encode()))
