"""The pool of workers: how they are started, restarted, succeeded, and ended."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from wsctl.codes import ExitCode
from wsctl.drain.merging import cut_short, merged
from wsctl.drain.progress import DrainProgress, HandoverState
from wsctl.ipc.framing import Packet, close_all
from wsctl.ipc.rpc import RequestHandler
from wsctl.process.spawn import AdoptedProcess, SpawnWorker, WorkerProcess, spawn_with_channel
from wsctl.server.listening.accept_balancer import AcceptBalancer, create_page
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.protocol import REPORT_EVERY
from wsctl.server.workers.supervision import (
    RESTART_WINDOW,
    RestartLimit,
    ShutdownDeadline,
    StartFailureLog,
    refusal_pause,
)
from wsctl.server.workers.worker import AdoptWorker, Facts, Worker, WorkerState

log = logging.getLogger("wsctl.workers")


@dataclass(slots=True)
class Slot:
    """The place of one worker: the present one, its successor that is about to take over, and the restart
    that is due."""

    number: int
    member: Worker | None = None
    successor: Worker | None = None
    restarts: RestartLimit = field(default_factory=RestartLimit)
    refusals: int = 0
    pending: asyncio.TimerHandle | None = None


class WorkerPart(StrEnum):
    """The part of a worker in its slot."""

    MEMBER = "member"
    SUCCESSOR = "successor"
    PREDECESSOR = "predecessor"


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot as it stands; `due` is the moment at which its worker is started again, None without one."""

    number: int
    restarts: list[float]
    refusals: int
    due: float | None


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool that serves, so that the same parent can go on with it as another program. `page` is the
    descriptor of the page of counts, `start_failure` why a worker could not start lately."""

    slots: list[SlotState]
    workers: list[tuple[WorkerPart, WorkerState]]
    page: int
    keys: str | None
    start_failure: str | None


class WorkerPool:
    """A number of workers, and those that one of them has taken over from and that still drain.

    `messages` is the log of all, where the parent keeps it. `on_change` is called whenever one of them
    reports something or ends. `drain_timeout` is how many seconds a drain has, unless they report otherwise.
    With a `state` they run already, and each becomes what `adopt` returns. To be made on a running loop.

    Attributes:
        ending: whether they are asked to end, so that one that ends is not started again.
        up: set when all serve, or when that will never be.
        over: set when none is left and none will be started.
        refused: why they cannot start, in the words of the first that could not.
    """

    def __init__(
        self,
        count: int,
        spawn: SpawnWorker,
        hello: Facts,
        listeners: Sequence[int],
        *,
        drain_timeout: float,
        handler: RequestHandler,
        messages: GroupLog | None = None,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        state: PoolState | None = None,
        adopt: AdoptWorker = lambda pid, pipe: AdoptedProcess(pid),
    ) -> None:
        self.slots = [Slot(number) for number in range(1, count + 1)]
        self.predecessors: list[Worker] = []
        self.ending = False
        self.up, self.over = asyncio.Event(), asyncio.Event()
        self.refused: str | None = None
        self._given_up = self._upgrading = False
        self._ending_since = 0.0
        self._spawn = spawn
        self._hello = hello
        self._listeners = listeners
        self._handler = handler
        self._messages = messages
        self._clock = clock
        self._on_change = on_change
        self._page = state.page if state else create_page(count)
        self._balancer = AcceptBalancer(self._page)
        self._finished_drains: list[DrainProgress] = []
        self._exit_codes: list[int] = []
        self._failures = StartFailureLog()
        self._deadline = ShutdownDeadline(drain_timeout)
        self._keys: str | None = None
        self._loop = asyncio.get_running_loop()
        if state:
            self._go_on(state, adopt)

    def start(self) -> None:
        """Start the workers that are missing."""
        for slot in self.slots:
            if slot.member is None and slot.pending is None:
                self._start(slot)

    @property
    def members(self) -> list[Worker]:
        """The workers that serve, or are about to."""
        return [slot.member for slot in self.slots if slot.member]

    @property
    def all_workers(self) -> list[Worker]:
        """All worker processes that there are."""
        return [*self.members, *(slot.successor for slot in self.slots if slot.successor), *self.predecessors]

    @property
    def stopped(self) -> bool:
        """True if all have ended their work."""
        return self.ending and all(worker.stopped for worker in self.all_workers)

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code of those that ended, or will end, as things stand."""
        if self._given_up:
            return ExitCode.ERROR
        codes = [*self._exit_codes, *(worker.exit_code for worker in self.all_workers)]
        return ExitCode(max(codes, default=ExitCode.DONE)) if self.ending else ExitCode.DONE

    def progress(self) -> DrainProgress | None:
        """Return the drain of all; None when there is none."""
        if not self.ending:
            return None
        parts = [drain for worker in [*self.members, *self.predecessors] if (drain := worker.drain)]
        parts += self._finished_drains
        return merged(parts) if parts else None

    # The same parent as another program

    def state(self) -> PoolState:
        """Return how the pool stands, which must not be ending; nothing is closed or changed."""
        parts = [(WorkerPart.MEMBER, slot.member) for slot in self.slots]
        parts += [(WorkerPart.SUCCESSOR, slot.successor) for slot in self.slots]
        parts += [(WorkerPart.PREDECESSOR, worker) for worker in self.predecessors]
        return PoolState(
            [_slot_state(slot) for slot in self.slots],
            [(part, worker.state()) for part, worker in parts if worker],
            self._page,
            self._keys,
            self._failures.why,
        )

    def _go_on(self, state: PoolState, adopt: AdoptWorker) -> None:
        by_number = {slot.number: slot for slot in self.slots}
        for known in state.slots:
            slot = by_number[known.number]
            slot.restarts, slot.refusals = RestartLimit(known.restarts), known.refusals
            if known.due is not None:
                slot.pending = self._loop.call_at(known.due, self._start, slot)
        for part, each in state.workers:
            worker = self._adopt_worker(each, adopt)
            match part:
                case WorkerPart.MEMBER:
                    by_number[each.number].member = worker
                case WorkerPart.SUCCESSOR:
                    by_number[each.number].successor = worker
                case WorkerPart.PREDECESSOR:
                    self.predecessors.append(worker)
        self._keys, self._failures.why = state.keys, state.start_failure
        self.up.set()

    async def hold_requests(self) -> None:
        """Begin no answer to a worker until `release_requests`, and wait for those that change something."""
        await asyncio.gather(*(worker.hold_requests() for worker in self.all_workers))

    def release_requests(self) -> None:
        for worker in self.all_workers:
            worker.release_requests()

    def set_upgrading(self, under_way: bool) -> None:
        """Tell all workers, also those that are started later, whether an upgrade is under way."""
        self._upgrading = under_way
        for worker in self.all_workers:
            worker.send("upgrading", under_way=under_way)

    def settled(self) -> bool:
        """Tell whether all that were asked to drain have reported it, or have had time to."""
        late = self._clock() - self._ending_since >= 2 * REPORT_EVERY
        return late or all(worker.drain for worker in self.members)

    # The end

    def mark_ending(self) -> None:
        """Mark the workers as ending: none is started again from here on."""
        if not self.ending:
            self.ending, self._ending_since = True, self._clock()
            self._finished_drains, self._exit_codes = [], []
            self._deadline.start(self._ending_since)
            for slot in self.slots:
                self._cancel_start(slot)
            self._check_over()

    def cancel_ending(self) -> None:
        """Start the workers that have ended meanwhile: the drain was cancelled."""
        self.ending = False
        self._finished_drains, self._exit_codes = [], []
        self.start()

    def send_signal(self, signum: int) -> None:
        """Pass a signal on, to each once. A successor that is about to take over gets it from its
        predecessor."""
        self.mark_ending()
        for worker in [*self.members, *self.predecessors]:
            worker.send("signal", signum=signum)

    def force(self) -> None:
        """Force all to end at once, as the operator asks."""
        self._deadline.expire(self._clock())
        for worker in self.all_workers:
            worker.send("force")

    def kill(self) -> None:
        """Kill all that are left, whatever they do."""
        for worker in self.all_workers:
            worker.kill()

    def suspend(self) -> None:
        """Stop all processes until `resume`, and wait until they are: one that the system stops only when
        this process is gone would never go on (setpgid(2), orphaned process groups)."""
        for worker in self.all_workers:
            worker.suspend()
        for worker in self.all_workers:
            worker.wait_suspended()

    def resume(self) -> None:
        """Let all processes go on that `suspend` has stopped."""
        self._deadline.extend(self._clock())
        for worker in self.all_workers:
            worker.resume()

    def kill_overdue(self) -> None:
        """Kill those that should have ended long ago. A successor is left to take over: it was not asked to
        end yet."""
        if not self.ending or not self._deadline.has_passed(self._clock()):
            return
        for worker in [*self.members, *self.predecessors]:
            if worker.code is None:
                log.error("a worker hangs and is killed", extra={"fields": {"pid": worker.pid}})
                worker.kill()

    def reap(self) -> None:
        """Look which processes have ended."""
        for worker in self.all_workers:
            worker.reap()

    # Reports

    def _worker_changed(self, worker: Worker) -> None:
        """Act on what one of them has reported."""
        self._update_deadline(worker)
        for slot in self.slots:
            if slot.successor and slot.member and _has_handed_over(slot.member):
                self._promote_successor(slot)
            if slot.member and slot.member.listening:
                slot.refusals = 0
        if len(self.members) == len(self.slots) and all(member.listening for member in self.members):
            self._failures.clear()
            self.up.set()
        self._on_change()

    def _update_deadline(self, worker: Worker) -> None:
        """Note by when the workers have to end. One that has handed over drains by a deadline of its own."""
        if self.stopped:
            self._deadline.expire(self._clock())
        elif self.ending and worker in self.members and (drain := worker.drain):
            self._deadline.update(drain, self._clock())

    def _handle_process_request(self, worker: Worker, packet: Packet) -> None:
        """Start a successor for a worker that hands over, or kill it when the worker does not hand over after
        all."""
        slot = next(slot for slot in self.slots if slot.number == worker.number)
        try:
            if packet.kind == "successor":
                self._start_successor(slot, worker, packet.fds[0])
            elif slot.successor:
                slot.successor.kill()
        finally:
            close_all(packet.fds)

    def _start_successor(self, slot: Slot, worker: Worker, channel: int) -> None:
        if worker is not slot.member or slot.successor:
            worker.send("ended", code=ExitCode.ERROR)
            return
        try:
            slot.successor = self._create_worker(slot, channel)
        except OSError as error:
            log.warning("a worker cannot be started", extra={"fields": {"why": str(error)}})
            worker.send("ended", code=ExitCode.ERROR)

    def _promote_successor(self, slot: Slot) -> None:
        old, slot.member, slot.successor = slot.member, slot.successor, None
        if old:
            self.predecessors.append(old)
        if self.ending and slot.member:
            self._deadline.start(self._clock())
            slot.member.send("signal", signum=signal.SIGTERM)

    # Starts and ends of processes

    def _start(self, slot: Slot) -> None:
        slot.pending = None
        try:
            slot.member = self._create_worker(slot)
        except OSError as error:
            log.warning("a worker cannot be started", extra={"fields": {"why": str(error)}})
            self._restart_later(slot)

    def _create_worker(self, slot: Slot, succeeds: int | None = None) -> Worker:
        # A worker that is started later reads the file with the key anew.
        keys = next((member.keys for member in self.members if member.keys), None) or self._keys
        self._keys = keys
        channel, process = spawn_with_channel(lambda theirs: self._spawn(theirs, succeeds))
        worker = self._make_worker(slot.number, process, channel)
        # A successor has the sockets from its predecessor.
        listeners = self._listeners if succeeds is None else ()
        worker.greet(self._hello | {"keys": keys, "upgrading": self._upgrading}, [self._page, *listeners])
        return worker

    def _adopt_worker(self, state: WorkerState, adopt: AdoptWorker) -> Worker:
        channel = socket.socket(fileno=state.channel.fd) if state.channel else _hung_up()
        return self._make_worker(state.number, adopt(state.pid, state.output), channel, state)

    def _make_worker(
        self,
        number: int,
        process: WorkerProcess,
        channel: socket.socket,
        state: WorkerState | None = None,
    ) -> Worker:
        return Worker(
            number,
            process,
            channel,
            self._handler,
            messages=self._messages,
            clock=self._clock,
            on_change=self._worker_changed,
            on_process_request=self._handle_process_request,
            on_exit=self._worker_exited,
            state=state,
        )

    def _worker_exited(self, worker: Worker) -> None:
        slot = next(slot for slot in self.slots if slot.number == worker.number)
        never_served = worker.refused or worker is slot.successor
        if self.ending and not never_served:
            self._exit_codes.append(worker.exit_code)
            if drain := worker.drain:
                self._finished_drains.append(cut_short(drain))
        if worker in self.predecessors:
            self.predecessors.remove(worker)
        elif worker is slot.successor:
            self._successor_exited(slot, worker)
        elif worker is slot.member:
            self._member_exited(slot, worker)
        self._check_over()
        self._on_change()

    def _successor_exited(self, slot: Slot, successor: Worker) -> None:
        slot.successor = None
        if slot.member:
            slot.member.send("ended", code=successor.code)

    def _member_exited(self, slot: Slot, worker: Worker) -> None:
        slot.member = None
        self._balancer.withdraw(slot.number)
        self._log_exit(worker)
        if slot.successor:
            self._promote_successor(slot)
        elif worker.refused and not self.up.is_set():
            self.refused = self.refused or worker.refused
            self.send_signal(signal.SIGTERM)
        elif worker.refused and not self.ending:
            self._retry_refused(slot, worker.refused)
        elif not self.ending:
            self._restart_later(slot)

    def _log_exit(self, worker: Worker) -> None:
        if not self.ending and worker.stopped:
            log.info("a worker was ended and is started again", extra={"fields": worker.exit_fields()})
        elif not self.ending and not worker.refused:
            log.warning("a worker died", extra={"fields": worker.exit_fields()})
        elif worker.exit_code == ExitCode.ERROR:
            log.error("a worker died in the drain", extra={"fields": worker.exit_fields()})

    def _retry_refused(self, slot: Slot, why: str) -> None:
        """Start a refused worker again later: it could be started once, so the reason may pass, and the
        others serve meanwhile."""
        self._failures.record(why)
        slot.pending = self._loop.call_later(refusal_pause(slot.refusals), self._start, slot)
        slot.refusals += 1

    def _restart_later(self, slot: Slot) -> None:
        pause = slot.restarts.next_pause(self._clock())
        if pause is None:
            self._give_up(slot)
        else:
            slot.pending = self._loop.call_later(pause, self._start, slot)

    def _give_up(self, slot: Slot) -> None:
        often = f"too often within {RESTART_WINDOW:g} seconds"
        log.error(f"worker {slot.number} died {often}: giving up, the others drain")
        self._given_up = True
        self.send_signal(signal.SIGTERM)

    def _cancel_start(self, slot: Slot) -> None:
        if slot.pending:
            slot.pending.cancel()
            slot.pending = None

    def _check_over(self) -> None:
        """Set `over` if that was the last one."""
        if self.ending and not self.all_workers:
            self.up.set()
            self.over.set()

    def close(self) -> None:
        """Release what is kept for the workers: none is left."""
        self._balancer.close()
        os.close(self._page)


def _slot_state(slot: Slot) -> SlotState:
    due = slot.pending.when() if slot.pending else None
    return SlotState(slot.number, slot.restarts.moments, slot.refusals, due)


def _hung_up() -> socket.socket:
    """Return an end of a channel whose other end is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def _has_handed_over(worker: Worker) -> bool:
    return worker.upgrade is not None and worker.upgrade.state is HandoverState.DONE
