"""Watches, in threads of their own, on code of an application that blocks the event loop or does not end."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

log = logging.getLogger("wsctl.application")

BLOCKED = 2.0
"""Seconds without a sign of the loop, which gives one each second, after which it counts as blocked."""

INTERVAL = 0.5
"""Seconds between two looks of the thread that watches."""

EXIT_TIMEOUT = 5.0
"""Seconds that threads and tasks have to end when the server has; then the process ends without them."""

_NOT_THEIRS = (str(Path(threading.__file__).parent), str(Path(__file__).parents[2]))
"""The folders of code that an application only uses: the standard library, with its packages, and ours."""


class LoopWatch:
    """A thread that logs where the event loop stands still. `alive` is to be called each second on the loop,
    in the thread that makes this object."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
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
        """Log what blocks the loop, once for each time."""
        if self._blocked_by or self._clock() - self._alive_at < BLOCKED:
            return
        frame = sys._current_frames().get(self._thread)
        self._blocked_by = _place(frame) if frame else "unknown code"
        event = "the event loop is blocked: all connections wait for"
        log.warning("%s %s", event, self._blocked_by)


class ExitWatch:
    """A thread that ends the process when it does not end by itself: an application may leave threads, or
    tasks that cannot be cancelled. `before` is called first."""

    def __init__(self, before: Callable[[], None] = lambda: None, limit: float = EXIT_TIMEOUT) -> None:
        self._before = before
        self._limit = limit

    def start(self, exit_code: int) -> None:
        """Give the process its time from now on; after that it ends with this exit code."""
        threading.Thread(target=self._run, args=(exit_code,), name="wsctl-exit-watch", daemon=True).start()

    def _run(self, exit_code: int) -> None:
        time.sleep(self._limit)
        threads = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
        left = f"threads of the application: {', '.join(threads)}" if threads else "tasks of the application"
        log.warning("the process ends without %s, which did not end within %g seconds", left, self._limit)
        self._before()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(exit_code)


def _place(frame: FrameType) -> str:
    """Return where the application stands: its innermost frame, or the innermost of all."""
    found: FrameType | None = frame
    while found and found.f_code.co_filename.startswith(_NOT_THEIRS):
        found = found.f_back
    at = found or frame
    return f"{at.f_code.co_qualname} ({at.f_code.co_filename}:{at.f_lineno})"
