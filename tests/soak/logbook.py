"""What a server writes, read while it goes on."""

import re
from collections.abc import Callable

from tests.soak.tally import Tally
from tests.support.server import ServerProcess

_ENDED = re.compile(r" disconnected client_id=(\S+) .*\bcode=(\d+) reason=(.*) duration_s=")
_TROUBLE = re.compile(r"\b(ERROR|CRITICAL)\b|Traceback|Exception|Warning:")

_BEGINS = re.compile(r"\d{4}-\d\d-\d\dT")
_SAYS = "the log says:"

TRACEBACK = 100
WIDTH = 300
"""Lines of one that are told, and characters of each line."""


class Logbook:
    """Looks for trouble, and tells of each client that is gone. Lines are forgotten once read."""

    def __init__(self, tally: Tally, disconnected: Callable[[str, int, str], None]) -> None:
        self._tally = tally
        self._disconnected = disconnected
        self._trouble: list[str] = []

    def read(self, server: ServerProcess) -> None:
        """What it has written since the last time."""
        lines = server.lines[:]
        del server.lines[: len(lines)]
        self._tally.counts["lines of log"] += len(lines)
        for line in lines:
            if self._is_more(line):
                continue
            if found := _ENDED.search(line):
                self._disconnected(found.group(1), int(found.group(2)), found.group(3))
            elif _TROUBLE.search(line):
                self._trouble = [line]
                self._tally.fault(f"{_SAYS} {line[:WIDTH]}")

    def _is_more(self, line: str) -> bool:
        """Whether a line goes on with the trouble above it: a traceback is one fault, told in one piece."""
        if not self._trouble or _BEGINS.match(line):
            self._trouble = []
            return False
        self._trouble.append(line)
        if (
            len(self._trouble) <= TRACEBACK
            and self._tally.faults
            and self._tally.faults[-1].startswith(_SAYS)
        ):
            self._tally.faults[-1] += f"\n    {line[:WIDTH]}"
        return True
