"""A worker's channel to its parent: reports, requests, and the parent's orders."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable

from wsctl.codes import ExitCode
from wsctl.control.operations import STATUS, ControlService, answer
from wsctl.control.status import ServerStatus, WorkerStatus
from wsctl.drain.interventions import Intervention
from wsctl.drain.observers import DrainLog
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet, close_all
from wsctl.ipc.rpc import Reply, RequestHandler, RpcPeer
from wsctl.log.home import Elsewhere
from wsctl.log.message_log import MessageLog
from wsctl.log.transfer import Send
from wsctl.server.credentials.verifier import KeySummary
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.status_reporter import StatusReporter
from wsctl.server.workers.parent_home import KINDS, ParentHome
from wsctl.server.workers.protocol import REPORT_EVERY, WorkerContext

STATUS_TIMEOUT = 2.0
"""Seconds that a parent has to return the status of all workers, before a worker answers with its own
alone."""

log = logging.getLogger("wsctl.workers")


class ParentLink:
    """The channel to the parent, open from `open` on, and a `DrainObserver`: the parent shows the drain of
    all. Its packets about the log go to the home that `create_home` made, all others wait for `connect`.

    Attributes:
        lost: whether the parent is gone.
    """

    interval = REPORT_EVERY
    send: Send
    send_encoded: Callable[[bytes], None]

    def __init__(self, context: WorkerContext) -> None:
        self.parent, self.number = context.parent, context.number
        self.balancer = context.balancer
        self.lost = False
        self._upgrading = context.upgrading
        self._context = context
        self._own_log = DrainLog()
        self._next_line = 0.0
        self._driver: DrainDriver | None = None
        self._reporter: StatusReporter | None = None
        self._keys: KeySummary | None = None
        self._answer: RequestHandler
        self._home: ParentHome | None = None
        self._early: list[Packet] = []
        self._channel: Channel
        self._rpc: RpcPeer
        self._successor: RemoteProcess | None = None
        self._elsewhere: list[WorkerStatus] = []
        self._refreshing: asyncio.Task[None] | None = None

    def create_home(
        self, log: MessageLog, replaced: Callable[[str, int | None], None], presence: Elsewhere
    ) -> ParentHome:
        """Return the parent as the home of a log; it takes part from `open` on."""
        self._home = ParentHome(log, self, replaced, number=self.number, presence=presence)
        return self._home

    @property
    def queued(self) -> int:
        """The bytes on their way to the parent."""
        return self._channel.queued

    def open(self) -> None:
        """Open the channel; to be called on a running loop, once."""
        drained = self._home.drained if self._home else lambda: None
        self._channel = Channel(self._context.channel, self._receive, self._disconnected, drained)
        self._rpc = RpcPeer(self._channel, self._answer_request)
        self.send, self.send_encoded = self._channel.send, self._channel.send_encoded

    def connect(
        self,
        driver: DrainDriver,
        reporter: StatusReporter,
        control: ControlService,
        *,
        keys: KeySummary | None,
    ) -> None:
        """Do what the parent says from here on. `control` carries out the parent's requests to this worker
        alone; `keys` are those that tokens are checked with here."""

        async def handler(method: str, path: str, body: bytes) -> Reply:
            return Reply(*await answer(control, method, path, body))

        self._driver, self._reporter, self._keys, self._answer = driver, reporter, keys, handler
        early, self._early = self._early, []
        for packet in early:
            self._receive(packet)
        if self.lost:
            self._drain_alone("it hung up")

    async def _answer_request(self, method: str, path: str, body: bytes) -> Reply:
        return await self._answer(method, path, body)

    def check(self, now: float) -> None:
        """Report this worker, and ask for the others; called once a second."""
        self.send_report()
        self._refresh_elsewhere(now)

    def is_upgrading(self) -> bool:
        """Tell whether the parent or one of its workers is being replaced."""
        return self._upgrading and not self.lost

    def count_elsewhere(self) -> int:
        """Return how many connections the other workers have, as far as that is known: nothing is without
        the parent."""
        return sum(worker.connections for worker in self._elsewhere)

    def count_clients_elsewhere(self) -> int:
        """Return how many of these are clients of the hub."""
        return sum(worker.connections - worker.of_application for worker in self._elsewhere)

    def send_listening(self) -> None:
        """Tell the parent that clients and operators reach this process."""
        self._channel.send("listening", {"keys": self._keys and self._keys.kind})

    def send_report(self) -> None:
        """Send the parent the status of this worker."""
        if self._driver and self._reporter and not self.lost:
            code = int(self._driver.life.exit_code)
            self._channel.send("report", {"facts": self._reporter.status().to_json(), "exit_code": code})

    async def call(self, method: str, path: str, body: bytes, patience: float | None = None) -> Reply | None:
        """Return the parent's answer for all workers; None when it does not answer."""
        return await self._rpc.call(method, path, body, patience)

    async def fetch_status(self) -> ServerStatus | None:
        """Return the status of all workers, this one's as it is now; None when the parent does not answer."""
        self.send_report()
        reply = await self.call(STATUS.method, STATUS.path, b"", STATUS_TIMEOUT)
        return ServerStatus.from_json(reply.body) if reply else None

    def _refresh_elsewhere(self, now: float) -> None:
        """Ask how many clients the other workers have; called once a second."""
        if not self.lost and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._ask_elsewhere(now))

    async def _ask_elsewhere(self, now: float) -> None:
        status = await self.fetch_status()
        if status and self._reporter and not self.lost:
            self._elsewhere = [worker for worker in status.workers or () if worker.number != self.number]
            self._reporter.server_started = now - status.uptime_s

    async def finish_calls(self) -> None:
        """Answer what the parent has asked, after which it asks the successor: its answer to this request
        comes behind its last question."""
        self.send_report()
        if not self.lost:
            await self.fetch_status()
            await self._rpc.finish()

    def spawn_successor(self, channel: int) -> "RemoteProcess":
        """Let the parent start a successor with this end of a channel: it must be the parent's child."""
        self._successor = RemoteProcess(self._channel)
        if self.lost:
            self._successor.set_exit_code(ExitCode.ERROR)
        else:
            self._channel.send("successor", fds=[os.dup(channel)])
        return self._successor

    def handing_over(self, progress: HandoverProgress) -> None:
        """Report each state of a handover."""
        self.send_report()

    # A drain

    def intervened(self, step: Intervention) -> None:
        if self.lost:
            self._own_log.intervened(step)

    def began(self, progress: DrainProgress) -> None:
        self._own_log.began(progress) if self.lost else self.send_report()

    def progressed(self, progress: DrainProgress) -> None:
        if not self.lost:
            self.send_report()
        elif progress.elapsed_s >= self._next_line:
            self._next_line = progress.elapsed_s + self._own_log.interval
            self._own_log.progressed(progress)

    def cancelled(self) -> None:
        self._own_log.cancelled() if self.lost else self.send_report()

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._own_log.ended(progress, exit_code) if self.lost else self.send_report()

    # Packets of the parent

    def _receive(self, packet: Packet) -> None:
        driver, fields = self._driver, packet.fields
        if self._home and packet.kind in KINDS:
            self._home.receive(packet)
            return
        if driver is None:
            self._early.append(packet)
            return
        match packet.kind:
            case "signal":
                driver.signal(fields["signum"])
            case "force":
                driver.force()
            case "upgrading":
                self._upgrading = fields["under_way"]
            case "ask" | "answer":
                self._rpc.receive(packet)
            case "ended" if self._successor:
                self._successor.set_exit_code(fields["code"])
            case _:
                close_all(packet.fds)
        if packet.kind in ("signal", "force"):
            self.send_report()

    def _disconnected(self, why: str) -> None:
        self.lost = True
        self._elsewhere = []
        self._rpc.disconnect()
        if self._successor:
            self._successor.set_exit_code(ExitCode.ERROR)
        if self._home:
            self._home.lose()
        self._drain_alone(why)

    def _drain_alone(self, why: str) -> None:
        """Drain, since the parent is gone."""
        if self._driver and not self._driver.stopped.is_set():
            log.warning("the parent is gone: this worker drains", extra={"fields": {"why": why}})
            self._driver.orphan()


class RemoteProcess:
    """A process that the parent has started for this one: the part of a `Popen` that a handover needs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._code: int | None = None
        self._over = threading.Event()

    def set_exit_code(self, code: int) -> None:
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
