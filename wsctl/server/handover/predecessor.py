"""The predecessor's side of a handover: start a successor, give it everything, drain what cannot move."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from wsctl import __version__
from wsctl.drain.graceful import NotDraining
from wsctl.drain.pace import RELOAD
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.hub.connection import EndReason
from wsctl.hub.presence import connected_here
from wsctl.ipc.framing import Packet
from wsctl.log.home import Away
from wsctl.process.spawn import SpawnSuccessor
from wsctl.server.condition import Condition
from wsctl.server.credentials.verifier import KeySummary
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.handover.forwarded_log import ForwardedLog
from wsctl.server.handover.mover import ClientReporter, ConnectionMover, HttpConnections
from wsctl.server.handover.protocol import VERSION
from wsctl.server.handover.successor_process import HandoverFailed, SuccessorProcess
from wsctl.server.websocket.services import ConnectionServices

READY_TIMEOUT = 30.0
"""Seconds a successor has to be ready: imports from a cold disk take a few."""

HANDOVER = "handover"
"""The cause of a drain after a handover that an operator has asked for."""

log = logging.getLogger("wsctl.handover")

Observer = Callable[[HandoverProgress], None]


class ListenerOwner(HttpConnections, Protocol):
    """The owner of the listening sockets and of the connections that come in on them."""

    changed: Condition
    """Notified when a request may have its answer, or a connection be gone."""

    def public(self) -> Sequence[socket.socket]:
        """Return the listening sockets that clients reach."""

    def admin(self) -> Sequence[socket.socket]:
        """Return the listening sockets of the admin address."""

    def awaited(self) -> bool:
        """Tell whether any connection has an answer to get here, or may have."""

    def stop_listening(self) -> None:
        """Accept nothing more: connections wait in the kernel's queue for the process that accepts again."""

    def listen_again(self) -> Awaitable[None]:
        """Accept connections again."""

    def give_up_listening(self) -> None:
        """Close the listening sockets: the successor has them for good."""


