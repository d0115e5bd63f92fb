"""The signal handlers of this process, which `wsctl/drain/signals.py` says what to do."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType
from typing import Any

from wsctl.drain.graceful import NotDraining
from wsctl.drain.signals import POLICY, Disposition, SignalAction, SignalRole, handled_signals

Handler = Callable[[int, FrameType | None], Any]

ITERATIONS = 3
"""The iterations of an event loop in which it has called the actions of all signals that had arrived: one to
read their numbers, one to call, and one to spare."""


class SignalHandlers:
    """The handlers of a process in one `role`. `actions` are called on the event loop with the number of the
    signal, but for `SUSPEND`, which is called at once. So is `noted`, with each signal that ends a server, by
    whatever Python code runs: the loop may be blocked.

    Attributes:
        first: the first signal that ends the server; None before there was one. Noted of an embedded one
            alone.
    """

    def __init__(
        self,
        role: SignalRole,
        actions: Mapping[SignalAction, Callable[[int], object]],
        noted: Callable[[int], None] | None = None,
    ) -> None:
        self._role = role
        self._actions = actions
        self._noted = noted
        self._loop = asyncio.get_running_loop()
        self._of_host: dict[int, Handler] = {}
        self._handled: Mapping[signal.Signals, SignalAction] = {}
        self.first: int | None = None

    def install(self) -> None:
        """Take the place of the handlers that there are. An embedded server does without where it may not:
        outside the main thread the host owns no signals either."""
        self._handled = handled = handled_signals(self._role, _disposition)
        if self._role is SignalRole.EMBEDDED:
            self._chain(handled)
            return
        for signum, action in handled.items():
            if action is SignalAction.SUSPEND:
                signal.signal(signum, partial(self._call, action))
            else:
                self._loop.add_signal_handler(signum, self._actions[action], signum)
                if self._noted and action is SignalAction.END:
                    # In place of the loop's own, which does nothing: the loop reads the number from a
                    # descriptor.
                    signal.signal(signum, partial(self._note, self._noted))

    async def replace(self, handler: Callable[[int], object]) -> None:
        """From here on call `handler` with each signal that this handles, at once and without the event loop,
        which is about to end. What arrives in between is kept, and nothing is handled twice."""
        async with self.blocked():
            for signum in self._handled:
                self._loop.remove_signal_handler(signum)
                signal.signal(signum, lambda signum, _: handler(signum))

    @asynccontextmanager
    async def blocked(self) -> AsyncIterator[set[int]]:
        """Block each signal that this handles. Of what arrived before, the actions have been called. Yields
        the signals that were blocked already. A program that this process executes in the block has what
        arrives, once it unblocks them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._handled)
        try:
            await settle()
            yield {int(signum) for signum in before}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def call_host(self, signum: int) -> bool:
        """Call the host's own handler; tell whether it has one."""
        if theirs := self._of_host.get(signum):
            theirs(signum, None)
        return theirs is not None

    def give_back(self) -> None:
        """Put the host's handlers back."""
        for signum, theirs in self._of_host.items():
            signal.signal(signum, theirs)

    def _chain(self, handled: Mapping[signal.Signals, SignalAction]) -> None:
        found = {signum: signal.getsignal(signum) for signum in handled}
        try:
            for signum in handled:
                signal.signal(signum, self._arrived)
        except ValueError:  # not in the main thread
            return
        self._of_host = {signum: theirs for signum, theirs in found.items() if callable(theirs)}

    def _arrived(self, signum: int, _frame: FrameType | None) -> None:
        self.first = self.first or signum
        self._loop.call_soon_threadsafe(self._actions[SignalAction.END], signum)

    def _note(self, noted: Callable[[int], None], signum: int, _frame: FrameType | None) -> None:
        noted(signum)

    def _call(self, action: SignalAction, signum: int, _frame: FrameType | None) -> None:
        self._actions[action](signum)


async def settle() -> None:
    """Wait until the event loop has called the actions of all signals that had arrived."""
    for _ in range(ITERATIONS):
        await asyncio.sleep(0)


def log_status(log: logging.Logger, status: Mapping[str, Any]) -> None:
    """Log a status, with the fields of its drain among its own."""
    own = {name: value for name, value in status.items() if name != "drain"}
    log.info("status", extra={"fields": {**own, **(status["drain"] or {})}})


def begin_handover(log: logging.Logger, begin: Callable[[str], None], signum: int) -> None:
    """Let `begin` begin a handover in the name of a signal; log why, if there can be none now."""
    try:
        begin(signal.Signals(signum).name)
    except NotDraining as error:
        log.warning("no handover now", extra={"fields": {"why": str(error)}})


def stop_until_continued(signum: int) -> None:
    """Stop this process as the signal does that nobody handles, until SIGCONT."""
    ours = signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    # Here it goes on.
    signal.signal(signum, ours)


def end_signals() -> list[signal.Signals]:
    """Return the signals that begin a drain of this process."""
    handled = handled_signals(SignalRole.SERVER, _disposition)
    return [signum for signum, action in handled.items() if action is SignalAction.END]


@contextmanager
def blocked_end_signals() -> Iterator[None]:
    """Block these signals while a process makes what it has to remove at its end: without a handler yet, they
    would kill it in between."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, end_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def blocked_until_renewed(before: Iterable[int]) -> Iterator[None]:
    """Leave the signals blocked that the program before this one has blocked, and at the end have only those
    blocked that it had `before` that."""
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def block_in_thread() -> None:
    """Block the signals that a process of ours handles in this thread, so that the main one gets them all.
    One that another thread gets is lost if a new program is executed before the event loop has read of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, POLICY[SignalRole.PARENT])


def _disposition(signum: int) -> Disposition:
    match signal.getsignal(signum):
        case signal.SIG_DFL:
            return Disposition.DEFAULT
        case signal.SIG_IGN:
            return Disposition.IGNORED
        case None:
            return Disposition.FOREIGN
    return Disposition.HANDLED
