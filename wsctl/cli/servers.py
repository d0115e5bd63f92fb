"""Several servers: asked at once, watched until the last of them is gone, and their clients listed once."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wsctl.cli.ui.text import say
from wsctl.client.control import Answer, Control
from wsctl.codes import ExitCode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverState
from wsctl.errors import Silent, Unreachable, WsctlError

if TYPE_CHECKING:
    from wsctl.client.target import Target

    Scan = Callable[[], list[Target]]

OTHERS_TIMEOUT = 0.8
"""Seconds that the others have once one has answered: all are on this machine, and none has more to do."""

_GOING_ON = frozenset({Phase.SERVING, Phase.HANDOVER})
"""Phases in which a server does not end by itself."""

Ask = Callable[[Control], Answer]

Reply = Answer | WsctlError

Facts = dict[str, Any]

NamedAnswer = tuple[str, Answer]
"""A server's name, and what it told of itself."""

_NodeClient = tuple[str, str]


def ask_all(controls: Sequence[Control], ask: Ask) -> list[Reply]:
    """Ask each server, and return what it answers, or why it does not, in their order. One that hangs does
    not keep the answers of the others."""
    answers: queue.SimpleQueue[tuple[int, Reply | Exception]] = queue.SimpleQueue()
    for number, control in enumerate(controls):
        # Daemons: the process ends without those that have not answered.
        threading.Thread(target=_ask_one, args=(number, control, ask, answers), daemon=True).start()
    found: dict[int, Reply] = {}
    until: float | None = None
    while len(found) < len(controls):
        try:
            number, reply = answers.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(reply, Exception) and not isinstance(reply, WsctlError):
            raise reply
        found[number] = reply
        if until is None and not isinstance(reply, WsctlError):
            until = time.monotonic() + OTHERS_TIMEOUT
    return [found.get(number) or _no_answer(control) for number, control in enumerate(controls)]


def _ask_one(
    number: int, control: Control, ask: Ask, answers: "queue.SimpleQueue[tuple[int, Reply | Exception]]"
) -> None:
    try:
        answers.put((number, ask(control)))
    except Exception as error:  # raised by the thread that waits
        answers.put((number, error))


def _no_answer(control: Control) -> Silent:
    return Silent(f"{control.process} does not answer, the others do: it hangs, or is stopped")


class ServerWatch:
    """The servers that `scan` has found: some at first, others that start or take over later."""

    def __init__(self, scan: "Scan") -> None:
        self._scan = scan
        self._servers: dict[str, _WatchedServer] = {}
        self._add(scan())

    @property
    def over(self) -> bool:
        """True if all servers are gone."""
        return all(server.gone for server in self._servers.values())

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code of the servers."""
        return max(server.exit_code for server in self._servers.values())

    def look(self, ask: Ask) -> list[NamedAnswer]:
        """Return what the servers answer now. How a server ended that is gone is said on stderr."""
        self._look_for_servers()
        there = [server for server in self._servers.values() if not server.gone]
        replies = ask_all([server.control for server in there], ask)
        seen = []
        for server, reply in zip(there, replies, strict=True):
            if facts := server.receive(reply, self._look_for_servers):
                seen.append((server.target.name, facts))
        return seen

    def _look_for_servers(self) -> "list[Target]":
        try:
            found = self._scan()
        except WsctlError:
            return []  # those that are known are looked at all the same
        self._add(found)
        return found

    def _add(self, found: "list[Target]") -> None:
        for target in found:
            self._servers.setdefault(target.control or target.name, _WatchedServer(target))


class _WatchedServer:
    """One server, and what was last known of it."""

    def __init__(self, target: "Target") -> None:
        self.target = target
        self.gone = False
        self.exit_code = ExitCode.DONE
        self.control = Control(target)
        self._known: Answer | None = None
        self._silent = False

    def receive(self, reply: Reply, running: "Scan") -> Answer | None:
        """Return what the server tells now; None when it does not answer, or is gone, which is said on
        stderr."""
        was_silent, self._silent = self._silent, isinstance(reply, Silent)
        if isinstance(reply, Silent):
            if not was_silent:
                say(str(reply))
            return None
        if isinstance(reply, Unreachable):
            self.gone = True
            # Its successor may have been announced since it was last looked for.
            self._report_end(reply, any(self.target.precedes(other) for other in running()))
            return None
        if isinstance(reply, WsctlError):
            raise reply
        self._known = reply
        return reply

    def _report_end(self, error: Unreachable, succeeded: bool) -> None:
        name, known = self.target.name, self._known
        if succeeded or (known and _handed_over(known)):
            say(f"{name} has handed over and is gone")
        elif known and known["status"] not in _GOING_ON:
            say(f"{name} has drained and is gone")
        else:
            say(f"{name} is gone, and was not draining: {error}" if known else str(error))
            self.exit_code = ExitCode.UNREACHABLE


def _handed_over(facts: Answer) -> bool:
    upgrade = facts.get("upgrade") or {}
    return bool(upgrade.get("state") == HandoverState.DONE)


def each_client_once(seen: Sequence[Facts]) -> Iterator[Facts]:
    """Yield the servers' status, a client being listed by its own server if that is one of them, else by the
    first that knows of it."""
    own = {_node_client(row) for facts in seen for row in _rows(facts) if _is_own(row, facts)} - {None}
    listed: set[_NodeClient | None] = set()
    for facts in seen:
        if "clients" not in facts:
            yield facts
            continue
        rows = [row for row in _rows(facts) if _is_own(row, facts) or _node_client(row) not in own | listed]
        listed.update(one for row in rows if (one := _node_client(row)))
        yield facts | {"clients": rows}


def _rows(facts: Facts) -> list[Facts]:
    return list(facts.get("clients") or ())


def _node_client(row: Facts) -> _NodeClient | None:
    """Return the node and the id of a client; None where servers share nothing."""
    return (row["node"], row["client_id"]) if row.get("node") else None


def _is_own(row: Facts, facts: Facts) -> bool:
    own = [node["node"] for node in facts.get("nodes") or () if node.get("this")]
    return not row.get("node") or row["node"] in own
