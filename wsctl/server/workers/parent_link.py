"""A worker's channel to its parent: reports, requests, and the parent's orders."""

import asyncio
import logging
import os
import signal
import threading
from typing import Any

from wsctl.codes import ExitCode
from wsctl.drain.interventions import Intervention
from wsctl.drain.observers import DrainLog
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.ipc.channel import Channel
from wsctl.ipc.descriptors import close_all
from wsctl.ipc.framing import Packet
from wsctl.ipc.rpc import Reply, RequestHandler, RpcPeer
from wsctl.server.node import Node
from wsctl.server.workers.protocol import REPORT_EVERY, WorkerContext

PATIENCE = 2.0
"""Seconds that a parent has to return the status of all workers, before a worker answers with its own
alone."""

log = logging.getLogger("wsctl.workers")


class ParentLink:
    """The channel to the parent, open from `join` on, and a `DrainObserver`: the parent shows the drain of
    all.

    Attributes:
        lost: whether the parent is gone.
    """

    interval = REPORT_EVERY

    def __init__(self, membership: WorkerContext) -> None:
        self.parent, self.number = membership.parent, membership.number
        self.balancer = membership.balancer
        self.lost = False
        self._membership = membership
        self._alone = DrainLog()
        self._next_line = 0.0
        self._node: Node | None = None
        self._channel: Channel
        self._rpc: RpcPeer
        self._foster: RemoteProcess | None = None
        self._elsewhere: dict[int, int] = {}
        self._looking: asyncio.Task[None] | None = None

    def join(self, node: Node, answering: RequestHandler) -> None:
        """Listen to the parent from here on. `answering` answers the parent's requests to this worker."""
        self._node = node
        self._channel = Channel(self._membership.channel, self._take, self._hung_up)
        self._rpc = RpcPeer(self._channel, answering)
        node.each_second += [lambda now: self.report(), self._look_around]
        node.elsewhere = lambda: sum(self._elsewhere.values())

    def listening(self) -> None:
        """Tell the parent that clients and operators reach this process."""
        keys = self._node.keys if self._node else None
        self._channel.send("listening", {"keys": keys and keys.kind})

    def report(self) -> None:
        """Send the parent the status of this worker."""
        if self._node and not self.lost:
            code = int(self._node.life.exit_code)
            self._channel.send("report", {"facts": self._node.status(), "exit_code": code})

    async def ask(self, method: str, path: str, body: bytes, patience: float | None = None) -> Reply | None:
        """Return the parent's answer for all workers; None when it does not answer."""
        return await self._rpc.call(method, path, body, patience)

    async def all_together(self) -> dict[str, Any] | None:
        """Return the status of all workers, this one's as it is now; None when the parent does not answer."""
        self.report()
        reply = await self.ask("GET", "/api/status", b"", PATIENCE)
        return reply.body if reply else None

    def _look_around(self, now: float) -> None:
        """Ask how many clients the other workers have; called once a second."""
        if not self.lost and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._count(now))

    async def _count(self, now: float) -> None:
        together = await self.all_together()
        if together and self._node:
            rows = together["workers"]
            self._elsewhere = {r["number"]: r["connections"] for r in rows if r["number"] != self.number}
            self._node.server_started = now - together["uptime_s"]

    async def settle(self) -> None:
        """Answer what the parent has asked, after which it asks the successor: its answer to this request
        comes behind its last question."""
        self.report()
        if not self.lost:
            await self.all_together()
            await self._rpc.finish()

    def spawn(self, channel: int) -> "RemoteProcess":
        """Let the parent start a successor with this end of a channel: it must be the parent's child."""
        self._foster = RemoteProcess(self._channel)
        if self.lost:
            self._foster.ended(ExitCode.ERROR)
        else:
            self._channel.send("successor", fds=[os.dup(channel)])
        return self._foster

    def handing_over(self, progress: HandoverProgress) -> None:
        """Report each state of a handover."""
        self.report()

    # A drain

    def intervened(self, step: Intervention) -> None:
        if self.lost:
            self._alone.intervened(step)

    def began(self, progress: DrainProgress) -> None:
        self._alone.began(progress) if self.lost else self.report()

    def progressed(self, progress: DrainProgress) -> None:
        if not self.lost:
            self.report()
        elif progress.elapsed_s >= self._next_line:
            self._next_line = progress.elapsed_s + self._alone.interval
            self._alone.progressed(progress)

    def cancelled(self) -> None:
        self._alone.cancelled() if self.lost else self.report()

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._alone.ended(progress, exit_code) if self.lost else self.report()

    # Packets of the parent

    def _take(self, packet: Packet) -> None:
        node, told = self._node, packet.fields
        match packet.kind:
            case "signal" if node:
                node.driver.signal(told["signum"])
            case "force" if node:
                node.driver.force()
            case "ask" | "answer":
                self._rpc.receive(packet)
            case "ended" if self._foster:
                self._foster.ended(told["code"])
            case _:
                close_all(packet.fds)
        if packet.kind in ("signal", "force"):
            self.report()

    def _hung_up(self, why: str) -> None:
        self.lost = True
        self._rpc.disconnect()
        if self._foster:
            self._foster.ended(ExitCode.ERROR)
        if self._node and not self._node.driver.stopped.is_set():
            log.warning("the parent is gone: this worker drains", extra={"fields": {"why": why}})
            self._node.driver.signal(signal.SIGTERM)


class RemoteProcess:
    """A process that the parent has started for this one: the part of a `Popen` that a handover needs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._code: int | None = None
        self._over = threading.Event()

    def ended(self, code: int) -> None:
        self._code = code
        self._over.set()

    def poll(self) -> int | None:
        return self._code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; to be called in another thread than the event loop's, which receives the news of
        it."""
        self._over.wait(timeout)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            self._channel.send("kill")
