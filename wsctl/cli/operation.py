"""A drain or an upgrade of a server, as an operation that takes long: shown while it lasts, and its result
waited for."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import typer

from wsctl.cli.ui.text import say
from wsctl.codes import ExitCode
from wsctl.errors import Silent, Unreachable, WsctlError

if TYPE_CHECKING:
    from wsctl.client.control import Answer

POLL_INTERVAL = 0.25
"""Seconds between two polls of the progress: as often as the server's own bar moves."""

RESULT_TIMEOUT = 10.0
"""Seconds that the result may be under way when the server answers nothing else."""


class OperationDisplay(Protocol):
    """The display of an operation."""

    def stop(self) -> None: ...


class PendingResult(threading.Thread):
    """Waits for the result of an operation, on a connection of its own that is made before that begins.

    `ask` waits for the server's answer, and calls its argument when the request is sent; `gone` is what a
    person is told when the server went away without one. A daemon, so that Ctrl-C does not wait for it.
    """

    def __init__(self, ask: "Callable[[Callable[[], object]], Answer]", gone: str) -> None:
        super().__init__(daemon=True)
        self.answer: Answer | None = None
        self.finished = threading.Event()
        self._asked = threading.Event()
        self._ask = ask
        self._gone = gone
        self.start()
        self._asked.wait(POLL_INTERVAL)

    def run(self) -> None:
        # A failure here is not told: the next poll of the server's status meets it too.
        with contextlib.suppress(WsctlError):
            self.answer = self._ask(self._asked.set)
        self.finished.set()

    def ask_again(self) -> "PendingResult":
        """Send the same request on another connection."""
        return PendingResult(self._ask, self._gone)

    def wait(self, patience: float = RESULT_TIMEOUT) -> "Answer":
        """Wait for the answer that is under way from a server that cannot be asked anything else."""
        self.finished.wait(patience)
        if not self.answer:
            raise WsctlError(self._gone)
        return self.answer


def follow(result: PendingResult, poll: "Callable[[PendingResult], Answer | None]") -> "Answer":
    """Return the result of an operation. Until it comes, `poll` is called every `POLL_INTERVAL` seconds;
    what it returns ends the waiting too. That the server is stopped is said once, and it is waited for."""
    silent = False
    while True:
        over = result.finished.wait(POLL_INTERVAL)
        if result.answer:
            return result.answer
        try:
            seen = poll(result)
        except Silent as error:
            if not silent:
                say(str(error))
            silent = True
            continue
        except Unreachable:
            return result.wait()
        silent = False
        if seen:
            return seen
        if over:  # something between us and the server does not let a request wait so long
            result = result.ask_again()


@contextlib.contextmanager
def interruptible(display: OperationDisplay, goes_on: str) -> Iterator[None]:
    """Take the display away, whatever happens; Ctrl-C ends the watching only, which is said with
    `goes_on`."""
    try:
        yield
    except KeyboardInterrupt:
        display.stop()
        say(goes_on)
        raise typer.Exit(ExitCode.OPERATOR) from None
    finally:
        display.stop()
