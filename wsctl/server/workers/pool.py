"""The workers together: how they are started, restarted, succeeded, and ended."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wsctl.codes import ExitCode
from wsctl.drain.merging import cut_short, merged
from wsctl.drain.progress import DrainProgress, HandoverState
from wsctl.ipc.descriptors import close_all
from wsctl.ipc.framing import Packet
from wsctl.ipc.rpc import RequestHandler
from wsctl.server.accept_balancer import AcceptBalancer, create_page
from wsctl.server.workers.protocol import REPORT_EVERY
from wsctl.server.workers.supervision import (
    RESTART_WINDOW,
    RestartLimit,
    ShutdownDeadline,
    StartFailureLog,
    refusal_pause,
)
from wsctl.server.workers.worker import Facts, Spawn, Worker

log = logging.getLogger("wsctl.workers")


@dataclass(slots=True)
class Slot:
    """The place of one worker: the present one, its successor that is about to take over, and the restart
    that is due."""

    number: int
    member: Worker | None = None
    heir: Worker | None = None
    restarts: RestartLimit = field(default_factory=RestartLimit)
    refusals: int = 0
    pending: asyncio.TimerHandle | None = None


class WorkerPool:
    """A number of workers, and those that one of them has taken over from and that still drain.

    `changed` is called whenever one of them reports something or ends. `longest` is how many seconds a drain
    has, unless they report otherwise. To be made on a running loop.

    Attributes:
        ending: whether they are asked to end, so that one that ends is not started again.
        up: set when all serve, or when that will never be.
        over: set when none is left and none will be started.
        refused: why they cannot start, in the words of the first that could not.
    """

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        hello: Facts,
        listeners: Sequence[int],
        *,
        longest: float,
        answering: RequestHandler,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.slots = [Slot(number) for number in range(1, count + 1)]
        self.leaving: list[Worker] = []
        self.ending = False
        self.up, self.over = asyncio.Event(), asyncio.Event()
        self.refused: str | None = None
        self._given_up = False
        self._ending_since = 0.0
        self._spawn = spawn
        self._hello = hello
        self._listeners = listeners
        self._answering = answering
        self._clock = clock
        self._told = changed
        self._page = create_page(count)
        self._balancer = AcceptBalancer(self._page)
        self._finished: list[DrainProgress] = []
        self._codes: list[int] = []
        self._failures = StartFailureLog()
        self._deadline = ShutdownDeadline(longest)
        self._keys: str | None = None
        self._loop = asyncio.get_running_loop()

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
    def everybody(self) -> list[Worker]:
        """All worker processes that there are."""
        return [*self.members, *(slot.heir for slot in self.slots if slot.heir), *self.leaving]

    @property
    def stopped(self) -> bool:
        """True if all have ended their work."""
        return self.ending and all(worker.stopped for worker in self.everybody)

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code of those that ended, or will end, as things stand."""
        if self._given_up:
            return ExitCode.ERROR
        codes = [*self._codes, *(worker.exit_code for worker in self.everybody)]
        return ExitCode(max(codes, default=ExitCode.DONE)) if self.ending else ExitCode.DONE

    def progress(self) -> DrainProgress | None:
        """Return the drain of all; None when there is none."""
        if not self.ending:
            return None
        parts = [drain for worker in [*self.members, *self.leaving] if (drain := worker.drain)]
        parts += self._finished
        return merged(parts) if parts else None

    def settled(self) -> bool:
        """Tell whether all that were asked to drain have reported it, or have had time to."""
        late = self._clock() - self._ending_since >= 2 * REPORT_EVERY
        return late or all(worker.drain for worker in self.members)

    # The end

    def end(self) -> None:
        """Mark the workers as ending: none is started again from here on."""
        if not self.ending:
            self.ending, self._ending_since = True, self._clock()
            self._finished, self._codes = [], []
            self._deadline.begun(self._ending_since)
            for slot in self.slots:
                self._forget(slot)
            self._look()

    def go_on(self) -> None:
        """Start the workers that have ended meanwhile: the drain was cancelled."""
        self.ending = False
        self._finished, self._codes = [], []
        self.start()

    def signal(self, signum: int) -> None:
        """Pass a signal on, to each once. A successor that is about to take over gets it from its
        predecessor."""
        self.end()
        for worker in [*self.members, *self.leaving]:
            worker.tell("signal", signum=signum)

    def force(self) -> None:
        """Force all to end at once, as the operator asks."""
        self._deadline.cut(self._clock())
        for worker in self.everybody:
            worker.tell("force")

    def kill(self) -> None:
        """Kill all that are left, whatever they do."""
        for worker in self.everybody:
            worker.kill()

    def stop(self) -> None:
        """Stop all processes until `go_on_after_stop`."""
        for worker in self.everybody:
            worker.stop()

    def go_on_after_stop(self) -> None:
        """Let all processes go on that `stop` has stopped."""
        self._deadline.went_on(self._clock())
        for worker in self.everybody:
            worker.go_on()

    def kill_overdue(self) -> None:
        """Kill those that should have ended long ago. A successor is left to take over: it was not asked to
        end yet."""
        if not self.ending or not self._deadline.is_over(self._clock()):
            return
        for worker in [*self.members, *self.leaving]:
            if worker.code is None:
                log.error("a worker hangs and is killed", extra={"fields": {"pid": worker.pid}})
                worker.kill()

    def reap(self) -> None:
        """Look which processes have ended."""
        for worker in self.everybody:
            worker.reap()

    # Reports

    def changed(self, worker: Worker) -> None:
        """Act on what one of them has reported."""
        self._note_end(worker)
        for slot in self.slots:
            if slot.heir and slot.member and _has_handed_over(slot.member):
                self._succeed(slot)
            if slot.member and slot.member.listening:
                slot.refusals = 0
        if len(self.members) == len(self.slots) and all(member.listening for member in self.members):
            self._failures.clear()
            self.up.set()
        self._told()

    def _note_end(self, worker: Worker) -> None:
        """Note by when the workers have to end. One that has handed over drains by a deadline of its own."""
        if self.stopped:
            self._deadline.cut(self._clock())
        elif self.ending and worker in self.members and (drain := worker.drain):
            self._deadline.told(drain, self._clock())

    def wants(self, worker: Worker, packet: Packet) -> None:
        """Start a successor for a worker that hands over, or kill it when the worker does not hand over after
        all."""
        slot = next(slot for slot in self.slots if slot.number == worker.number)
        if packet.kind == "kill":
            if slot.heir:
                slot.heir.kill()
            return
        try:
            if worker is slot.member and slot.heir is None:
                slot.heir = self._made(slot, packet.fds[0])
            else:
                worker.tell("ended", code=ExitCode.ERROR)
        except OSError as error:
            log.warning("a worker cannot be started", extra={"fields": {"why": str(error)}})
            worker.tell("ended", code=ExitCode.ERROR)
        finally:
            close_all(packet.fds)

    def _succeed(self, slot: Slot) -> None:
        old, slot.member, slot.heir = slot.member, slot.heir, None
        if old:
            self.leaving.append(old)
        if self.ending and slot.member:
            self._deadline.begun(self._clock())
            slot.member.tell("signal", signum=signal.SIGTERM)

    # Starts and ends of processes

    def _start(self, slot: Slot) -> None:
        slot.pending = None
        try:
            slot.member = self._made(slot)
        except OSError as error:
            log.warning("a worker cannot be started", extra={"fields": {"why": str(error)}})
            self._start_later(slot)

    def _made(self, slot: Slot, succeeds: int | None = None) -> Worker:
        # A worker that is started later reads the file with the key anew.
        keys = next((member.keys for member in self.members if member.keys), None) or self._keys
        self._keys = keys
        return Worker(
            slot.number,
            self._spawn,
            self._hello | {"keys": keys},
            # A successor has the sockets from its predecessor.
            [self._page, *(self._listeners if succeeds is None else ())],
            self._answering,
            clock=self._clock,
            changed=self.changed,
            wants=self.wants,
            gone=self._gone,
            succeeds=succeeds,
        )

    def _gone(self, worker: Worker) -> None:
        slot = next(slot for slot in self.slots if slot.number == worker.number)
        if self.ending and not worker.refused:  # who never served has no part in it
            self._codes.append(worker.exit_code)
            if drain := worker.drain:
                self._finished.append(cut_short(drain))
        if worker in self.leaving:
            self.leaving.remove(worker)
        elif worker is slot.heir:
            self._heir_gone(slot, worker)
        elif worker is slot.member:
            self._member_gone(slot, worker)
        self._look()
        self._told()

    def _heir_gone(self, slot: Slot, heir: Worker) -> None:
        slot.heir = None
        if slot.member:
            slot.member.tell("ended", code=heir.code)

    def _member_gone(self, slot: Slot, worker: Worker) -> None:
        slot.member = None
        self._balancer.withdraw(slot.number)
        if not self.ending and worker.stopped:
            log.info("a worker was ended and is started again", extra={"fields": worker.fate()})
        elif not self.ending and not worker.refused:
            log.warning("a worker died", extra={"fields": worker.fate()})
        elif worker.exit_code == ExitCode.ERROR:
            log.error("a worker died in the drain", extra={"fields": worker.fate()})
        if slot.heir:
            self._succeed(slot)
        elif worker.refused and not self.up.is_set():
            self.refused = self.refused or worker.refused
            self.signal(signal.SIGTERM)
        elif worker.refused and not self.ending:
            self._try_again(slot, worker.refused)
        elif not self.ending:
            self._start_later(slot)

    def _try_again(self, slot: Slot, why: str) -> None:
        """Start a refused worker again later: it could be started once, so the reason may pass, and the
        others serve meanwhile."""
        self._failures.record(why)
        slot.pending = self._loop.call_later(refusal_pause(slot.refusals), self._start, slot)
        slot.refusals += 1

    def _start_later(self, slot: Slot) -> None:
        pause = slot.restarts.next(self._clock())
        if pause is None:
            self._give_up(slot)
        else:
            slot.pending = self._loop.call_later(pause, self._start, slot)

    def _give_up(self, slot: Slot) -> None:
        often = f"too often within {RESTART_WINDOW:g} seconds"
        log.error(f"worker {slot.number} died {often}: giving up, the others drain")
        self._given_up = True
        self.signal(signal.SIGTERM)

    def _forget(self, slot: Slot) -> None:
        if slot.pending:
            slot.pending.cancel()
            slot.pending = None

    def _look(self) -> None:
        """Set `over` if that was the last one."""
        if self.ending and not self.everybody:
            self.up.set()
            self.over.set()

    def close(self) -> None:
        """Release what is kept for the workers: none is left."""
        self._balancer.close()
        os.close(self._page)


def _has_handed_over(worker: Worker) -> bool:
    upgrade = worker.facts.get("upgrade") or {}
    return bool(upgrade.get("state") == HandoverState.DONE)
