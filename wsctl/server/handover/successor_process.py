"""The process of a successor as its predecessor sees it, with a channel to it."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet
from wsctl.process.spawn import SpawnSuccessor, spawn_with_channel
from wsctl.server.condition import Condition
from wsctl.server.handover.protocol import STALL_TIMEOUT

END_TIMEOUT = 2.0
"""Seconds that a process has to end after it was killed, or after its end of the channel was closed."""


class HandoverFailed(Exception):
    """The error raised when a handover failed. The server goes on alone; the text says why."""


class SuccessorProcess:
    """One successor. `receive` gets what it says; `gone` is called when it can say nothing any more, and
    `clean_up` with its pid when it was killed: it could not remove what it had made.

    Attributes:
        pid: its pid, once it has told.
        lost: why it says nothing any more.

    Raises:
        HandoverFailed: it cannot be started.
    """

    def __init__(
        self,
        spawn: SpawnSuccessor,
        receive: Callable[[Packet], None],
        gone: Callable[[], None],
        clean_up: Callable[[int], None] = lambda pid: None,
    ) -> None:
        try:
            ours, self._process = spawn_with_channel(spawn)
        except (OSError, ValueError) as error:
            raise HandoverFailed(f"the successor cannot be started: {error}") from None
        self._news = Condition()
        self._pass_on = receive
        self._gone = gone
        self._clean_up = clean_up
        self._channel = Channel(ours, self._receive, self._hung_up, self._news.notify_all)
        self.send = self._channel.send
        self.lost: str | None = None
        self.pid: int | None = None

    @property
    def queued(self) -> int:
        """The bytes on their way to the successor."""
        return self._channel.queued

    async def until(self, done: Callable[[], bool], patience: float | None, failing: str) -> None:
        """Wait until `done`, which is asked after each packet of the successor.

        Raises:
            HandoverFailed: the successor is gone, or `done` did not come true in `patience` seconds; None has
                no end.
        """
        ended = await self._news.wait_for(lambda: self.lost is not None or done(), patience)
        if patience is not None and not ended:
            raise HandoverFailed(f"the successor {failing} within {patience:g} seconds")
        if self.lost:
            raise HandoverFailed(await self._why_lost(self.lost))

    async def take_all(self) -> None:
        """Wait until it has taken everything that was sent.

        Raises:
            HandoverFailed: it is gone, or does not take it.
        """
        await self.until(lambda: not self.queued, STALL_TIMEOUT, "stopped answering")

    async def hang_up(self) -> None:
        """Close the channel, once the successor has got everything."""
        await self._news.wait_for(lambda: not self._channel.queued, END_TIMEOUT)
        self._channel.close()

    async def kill(self) -> None:
        """Kill the successor: one that was given up must not serve. What it has said is read to the end."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        # The process in which the successor goes on tells its pid before anything else.
        await self._news.wait_for(lambda: self.pid is not None or self._channel.closed, END_TIMEOUT)
        self._signal(signal.SIGKILL)
        await self._news.wait_for(lambda: self._channel.closed, END_TIMEOUT)
        self._channel.close()
        if self.pid:
            with contextlib.suppress(ChildProcessError):  # nobody's child but the system's, in most cases
                await asyncio.to_thread(os.waitpid, self.pid, 0)
            self._clean_up(self.pid)

    def terminate(self) -> None:
        """Pass the signal that stopped this server on to the successor, as SIGTERM."""
        self._signal(signal.SIGTERM)

    def refuse(self, why: str) -> None:
        """Note the reason that the successor itself gives for not taking over."""
        self.lost = f"the successor refused: {why}"

    def _receive(self, packet: Packet) -> None:
        if packet.kind == "pid":
            self.pid = packet.fields["pid"]
        self._process.poll()  # it has ended once the successor is ready, and leaves nothing behind
        self._pass_on(packet)
        self._news.notify_all()

    def _hung_up(self, why: str) -> None:
        self.lost = self.lost or why
        self._news.notify_all()
        self._gone()

    async def _why_lost(self, lost: str) -> str:
        """Return the reason: a process that ended before it went on in another one says more than the end of
        the channel."""
        code = await asyncio.to_thread(self._wait_exit)
        if lost.startswith("the successor"):
            return lost
        if not code:
            return "the successor ended: the log says why"
        if code < 0:
            return f"the successor was killed by {signal.Signals(-code).name}"
        return f"the successor ended with exit code {code}: the log says why"

    def _signal(self, signum: int) -> bool:
        """Send a signal; tell whether the process was there to get it."""
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signum)
                return True
        return False

    def _wait_exit(self) -> int | None:
        """Wait for the exit code; None where there is none within `END_TIMEOUT` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_TIMEOUT)
        return None
