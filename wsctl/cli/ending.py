"""A drain or an upgrade of a server: shown while it lasts, and its end waited for."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import typer

from wsctl.cli.ui.printable import say
from wsctl.codes import ExitCode
from wsctl.errors import Silent, Unreachable, WsctlError

if TYPE_CHECKING:
    from wsctl.client.control import Answer

POLL = 0.25
"""Seconds between two looks at the progress: as often as the server's own bar moves."""

LAST_WORD = 10.0
"""Seconds that the answer at the end may be under way when the server answers nothing else."""


class Shown(Protocol):
    """The display of what goes on."""

    def stop(self) -> None: ...


class End(threading.Thread):
    """Waits for the end, on a connection of its own that is made before the drain or upgrade begins.

    `ask` waits for the server's answer, and calls what it is given when the question is sent; `gone` is
    what a person is told when the server went away without one. A daemon, so that Ctrl-C does not wait
    for it.
    """

    def __init__(self, ask: "Callable[[Callable[[], object]], Answer]", gone: str) -> None:
        super().__init__(daemon=True)
        self.answer: Answer | None = None
        self.came = threading.Event()
        self._asked = threading.Event()
        self._ask = ask
        self._gone = gone
        self.start()
        self._asked.wait(POLL)

    def run(self) -> None:
        # A failure here is not told: the next look at the server's status meets it too.
        with contextlib.suppress(WsctlError):
            self.answer = self._ask(self._asked.set)
        self.came.set()

    def again(self) -> "End":
        """Send the same request on another connection."""
        return End(self._ask, self._gone)

    def last_word(self, patience: float = LAST_WORD) -> "Answer":
        """Wait for the answer that is under way from a server that cannot be asked anything else."""
        self.came.wait(patience)
        if not self.answer:
            raise WsctlError(self._gone)
        return self.answer


def follow(end: End, look: "Callable[[End], Answer | None]") -> "Answer":
    """Return the server's answer at the end. Until it comes, `look` is called every `POLL` seconds; what it
    returns ends the waiting too. That the server is stopped is said once, and it is waited for."""
    silent = False
    while True:
        over = end.came.wait(POLL)
        if end.answer:
            return end.answer
        try:
            seen = look(end)
        except Silent as error:
            if not silent:
                say(str(error))
            silent = True
            continue
        except Unreachable:
            return end.last_word()
        silent = False
        if seen:
            return seen
        if over:  # something between us and the server does not let a request wait so long
            end = end.again()


@contextlib.contextmanager
def interruptible(shown: Shown, goes_on: str) -> Iterator[None]:
    """Take away what is shown, whatever happens; Ctrl-C ends the watching only, which is said with
    `goes_on`."""
    try:
        yield
    except KeyboardInterrupt:
        shown.stop()
        say(goes_on)
        raise typer.Exit(ExitCode.OPERATOR) from None
    finally:
        shown.stop()
