"""The signals that end a server."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def end_signals() -> list[signal.Signals]:
    """Return the signals that begin a drain. SIGHUP, which a closed terminal sends, is one only where it is
    not ignored: nohup has asked for that."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


@contextmanager
def blocked_end_signals() -> Iterator[None]:
    """Block these signals while a process makes what it has to remove at its end: without a handler yet, they
    would kill it in between."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, end_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
