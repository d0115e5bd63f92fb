"""The check that several servers share their messages, before a run counts on it."""

import secrets
from collections.abc import Sequence
from typing import Any

_ADVICE = "they share no messages; start both with the same --redis, or name one of them"


class RollCall:
    """One message from each server, which must arrive at every one of them, and everywhere with one id:
    servers which share their messages have one order of them, and a client can resume on any. No I/O.

    `servers` are the names of the servers in messages.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = servers
        self._run = secrets.token_hex(4)
        # Of the message of each server the id that it had at each that it came to.
        self._ids: dict[str, dict[str, object]] = {self.text(server): {} for server in servers}

    def text(self, server: str) -> str:
        """Return the message that a client is to send to a server."""
        return f"{self._run} is {server} one with the others?"

    def hear(self, server: str, frame: dict[str, Any]) -> None:
        """Take a frame that a server sent to a client."""
        data = frame.get("data")
        if isinstance(data, str) and data in self._ids:
            self._ids[data][server] = frame.get("id")

    @property
    def complete(self) -> bool:
        """True if each message has come to every server."""
        return all(len(heard) == len(self._servers) for heard in self._ids.values())

    def fault(self) -> str | None:
        """Say why the servers do not share their messages; None when they do."""
        for first in self._servers:
            heard = self._ids[self.text(first)]
            if first not in heard:
                return f"{first} did not send a message back in time: is it overloaded?"
            for other in self._servers:
                if other not in heard:
                    return f"what {first} takes does not arrive at {other}: {_ADVICE}"
                if heard[other] != heard[first]:
                    return f"one message has different ids at {first} and {other}: {_ADVICE}"
        return None
