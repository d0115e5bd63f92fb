"""`wsctl drain`."""

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.operation import PendingResult, follow, interruptible
from wsctl.cli.options import Json, Port, Url, seconds
from wsctl.cli.ui.text import say
from wsctl.codes import ExitCode
from wsctl.errors import UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.cli.ui.drain_bar import DrainBar, DrainLines
    from wsctl.client.control import Answer, Control

_CANCELLED = "the drain was cancelled from elsewhere: the server goes on"
_GONE = "the server went away before it told how its drain ended: see its log, it may have been killed"
_WATCHING = "Ctrl-C: stop watching, the drain goes on"
_GOES_ON = (
    "the drain goes on: 'wsctl drain' shows it again, "
    "'wsctl drain --cancel' takes it back: then the server goes on serving"
)


def drain(
    *,
    timeout: Annotated[
        float | None,
        seconds(
            "--timeout",
            "Longest drain, after any --drain-delay; the server's --shutdown-timeout unless given.",
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the drain; the server serves again.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Drain a server, or move the deadline of its drain, and show the progress.

    The server takes no new clients, lets the connected ones leave by themselves, and then ends.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find_target

    if cancel and timeout is not None:
        raise UsageError("--cancel ends a drain and --timeout moves its deadline: give one of them")
    control = Control(find_target(url, port, os.environ), waiting=say)
    if cancel:
        _print(control.cancel(), as_json, "drain cancelled")
        return
    if no_wait:
        begun = control.drain(timeout)
        _name_silent(begun)
        _print(begun, as_json, _standing(begun))
        return
    raise typer.Exit(_report(_begin_and_wait(control, timeout), as_json))


def _begin_and_wait(control: "Control", timeout: float | None) -> "Answer":
    """Show the drain until it has ended; returns the server's answer then."""
    from wsctl.client.control import drain_progress

    # The question for the end is asked first: the end can come as soon as the drain begins.
    result = PendingResult(control.wait_drained, _GONE)
    begun = control.drain(timeout)
    _name_silent(begun)
    first = drain_progress(begun["drain"])
    if first.phase == "stopped":  # nobody was connected, or all were closed at once
        code = ExitCode.FORCED if first.forced + first.aborted else ExitCode.DONE
        return {"drain": begun["drain"], "exit_code": code}
    shown = _display()
    with interruptible(shown, _GOES_ON):
        shown.began(first)
        return follow(result, lambda _: _poll_drain(control, shown))


def _name_silent(begun: "Answer") -> None:
    for worker in begun.get("silent") or ():
        say(f"worker {worker['number']} (pid {worker['pid']}) did not answer: it drains when it goes on")


def _poll_drain(control: "Control", shown: "DrainBar | DrainLines") -> "Answer | None":
    """Show the drain as it stands; returns an answer when there is none any more."""
    from wsctl.client.control import drain_progress

    facts = control.status()
    standing = (facts.get("group") or facts)["drain"]  # of one of several workers: that of all
    if not standing:
        return {"drain": None, "exit_code": ExitCode.DONE}
    shown.progressed(drain_progress(standing))
    return None


def _display() -> "DrainBar | DrainLines":
    from wsctl.cli.ui.drain_bar import DrainBar, DrainLines
    from wsctl.cli.ui.streams import console, is_live

    return (
        DrainBar(console(sys.stderr), lambda _: _WATCHING) if is_live(sys.stderr) else DrainLines(sys.stderr)
    )


def _standing(answer: "Answer") -> str:
    from wsctl.cli.ui.drain_bar import standing
    from wsctl.client.control import drain_progress

    return standing(drain_progress(answer["drain"]))


def _report(end: "Answer", as_json: bool) -> ExitCode:
    """Print how the drain ended; returns the exit code that says the same."""
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
