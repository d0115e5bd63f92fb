"""Servers that are looked at again and again, until the last of them is gone."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsctl.cli.ui.printable import say
from wsctl.client.control import Control
from wsctl.client.several import ask_all
from wsctl.codes import ExitCode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverState
from wsctl.errors import Silent, Unreachable, WsctlError

if TYPE_CHECKING:
    from wsctl.cli.ui.tables import Seen
    from wsctl.client.control import Answer
    from wsctl.client.several import Told
    from wsctl.client.target import Target

    Scan = Callable[[], list[Target]]


_GOING_ON = frozenset({Phase.SERVING, Phase.HANDOVER})
"""Phases in which a server does not end by itself."""


class Watch:
    """The servers that `scan` has found: some at first, others that start or take over later."""

    def __init__(self, scan: "Scan") -> None:
        self._scan = scan
        self._servers: dict[str, _Watched] = {}
        self._take(scan())

    @property
    def over(self) -> bool:
        """True if all servers are gone."""
        return all(server.gone for server in self._servers.values())

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code of the servers."""
        return max(server.exit_code for server in self._servers.values())

    def look(self, clients: bool) -> "list[Seen]":
        """Return what the servers tell now. How a server ended that is gone is said on stderr."""
        self._running()
        there = [server for server in self._servers.values() if not server.gone]
        told = ask_all([server.control for server in there], lambda control: control.status(clients))
        answers = zip(there, told, strict=True)
        return [(s.target.name, facts) for s, one in answers if (facts := s.take(one, self._running))]

    def _running(self) -> "list[Target]":
        try:
            found = self._scan()
        except WsctlError:
            return []  # those that are known are looked at all the same
        self._take(found)
        return found

    def _take(self, found: "list[Target]") -> None:
        for target in found:
            self._servers.setdefault(target.control or target.name, _Watched(target))


class _Watched:
    """One server, and what was last known of it."""

    def __init__(self, target: "Target") -> None:
        self.target = target
        self.gone = False
        self.exit_code = ExitCode.DONE
        self.control = Control(target)
        self._known: Answer | None = None
        self._silent = False

    def take(self, told: "Told", running: "Scan") -> "Answer | None":
        """Return what the server tells now; None when it does not answer, or is gone, which is said on
        stderr."""
        was_silent, self._silent = self._silent, isinstance(told, Silent)
        if isinstance(told, Silent):
            if not was_silent:
                say(str(told))
            return None
        if isinstance(told, Unreachable):
            self.gone = True
            # Its successor may have been announced since it was last looked for.
            self._end(told, any(self.target.precedes(other) for other in running()))
            return None
        if isinstance(told, WsctlError):
            raise told
        self._known = told
        return told

    def _end(self, error: Unreachable, succeeded: bool) -> None:
        name, known = self.target.name, self._known
        if succeeded or (known and _handed_over(known)):
            say(f"{name} has handed over and is gone")
        elif known and known["status"] not in _GOING_ON:
            say(f"{name} has drained and is gone")
        else:
            say(f"{name} is gone, and was not draining: {error}" if known else str(error))
            self.exit_code = ExitCode.UNREACHABLE


def _handed_over(facts: "Answer") -> bool:
    upgrade = facts.get("upgrade") or {}
    return bool(upgrade.get("state") == HandoverState.DONE)
