"""`wsctl drain`."""

import contextlib
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.options import Json, Port, Url, seconds
from wsctl.cli.ui.printable import say
from wsctl.codes import ExitCode
from wsctl.errors import Unreachable, UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.cli.ui.drain_bar import DrainBar, DrainLines
    from wsctl.client.control import Answer, Control

POLL = 0.25
"""Seconds between two looks at the drain: as often as the server's own bar moves."""

LAST_WORD = 10.0
"""Seconds that the answer at the drain's end may be under way when the server answers nothing else."""

_CANCELLED = "the drain was cancelled from elsewhere: the server goes on"
_GONE = "the server went away before it told how its drain ended: was it killed? its log knows"
_GOES_ON = "the drain goes on: 'wsctl drain' shows it again, 'wsctl drain --cancel' ends it"


def drain(
    *,
    timeout: Annotated[
        float | None, seconds("--timeout", "Longest drain, from now; the server's own unless given.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the drain: back to serving.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Drain a server, or move the deadline of its drain, and show it to its end.

    The server takes no new clients, those it has may leave by themselves, then it ends.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find

    if cancel and timeout is not None:
        raise UsageError("--cancel ends a drain and --timeout moves its deadline: give one of them")
    control = Control(find(url, port, os.environ))
    if cancel:
        _print(control.cancel(), as_json, "drain cancelled")
        return
    if no_wait:
        begun = control.drain(timeout)
        _print(begun, as_json, _standing(begun))
        return
    raise typer.Exit(_report(_begin_and_wait(control, timeout), as_json))


def _begin_and_wait(control: "Control", timeout: float | None) -> "Answer":
    """Show the drain until it has ended; the server's answer then."""
    from wsctl.client.control import drain_progress

    # The question for the end is asked first: the end can come as soon as the drain begins.
    end = _End(control)
    begun = control.drain(timeout)
    first = drain_progress(begun["drain"])
    if first.phase == "stopped":  # nobody was connected
        return {"drain": begun["drain"], "exit_code": ExitCode.DONE}
    shown = _display()
    try:
        shown.began(first)
        return _watch(control, end, shown)
    except KeyboardInterrupt:
        shown.stop()
        say(_GOES_ON)
        raise typer.Exit(ExitCode.OPERATOR) from None
    finally:
        shown.stop()


def _watch(control: "Control", end: "_End", shown: "DrainBar | DrainLines") -> "Answer":
    from wsctl.client.control import drain_progress

    while True:
        over = end.came.wait(POLL)
        if end.answer:
            return end.answer
        try:
            standing = control.status()["drain"]
        except Unreachable:
            return end.last_word()
        if not standing:
            return {"drain": None, "exit_code": ExitCode.DONE}
        shown.progressed(drain_progress(standing))
        if over:  # something between us and the server does not let a request wait so long
            end = _End(control)


class _End(threading.Thread):
    """Waits for the drain's end, on a connection of its own.

    A daemon, so that Ctrl-C does not wait for it.
    """

    def __init__(self, control: "Control") -> None:
        super().__init__(daemon=True)
        self.answer: Answer | None = None
        self.came = threading.Event()
        self._asked = threading.Event()
        self._control = control
        self.start()
        self._asked.wait(POLL)

    def run(self) -> None:
        # A failure here is not told: the next look at the server's status meets it too.
        with contextlib.suppress(WsctlError):
            self.answer = self._control.wait_drained(self._asked.set)
        self.came.set()

    def last_word(self) -> "Answer":
        """The answer that is under way from a server that has ended."""
        self.came.wait(LAST_WORD)
        if not self.answer:
            raise WsctlError(_GONE)
        return self.answer


def _display() -> "DrainBar | DrainLines":
    from wsctl.cli.ui.drain_bar import DrainBar, DrainLines
    from wsctl.cli.ui.terminal import console, is_live

    return DrainBar(console(sys.stderr)) if is_live(sys.stderr) else DrainLines(sys.stderr)


def _standing(answer: "Answer") -> str:
    from wsctl.cli.ui.drain_bar import standing
    from wsctl.client.control import drain_progress

    return standing(drain_progress(answer["drain"]))


def _report(end: "Answer", as_json: bool) -> ExitCode:
    """Print how it ended; the exit code that says the same."""
    from wsctl.cli.ui.drain_bar import outcome
    from wsctl.client.control import drain_progress

    if end["drain"] is None or end["drain"]["phase"] != "stopped":
        if as_json:
            _print(end, as_json, "")
        raise WsctlError(_CANCELLED)
    _print(end, as_json, outcome(drain_progress(end["drain"])))
    return ExitCode.DONE if end["exit_code"] == ExitCode.DONE else ExitCode.FORCED


def _print(answer: "Answer", as_json: bool, text: str) -> None:
    print(json.dumps(answer) if as_json else text, flush=True)
