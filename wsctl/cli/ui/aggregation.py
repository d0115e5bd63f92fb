"""Events that would be many lines, shown in few: attempts to connect again, and events of several clients."""

import asyncio
from collections.abc import Callable

WITHIN = 0.3
"""Seconds within which the same event of several clients is shown as one."""

Say = Callable[[str, str], None]


class RetryTracker:
    """The attempts of some clients since they lost their server, with the choice of those worth a line: the
    first, the second, the fourth and so on, for a server may be away for a day."""

    def __init__(self) -> None:
        self._connected: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._why = ""
        self._shown = -1

    @property
    def count(self) -> int:
        """Clients that have lost their server and are not back."""
        return len(self._attempts)

    @property
    def why(self) -> str:
        """The reason why the latest attempt failed, with the number of attempts; empty before the first."""
        most = max(self._attempts.values(), default=0)
        return f"{self._why} ({most} attempts)" if most > 1 else self._why

    def opened(self, client: str) -> None:
        """Note that a client is connected."""
        self._connected.add(client)
        self._attempts.pop(client, None)
        if not self._attempts:
            self._why, self._shown = "", -1

    def ended(self, client: str, why: str) -> bool:
        """Note that a connection or an attempt of a client has ended. Returns whether it was a connection."""
        if client in self._connected:
            self._connected.discard(client)
            self._attempts[client] = 0
            return True
        self._attempts[client] = self._attempts.get(client, 0) + 1
        if why != self._why:
            self._why, self._shown = why, -1
        return False

    def worth_showing(self, client: str) -> bool:
        """Tell whether the wait of this client for its next attempt is to be shown."""
        attempt = self._attempts.get(client, 0)
        if attempt & (attempt - 1) or attempt <= self._shown:
            return False
        self._shown = attempt
        return True


class LineAggregator:
    """The lines about one of `clients` clients each. A line that all of them, or several within `WITHIN`,
    have in common is shown once, with their number."""

    def __init__(self, clients: int, say: Say) -> None:
        self._clients = clients
        self._say = say
        self._gathered: dict[tuple[str, str], list[str]] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def say(self, client: str, text: str, style: str) -> None:
        """Show that something happened to a client."""
        line = (text, style)
        if client in self._gathered.get(line, ()):
            self._flush(line)
        names = self._gathered.setdefault(line, [])
        names.append(client)
        if len(names) == self._clients:
            self._flush(line)
        elif len(names) == 1:
            self._timers[line] = asyncio.get_running_loop().call_later(WITHIN, self._flush, line)

    def flush(self) -> None:
        """Show what was held back: nothing more happens."""
        for line in list(self._gathered):
            self._flush(line)

    def _flush(self, line: tuple[str, str]) -> None:
        names = self._gathered.pop(line)
        if timer := self._timers.pop(line, None):
            timer.cancel()
        text, style = line
        tag = names[0] if len(names) == 1 else f"{len(names)} of {self._clients} clients"
        self._say(f"[{tag}] {text}", style)
