"""The messages to systemd, by the protocol of sd_notify(3): datagrams of `NAME=value` lines.

Only what the main process says is believed (`NotifyAccess=main`), so a server that handed over falls silent.
`STOPPING=1` cannot be taken back: systemd counts the stop's time from it and kills whoever is there at the
end, ready again or not. So a drain that can still be cancelled is shown as a status and nothing more.
"""

import asyncio
import contextlib
import errno
import logging
import re
import socket
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from wsctl.codes import ExitCode
from wsctl.drain.interventions import Intervention
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress, HandoverState

REPORT_EVERY = 5.0
"""Seconds between two reports of a drain. Each makes systemd tell its own listeners on D-Bus."""

EXTENSION = 30.0
"""Seconds from each report in which systemd must not kill: several reports may be late or lost."""

RETRY = 1.0
"""Seconds until what a full socket did not take is tried again."""

CLOSE_TIMEOUT = 2.0
"""Seconds that the end of the process waits for room for what a full socket did not take: a main process that
ends before systemd knows its successor is the end of the service."""

FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})
"""The errors of a socket that has no room now, and will have."""

log = logging.getLogger("wsctl.notify")

Later = Callable[[float, Callable[[], None]], object]
"""A function that calls another one after some seconds, on the event loop: `loop.call_later`."""


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class SystemdNotifier:
    """Tells systemd the phase of this server, and that it lives; a `DrainObserver`.

    Without a `NOTIFY_SOCKET` nothing is sent. No failure to send reaches the caller.

    Args:
        pid: this process: a watchdog may be meant for another one of the same environment.
        adopted: this process took over from the one that systemd started, and its watchdog with it.
    """

    interval = REPORT_EVERY

    def __init__(
        self, environ: Mapping[str, str], pid: int, later: Later = _call_later, *, adopted: bool = False
    ) -> None:
        self._channel = _NotifySocket(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environ, pid, adopted)
        self._later = later
        self._unsent: str | None = None
        self._beating = self._stopping = self._succeeded = False

    def ready(self) -> None:
        """Tell that the server serves, as the main process; or that it goes on serving after a failed
        handover or a cancelled drain."""
        if not self._stopping:  # a signal that came during a handover takes effect before its failure is told
            self._enter("READY=1", "STATUS=serving")
        self.live()

    def live(self) -> None:
        """Tell the watchdog from here on that this process lives."""
        if self._watchdog and not self._beating:
            self._beating = True
            self._beat()

    def reloading(self) -> None:
        """Tell that a handover begins: it ends with `main_pid`, or with `ready` when it failed."""
        now = time.monotonic_ns() // 1000
        self._enter("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=handing over to a fresh process")

    def main_pid(self, successor: int) -> None:
        """Tell that the successor is the main process now; this process sends nothing after that.

        To be called before the clients that are left drain. The successor must be systemd's own child by
        then, left to it by a parent that ended: systemd waits for no other, and a stop would kill it at once.
        """
        # The successor is not believed before this: its own READY=1 and its beats so far are lost.
        beat = ["WATCHDOG=1"] if self._beating else []
        self._enter(f"MAINPID={successor}", "READY=1", "STATUS=serving", *beat)
        self._succeeded = True

    def handing_over(self, progress: HandoverProgress) -> None:
        """Tell systemd each state of a handover."""
        match progress:
            case HandoverProgress(state=HandoverState.STARTING):
                self.reloading()
            case HandoverProgress(state=HandoverState.DONE, successor=int(pid)):
                self.main_pid(pid)
            case HandoverProgress(state=HandoverState.FAILED):
                self.ready()

    def close(self) -> None:
        """Send what a full socket did not take, and close the socket: nothing more is sent."""
        if self._unsent:
            self._channel.send_when_room(self._unsent, CLOSE_TIMEOUT)
            self._unsent = None
        self._channel.close()

    def intervened(self, step: Intervention) -> None: ...

    def began(self, progress: DrainProgress) -> None:
        self._report(progress)

    def progressed(self, progress: DrainProgress) -> None:
        self._report(progress)

    def cancelled(self) -> None:
        self.ready()

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._report(progress)

    def _report(self, progress: DrainProgress) -> None:
        status = f"STATUS={status_text(progress)}"
        if progress.cancellable:
            self._mention(status)
            return
        extension = f"EXTEND_TIMEOUT_USEC={EXTENSION * 1e6:.0f}"
        if self._stopping:
            self._mention(status, extension)
        else:
            self._stopping = True
            self._enter("STOPPING=1", status, extension)

    def _mention(self, *fields: str) -> None:
        """Send a message that the next one replaces: it may be lost."""
        if not self._succeeded:
            self._channel.send("\n".join(fields))

    def _enter(self, *fields: str) -> None:
        """Send a change of state: it must arrive, unless the next one comes first."""
        if not self._succeeded:
            self._unsent = "\n".join(fields)
            self._send_again()

    def _send_again(self) -> None:
        if self._unsent and not self._channel.send(self._unsent):
            self._later(RETRY, self._send_again)
        else:
            self._unsent = None

    def _beat(self) -> None:
        """Send the watchdog a sign of life, from the event loop alone, so that a loop that hangs is found."""
        if self._watchdog and not self._succeeded:
            self._channel.send("WATCHDOG=1")
            self._later(self._watchdog / 2, self._beat)


def status_text(progress: DrainProgress) -> str:
    """Describe a drain as it stands, in words for `systemctl status`."""
    if progress.phase is Phase.STOPPED:
        return f"stopped: {progress.left} clients left, {progress.forced + progress.aborted} closed by force"
    parts = [f"{progress.active} of {progress.started_with} clients connected"]
    parts.append(f"{_clock(progress.remaining_s)} remaining")
    if progress.eta_s is not None:
        parts.append(f"done in about {_clock(progress.eta_s)}")
    return f"{progress.phase}: {', '.join(parts)}"


def _clock(seconds: float) -> str:
    """Format seconds as `H:MM:SS`."""
    return str(timedelta(seconds=round(seconds)))


def _watchdog(environ: Mapping[str, str], pid: int, adopted: bool) -> float | None:
    """Return the seconds after which systemd takes this process for hung (sd_watchdog_enabled(3)); None:
    never."""
    given = environ.get("WATCHDOG_USEC", "")
    meant = adopted or environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return (int(given) / 1e6 or None) if meant and re.fullmatch("[0-9]{1,20}", given) else None


class _NotifySocket:
    """The socket of the service manager. `path` starts with `/`, or with `@` in the abstract namespace."""

    def __init__(self, path: str) -> None:
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket = None
        self._failed = False
        if path.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def close(self) -> None:
        if self._socket:
            self._socket.close()

    def send(self, message: str) -> bool:
        """Send at once or not at all; False where the socket was full, which passes."""
        try:
            if self._socket:
                self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.debug("systemd does not hear", extra={"fields": {"why": str(error)}})
            self._failed = True
            return error.errno not in FULL
        self._failed = False
        return True

    def send_when_room(self, message: str, patience: float) -> None:
        """Wait until the socket has room, `patience` seconds at most, and send."""
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.connect(self._address)  # only so can its room be waited for
                self._socket.settimeout(patience)
                self._socket.send(message.encode())
