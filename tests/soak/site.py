"""The servers under test, as real processes of this run's own, and all that an operator does with them."""

import io
import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.soak.plan import Plan
from tests.support.generations import Generations
from tests.support.server import WSCTL, ServerProcess, wsctl
from tests.support.store import StoreProcess, keep_port
from wsctl.process.registry import running_servers

PATIENCE = 120.0
"""Seconds for whatever an operator asks for: an upgrade of several workers may take a busy machine tens."""

LOOK = 0.05
"""Seconds between two looks at what nobody tells."""


class Site:
    """One address, the server that has it just now, and what it shares messages through. A context: nothing
    is left behind it.

    Attributes:
        port: kept for this run, also while no server has it.
        token: of the control routes.
        folder: the runtime folder.
    """

    def __init__(self, plan: Plan, command: Sequence[str] = WSCTL) -> None:
        self._plan = plan
        self._command = command
        self._stack = ExitStack()
        self.token = secrets.token_hex(8)
        self.server: Generations
        self._flags: tuple[str, ...] = ()

    def __enter__(self) -> "Site":
        with self._stack:
            self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="ws")))
            self.port = keep_port(self._stack)
            self._flags = (*self._plan.flags(), *self._sharing())
            self.start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with redirect_stdout(io.StringIO()):  # where a store shows its log to whoever reads of a failed test
            self._stack.close()

    @property
    def pid(self) -> int:
        """The process that speaks for the server."""
        return self.server.pid

    @property
    def process(self) -> ServerProcess:
        """Whose log it is."""
        return self.server.first

    def start(self) -> None:
        """A server on the address, which nobody has."""
        process = ServerProcess.start(
            *self._flags,
            environ=self._environ(),
            command=(*self._command, "serve", "--port", str(self.port)),
            deadline=PATIENCE,
            start_new_session=True,  # Ctrl-C means this run, which ends its servers itself
        )
        self.server = Generations(process)
        self._stack.callback(self.server.kill)

    def upgrade(self) -> dict[str, Any]:
        """`wsctl upgrade`, to its end and that of the old process."""
        old = self.pid
        done = self._run("upgrade", "--json")
        if self._plan.workers == 1:
            self.server.wait_until_serving(done["successor"])
            self.server.wait_gone(old)
        return done

    def begin_drain(self, timeout: float) -> None:
        """One that can be cancelled."""
        self._ask("POST", "/api/drain", {"timeout": timeout})

    def cancel_drain(self) -> None:
        self._ask("DELETE", "/api/drain")

    def drain(self, timeout: float) -> None:
        """`wsctl drain`, to the end of the server."""
        self._run("drain", "--timeout", str(timeout), "--json", codes=(0, 4))
        self._gone()

    def terminate(self) -> None:
        """SIGTERM, and wait for the end."""
        os.kill(self.pid, signal.SIGTERM)
        self._gone()

    def kill_worker(self, number: int) -> int:
        """SIGKILL for one of the workers; waits until another one serves in its place. Returns who it was."""
        killed: int = self.workers()[number]["pid"]
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while not self._all_serve(killed):
            if time.monotonic() > until:
                raise AssertionError(f"nobody serves in the place of worker {killed}")
            time.sleep(LOOK)
        return killed

    def workers(self) -> list[dict[str, Any]]:
        """As the parent tells of them; none where there is no parent."""
        return list(self.server.status().get("workers", ()))

    def left(self) -> list[str]:
        """What servers have left behind in their folder, and is not cleared away by whoever looks for them:
        who is killed cannot tidy up."""
        running_servers(self.folder)
        return sorted(os.listdir(self.folder))

    def _all_serve(self, killed: int) -> bool:
        rows = self.workers()
        return all(row["pid"] != killed and row["status"] == "serving" for row in rows)

    def _gone(self) -> None:
        if self.pid == self.server.first.pid:
            code = self.server.first.wait(PATIENCE)
            if code not in (0, 4):
                raise AssertionError(f"the server ended with {code}")
        self.server.wait_gone(self.pid)

    def _ask(self, method: str, path: str, body: object = None) -> None:
        status, answer = self.server.api(method, path, body)
        if status != 200:
            raise AssertionError(f"{method} {path} was answered with {status} {answer}")

    def _run(self, *arguments: str, codes: Sequence[int] = (0,)) -> dict[str, Any]:
        done = wsctl(*arguments, environ=self._environ(), deadline=PATIENCE)
        if done.returncode not in codes:
            raise AssertionError(
                f"wsctl {arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        return dict(json.loads(done.stdout))

    def _sharing(self) -> tuple[str, ...]:
        if not self._plan.redis:
            return ()
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="st")))
        # Nothing of it is to outlive it, and a disk would be what is measured.
        store = StoreProcess.start("valkey", folder, "--appendonly", "no")
        self._stack.callback(store.close)
        return ("--redis", store.url)

    def _environ(self) -> dict[str, str]:
        own = {"WSCTL_RUNTIME_DIR": str(self.folder), "WSCTL_TOKEN": self.token, "PYTHONUNBUFFERED": "1"}
        kept = ("WSCTL_", "UVICORN_", "WEB_", "LISTEN_", "NOTIFY_", "WATCHDOG_")
        return {name: value for name, value in os.environ.items() if not name.startswith(kept)} | own
