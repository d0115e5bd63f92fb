"""Events that happen to several clients at once, shown once."""

import asyncio
from collections.abc import Callable

WITHIN = 0.3
"""Seconds within which the same event of several clients is shown as one."""

Say = Callable[[str, str], None]


class Crowd:
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
