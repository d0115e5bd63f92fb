"""The renewal of a parent: its process executes the program as it is on disk now, in its own place.

The process stays the same, with its number, its children, its terminal, and its place at the shell and at
systemd. Before that a child shows that the new program starts and can read the state. Then the requests
that change something are answered, and those that only ask go along: the new program answers them. Nothing
is lost of what arrives meanwhile: it waits in the sockets, and signals are blocked.
"""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from typing import NoReturn, Protocol

from wsctl.log.home import Away
from wsctl.process.signals import SignalHandlers
from wsctl.server.workers.control_http import ControlHttpServer
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.parent_state import ParentState
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.rolling_upgrade import STOPPED_MEANWHILE, RollingUpgradeFailed

TRIAL_TIMEOUT = 30.0
"""Seconds in which a new program must have shown that it starts: as long as a successor has."""

HOLD_TIMEOUT = 5.0
"""Seconds that requests under way have to be answered: more than a worker that hangs may take."""


class Programs(Protocol):
    """The way to start the program as it is on disk now: a `Spawner`."""

    def trial(self, state: int) -> "subprocess.Popen[bytes]": ...
    def renew(self, state: int, kept: list[int]) -> NoReturn: ...


class ParentRenewal:
    """Renews a parent. `messages` is the log of all, where the parent keeps it. `state` returns how the
    parent stands; takes the signals that were blocked already."""

    def __init__(
        self,
        programs: Programs,
        pool: WorkerPool,
        control: ControlHttpServer,
        *,
        messages: GroupLog | None,
        signals: SignalHandlers,
        state: Callable[[set[int]], ParentState],
    ) -> None:
        self._programs = programs
        self._pool = pool
        self._control = control
        self._messages = messages
        self._signals = signals
        self._state = state

    async def run(self) -> NoReturn:
        """Renew the parent, if it can be done.

        Raises:
            RollingUpgradeFailed: it cannot, and the parent goes on as it is; the text says why.
        """
        await self._try()
        try:
            async with asyncio.timeout(HOLD_TIMEOUT):
                await self._control.hold()
                await self._pool.hold_requests()
        except TimeoutError:
            await self._release()
            raise RollingUpgradeFailed("the parent still has requests to answer: try again") from None
        try:
            if self._messages:
                await self._messages.suspend()
            async with self._signals.blocked() as before:
                self._execute(before)
        except Away as away:
            raise RollingUpgradeFailed(f"{away}; {away.cure}") from None
        finally:
            if self._messages:
                self._messages.resume()
            await self._release()

    async def _release(self) -> None:
        self._pool.release_requests()
        await self._control.release()

    def _execute(self, blocked: set[int]) -> NoReturn:
        """Go on as the new program. From here on nothing else runs in this one."""
        if self._pool.ending:
            raise RollingUpgradeFailed(STOPPED_MEANWHILE)
        state = self._state(blocked)
        try:
            with open(state.write(), "rb") as file:
                self._programs.renew(file.fileno(), state.descriptors())
        except OSError as error:
            raise RollingUpgradeFailed(f"the new program cannot be executed: {error}") from None

    def _start_trial(self) -> "subprocess.Popen[bytes]":
        with open(self._state(set()).write(), "rb") as file:
            return self._programs.trial(file.fileno())

    async def _try(self) -> None:
        """Let a child of this process show that the new program can go on."""
        try:
            process = self._start_trial()
        except OSError as error:
            raise RollingUpgradeFailed(f"the new program cannot be tried: {error}") from None
        try:
            _, said = await asyncio.to_thread(process.communicate, None, TRIAL_TIMEOUT)
        except subprocess.TimeoutExpired:
            why = f"it does not start within {TRIAL_TIMEOUT:g} seconds"
            raise RollingUpgradeFailed(f"the new program cannot go on: {why}") from None
        finally:
            await _end(process)
        if process.returncode:
            why = last_line(said.decode(errors="replace")) or _describe(process.returncode)
            raise RollingUpgradeFailed(f"the new program cannot go on: {why}")


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, if it has not ended, and keep nothing of it."""
    process.kill()
    await asyncio.to_thread(process.wait)
    if process.stderr:
        process.stderr.close()


def last_line(said: str) -> str:
    """Return the reason in what a program has said before it ended: an error is its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("wsctl: ") if lines else ""


def _describe(code: int) -> str:
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"
