"""A server that hands over to fresh processes, each found as an operator finds it."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.server import DEADLINE, ServerProcess, ask, connected


class Generations:
    """The processes of one server, the first of which `first` is."""

    def __init__(self, first: ServerProcess) -> None:
        self.first = first
        self.folder = Path(first.environ["WSCTL_RUNTIME_DIR"])
        self.pids = [first.pid]
        self.started: set[int] = set()

    @property
    def port(self) -> int:
        return self.first.port

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return self.pids[-1]

    def api(self, method: str, path: str, body: object = None, *, pid: int | None = None) -> tuple[int, Any]:
        """A request to one of them, the newest unless told otherwise."""
        connection = connected(self.folder / f"{pid or self.pid}.sock", 2 * DEADLINE)
        return ask(connection, method, path, body, {})

    def status(self, pid: int | None = None) -> dict[str, Any]:
        code, facts = self.api("GET", "/api/status", pid=pid)
        assert code == 200, facts
        return dict(facts)

    def begin_upgrade(self) -> "Upgrade":
        """Ask for a handover; does not wait for anything."""
        return Upgrade(self)

    def upgrade(self) -> dict[str, Any]:
        """A whole handover, after which the successor serves."""
        outcome = self.begin_upgrade().outcome()
        if outcome["state"] == "done":
            self.wait_until_serving(outcome["successor"])
        return outcome

    def wait_until_serving(self, pid: int) -> None:
        """Wait until a process says that it serves, which is from here on the one that is meant."""
        until = time.monotonic() + DEADLINE
        while not (self.folder / f"{pid}.json").exists() or self.status(pid)["status"] != "serving":
            assert time.monotonic() < until, f"{pid} does not serve"
            time.sleep(0.01)
        if pid not in self.pids:
            self.pids.append(pid)

    def first_ended(self) -> int:
        """The exit code of the first process, waited for. Its log goes on: successors write to it."""
        return self.first.process.wait(DEADLINE)

    def wait_gone(self, pid: int) -> None:
        """Wait until a process has ended."""
        until = time.monotonic() + DEADLINE
        while _lives(pid):
            assert time.monotonic() < until, f"{pid} does not end"
            time.sleep(0.01)

    def kill(self) -> None:
        """Whatever happened, none of them outlives the test."""
        found = {int(path.stem) for path in self.folder.glob("*.sock") if path.stem.isdecimal()}
        for pid in found | self.started | set(self.pids):
            if pid != self.first.pid and _lives(pid):
                os.kill(pid, signal.SIGKILL)
        self.first.kill()


class Upgrade:
    """One handover under way."""

    def __init__(self, server: Generations) -> None:
        self._server = server
        self._answer: dict[str, Any] | None = None
        self._pid = server.pid
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()
        self.answer = server.api("POST", "/api/upgrade", pid=self._pid)

    @property
    def successor(self) -> int:
        """The pid of the process that is being started, from the log: whoever hands over may have ended."""
        status, answer = self.answer
        assert status == 202, answer
        known = "|".join(map(str, self._server.started | set(self._server.pids)))
        line = self._server.first.wait_for_line(rf"handover starting.* successor=(?!(?:{known})\b)(\d+)")
        pid = int(line[1])
        self._server.started.add(pid)  # to be killed at the end, whatever becomes of it
        return pid

    def outcome(self) -> dict[str, Any]:
        """How it ended."""
        assert self.answer[0] == 202, self.answer
        self._waiting.join(2 * DEADLINE)
        assert self._answer, "the handover did not end"
        return self._answer

    def _wait(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # it was killed
            self._answer = self._server.api("GET", "/api/upgrade", pid=self._pid)[1]["upgrade"]


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def starting_generations(start_server: Callable[..., ServerProcess]) -> Iterator[Callable[..., Generations]]:
    """Start servers that can hand over; none of their processes is left at the end."""
    started: list[Generations] = []

    def begin(*flags: str, **how: Any) -> Generations:
        started.append(Generations(start_server("--broadcast-interval", "0", *flags, **how)))
        return started[-1]

    try:
        yield begin
    finally:
        for server in started:
            server.kill()