class Predecessor:
    """Hands one server over, as often as it fails and once when it succeeds.

    `generation` and `keys` are those of this process. `obstacle` returns why there can be no handover in it,
    or None; `observers` are called with each change of state; `patience` is how many seconds a successor has
    to be ready, and then to listen; an application of its own has `startup` seconds beside that to be ready,
    None for no limit; `clean_up` is called with the pid of one that was killed; `load` returns the load of
    the last hour, with which the successor goes on.

    Attributes:
        failures: handovers after which this process went on.
    """

    def __init__(
        self,
        services: ConnectionServices,
        driver: DrainDriver,
        listeners: ListenerOwner,
        spawn: SpawnSuccessor,
        *,
        generation: int = 1,
        keys: KeySummary | None = None,
        observers: Sequence[Observer] = (),
        obstacle: Callable[[], str | None] = lambda: None,
        patience: float | None = None,
        startup: float | None = 0.0,
        clean_up: Callable[[int], None] = lambda pid: None,
        load: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        self._load = load
        self._services = services
        self._driver = driver
        self._generation = generation
        self._keys = keys
        self._listeners = listeners
        self._spawn = spawn
        self._observers = [self._log, *observers]
        self._obstacle = obstacle
        self._clean_up = clean_up
        self._patience = READY_TIMEOUT if patience is None else patience
        self._ready_patience = None if startup is None else self._patience + startup
        self._over = Condition()
        self._task: asyncio.Task[None] | None = None
        self._successor: SuccessorProcess | None = None
        self._mover: ConnectionMover | None = None
        self._forwarded: ForwardedLog | None = None
        self._reporter: ClientReporter | None = None
        self._ready = False
        self._successor_knows: frozenset[str] = frozenset()
        self._succeeded = False
        self._reason = HANDOVER
        self._began = 0.0
        self._progress: HandoverProgress | None = None
        self.failures = 0

    # For operators

    def begin(self, by: str = "program", reason: str = HANDOVER) -> None:
        """Start a successor and hand over to it; `by` says in which way that was asked for, `reason` why the
        clients that cannot move drain then: `RELOAD` is not logged, but for debugging.

        Raises:
            NotDraining: it cannot be done now, or not in this process; the text says why.
        """
        if obstacle := self._obstacle():
            raise NotDraining(obstacle)
        if self.under_way:
            raise NotDraining("a handover is under way already")
        if self._driver.life.phase is not Phase.SERVING:
            raise NotDraining(self._driver.life.why_no_upgrade())
        self._reason = reason
        log.log(self._level, "upgrade begun", extra={"fields": {"by": by}})
        self._began = self._services.clock()
        self._progress = HandoverProgress(HandoverState.STARTING, None, 0, 0, 0, 0.0, 0.0, None)
        self._task = asyncio.create_task(self._run())

    @property
    def under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def leaving(self) -> bool:
        """True if a successor gives the ids: messages published here go there, and clients that connect again
        reach it."""
        return self._forwarded is not None

    async def move_answered(self, patience: float) -> None:
        """Move connections to the successor as they are answered, until no answer is owed here any more, or
        the successor is gone; `patience` seconds at most."""
        await self._listeners.changed.wait_for(self._all_answered, patience)

    def _all_answered(self) -> bool:
        if self._mover and self._forwarded:
            self._mover.move_idle()
        return not self.leaving or not self._listeners.awaited()

    def progress(self) -> HandoverProgress | None:
        """Return the handover as it stands, or the last one; None when there was none."""
        progress, mover = self._progress, self._mover
        if (
            progress is None
            or progress.state in (HandoverState.DONE, HandoverState.FAILED)
            or not self.under_way
        ):
            return progress  # also while observers are told of the end: it is told the same ever after
        progress = replace(progress, elapsed_s=self._elapsed())
        if mover is None:
            return progress
        return replace(progress, moved=mover.moved, silence_s=round(mover.silence, 3))

    async def wait_until_over(self) -> None:
        """Wait until a handover has ended, also one that begins only now."""
        await self._over.wait()

    async def finish(self) -> None:
        """End a handover, since this process ends: a successor that took over is sent everything first, one
        that was about to is killed."""
        if self._task and self.under_way:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._report(HandoverState.FAILED, error="the server was stopped before its successor was ready")
        self._over.notify_all()
        if self._successor and self._forwarded:
            await self._successor.hang_up()
            self._forwarded.hang_up()
        elif self._successor and not self._succeeded:
            await self._successor.kill()

    # The course

    async def _run(self) -> None:
        try:
            successor = await self._start()
            mover = await self._move(successor)
        except (HandoverFailed, Away) as error:  # the home of the log could not be left
            await self._go_on(str(error))
        except NotDraining as error:
            await self._go_on(f"it was too late: {error}")
        except Exception:
            log.exception("the handover failed")
            await self._go_on("it failed: the log of the server says why")
        else:
            # From here on the successor is the server, whatever fails here.
            self._drain_the_rest(successor, mover)

    async def _start(self) -> SuccessorProcess:
        """Start the successor and wait until it is ready. Nothing changes for the clients yet."""
        self._ready = self._succeeded = False
        self._successor = successor = SuccessorProcess(
            self._spawn, self._receive, self._note_loss, self._clean_up
        )
        hello: dict[str, Any] = {
            "version": VERSION,
            "release": __version__,
            "generation": self._generation + 1,
        }
        if self._keys:
            hello["keys"] = self._keys.kind
        admin = self._listeners.admin()
        if admin:
            hello["admin"] = len(admin)
        sockets = [*self._listeners.public(), *admin]
        successor.send("hello", hello, fds=[os.dup(sock.fileno()) for sock in sockets])
        await successor.until(lambda: self._ready, self._ready_patience, "was not ready")
        return successor

    async def _move(self, successor: SuccessorProcess) -> ConnectionMover:
        services, topics = self._services, "topics" in self._successor_knows
        forwarded = ForwardedLog(services.log, successor.send, topics=topics)
        await forwarded.send_history(successor.take_all)
        self._driver.begin_handover()
        self._forwarded = forwarded
        self._reporter = reporter = ClientReporter(
            services.manager, services.intake.allowances, services.clock, successor.send
        )
        await forwarded.suspend_own()
        self._listeners.stop_listening()
        services.manager.flush()
        self._mover = mover = ConnectionMover(
            services,
            self._listeners,
            successor,
            knows_topics=topics,
            knows_streams="streams" in self._successor_knows,
        )
        self._report(HandoverState.MOVING, total=len(services.manager.active_connections))
        reporter.begin()
        elsewhere = [[holder, *row] for holder, row in services.presence.rows() if holder is not None]
        forwarded.begin_at(connected_here(services.manager), elsewhere)
        if topics:
            services.presence.follow()
        await mover.move_connections()
        successor.send("listen")
        mover.move_silent()
        mover.move_idle()
        await mover.move_latecomers()
        await mover.wait_for_arrivals()
        mover.move_silent()  # connections that the loop had accepted, but not told of yet
        successor.send("over", {"load": self._load()})
        # Whoever looks for a server from here on must find the successor.
        await successor.until(lambda: self._succeeded, self._patience, "did not listen")
        return mover

    def _drain_the_rest(self, successor: SuccessorProcess, mover: ConnectionMover) -> None:
        self._listeners.give_up_listening()
        staying, silence = self._driver.counts().active, round(mover.silence, 3)
        self._report(HandoverState.DONE, moved=mover.moved, staying=staying, silence_s=silence)
        self._over.notify_all()
        self._driver.finish_handover(self._reason)
        if self._driver.life.signalled:
            successor.terminate()

    async def _go_on(self, why: str) -> None:
        """Go on as if no handover had been asked for."""
        if self._successor:
            await self._successor.kill()  # what it still says is taken in
        self._successor = None
        if self._driver.life.phase is Phase.HANDOVER:
            self._take_back()
            await self._listeners.listen_again()
            self._services.manager.tally[EndReason.HANDED_OVER] = 0
            self._driver.abort_handover()
        gone = self._mover.moved + self._mover.under_way if self._mover else 0
        self._mover = None
        lost = f"; clients that were with it or on the way, and connect here again: {gone}" if gone else ""
        self._report(HandoverState.FAILED, moved=0, error=why + lost)
        self._over.notify_all()

    def _receive(self, packet: Packet) -> None:
        match packet.kind:
            case "pid":
                self._report(successor=packet.fields["pid"])
            case "ready":
                self._ready, self._successor_knows = True, frozenset(packet.fields)
            case "listening":
                self._succeeded = True
            case "refused" if self._successor:
                self._successor.refuse(packet.fields["why"])
            case "moved" if self._mover:
                self._mover.count_arrivals(packet.fields)
            case "replaced" if self._reporter:
                self._reporter.replaced(packet.fields["id"], packet.fields.get("serial"))
            case "presence" if self._mover and self._forwarded:
                self._mover.learn(packet.fields)
            case _ if self._forwarded:
                self._forwarded.receive(packet)

    def _note_loss(self) -> None:
        """Note that the successor is gone. While it takes over, the task that waits for it notices by
        itself."""
        if self._forwarded and not self.under_way:
            log.warning("the successor is gone: what is left here goes on alone")
            self._take_back()
            self._listeners.changed.notify_all()

    def _take_back(self) -> None:
        """Have the ids given here again."""
        forwarded, self._forwarded = self._forwarded, None
        reporter, self._reporter = self._reporter, None
        if reporter:
            reporter.end()
        if forwarded:
            manager = self._services.manager
            self._services.presence.lead(manager.active_connections.values())
            forwarded.give_back(connected_here(manager))

    # Facts

    def _elapsed(self) -> float:
        return round(self._services.clock() - self._began, 3)

    def _report(self, state: HandoverState | None = None, **facts: Any) -> None:
        if self._progress:
            now = state or self._progress.state
            self._progress = replace(self._progress, state=now, elapsed_s=self._elapsed(), **facts)
            self.failures += now is HandoverState.FAILED
            for observer in self._observers:
                observer(self._progress)

    @property
    def _level(self) -> int:
        """The level of what is logged while nothing fails."""
        return logging.DEBUG if self._reason == RELOAD else logging.INFO

    def _log(self, progress: HandoverProgress) -> None:
        unsaid = {"state"} if progress.moved else {"state", "silence_s"}  # of those that moved, no others
        fields = {
            name: value
            for name, value in asdict(progress).items()
            if value is not None and name not in unsaid
        }
        failed = progress.state is HandoverState.FAILED and self._reason != RELOAD
        level = logging.WARNING if failed else self._level
        log.log(level, f"handover {progress.state}", extra={"fields": fields})
