"""Watches, in threads of their own, on code of an application that blocks the event loop or does not end."""

import atexit
import logging
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGINT
from types import FrameType

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.signals import FORCE_AFTER
from wsctl.server.asgi.notice import ShutdownState

log = logging.getLogger("wsctl.application")

BLOCKED = 2.0
"""Seconds without a sign of the loop, which gives one each second, after which it counts as blocked."""

INTERVAL = 0.5
"""Seconds between two looks of the thread that watches."""

OVERDUE = 5.0
"""Seconds after the end of a drain in which a loop that is blocked may still be let go."""

EXIT_TIMEOUT = 5.0
"""Seconds that threads and tasks have to end when the server has; then the process ends without them."""

SHOW_CURSOR = "\x1b[?25h"
"""The control sequence with which a terminal shows its cursor (DECTCEM)."""

_NOT_THEIRS = tuple({*sysconfig.get_paths().values(), str(Path(__file__).parents[2])} - {sys.prefix})
"""The folders of code that an application only uses: the standard library, installed packages, and ours."""


class EndDeadline:
    """The moment by which a process must have ended, its event loop blocked or not, once it was asked to.

    `state` has the deadline of the drain that the loop knows of; `longest` is the time in seconds of a drain
    that begins with a signal.
    """

    def __init__(self, state: ShutdownState, longest: float) -> None:
        self._state = state
        self._longest = longest
        self._signalled_at: float | None = None
        self._at: float | None = None

    def note_signal(self, signum: int) -> None:
        """Note a signal that ends the server, of which the loop may learn later. SIGINT again forces."""
        now = self._state.clock()
        if self._signalled_at is None:
            self._signalled_at = now
        elif signum == SIGINT and now - self._signalled_at >= FORCE_AFTER:
            self.end_by(now + CLOSE_TIMEOUT)

    def end_by(self, moment: float) -> None:
        """Note that nothing may take longer than to this moment."""
        self._at = moment if self._at is None else min(self._at, moment)

    def has_passed(self) -> bool:
        """Tell whether the process should have ended."""
        at = self._at
        if at is None and self._state.began.is_set():
            at = self._state.deadline_at + CLOSE_TIMEOUT
        elif at is None and self._signalled_at is not None:
            at = self._signalled_at + self._longest + CLOSE_TIMEOUT
        return at is not None and self._state.clock() >= at + OVERDUE


class LoopWatch:
    """A thread that logs where the event loop stands still. `alive` is to be called each second on the loop,
    in the thread that makes this object. `deadline` is that of the process, which `end` ends when it has
    passed and the loop is blocked.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        deadline: EndDeadline | None = None,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self._deadline = deadline
        self._end = end
        self._clock = clock
        self._thread = threading.get_ident()
        self._alive_at = clock()
        self._blocked_by: str | None = None
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._run, name="wsctl-loop-watch", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._alive_at = self._clock()
        self._watch.start()

    def stop(self) -> None:
        """Stop, and wait until the thread has ended."""
        self._over.set()
        if self._watch.ident:
            self._watch.join()

    def alive(self, now: float) -> None:
        """Note that the loop runs at `now`; log for how long it did not, if that was found."""
        blocked_by, self._blocked_by = self._blocked_by, None
        if blocked_by:
            fields = {"by": blocked_by, "for_s": round(now - self._alive_at, 3)}
            log.warning("the event loop runs again", extra={"fields": fields})
        self._alive_at = now

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            self.look()

    def look(self) -> None:
        """Log what blocks the loop, once for each time; end the process if it has to end all the same."""
        if self._clock() - self._alive_at < BLOCKED:
            return
        if not self._blocked_by:
            self._name()
        if self._deadline and self._deadline.has_passed():
            log.error("the process ends, as its drain has: the event loop is blocked by %s", self._blocked_by)
            self._end()

    def _name(self) -> None:
        frame = sys._current_frames().get(self._thread)
        self._blocked_by = _place(frame) if frame else "unknown code"
        event = "the event loop is blocked: all connections wait for"
        log.warning("%s %s", event, self._blocked_by)


class ExitWatch:
    """A thread that ends the process when it does not end by itself: an application may leave threads, or
    tasks that cannot be cancelled. `before` is called first with the exit code."""

    def __init__(self, before: Callable[[int], None] = lambda code: None) -> None:
        self._before = before

    def start(self, exit_code: int) -> None:
        """Give the process its time from now on; after that it ends with this exit code."""
        threading.Thread(target=self._run, args=(exit_code,), name="wsctl-exit-watch", daemon=True).start()

    def _run(self, exit_code: int) -> None:
        time.sleep(EXIT_TIMEOUT)
        threads = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
        left = f"threads of the application: {', '.join(threads)}" if threads else "tasks of the application"
        log.warning("the process ends without %s, which did not end within %g seconds", left, EXIT_TIMEOUT)
        self._before(exit_code)
        end_process(exit_code)


def finish_threads() -> None:
    """Wait for the threads that an application has started, and call what it has registered with `atexit`, as
    the interpreter does at its end, which a process of wsctl does not come to."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def end_process(exit_code: int) -> None:
    """End the process at once, whatever its threads do. A terminal gets its cursor back, which the bar of a
    drain hides."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream.isatty():
                stream.write(SHOW_CURSOR)
            stream.flush()
    os._exit(exit_code)


def _place(frame: FrameType) -> str:
    """Return where the application stands: its innermost frame, or the innermost of all."""
    found: FrameType | None = frame
    while found and found.f_code.co_filename.startswith((*_NOT_THEIRS, "<frozen")):
        found = found.f_back
    at = found or frame
    return f"{at.f_code.co_qualname} ({at.f_code.co_filename}:{at.f_lineno})"
