"""`wsctl upgrade`."""

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.operation import PendingResult, follow, interruptible
from wsctl.cli.options import Json, Port, Url
from wsctl.cli.ui.text import say
from wsctl.errors import WsctlError

if TYPE_CHECKING:
    from wsctl.cli.ui.handover_bar import HandoverBar, HandoverLines
    from wsctl.client.control import Answer, Control

UNSEEN = 60.0
"""The longest wait, in seconds, for the end of a move that cannot be watched, because the successor has the
address by then: many times what moving as many clients as one process can hold takes."""

_GONE = "the server went away before it told how the upgrade ended: 'wsctl status' shows who serves now"
_GOES_ON = "the upgrade goes on: 'wsctl status' shows it"


def upgrade(
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Replace a running server by a fresh process, and show the progress.

    Clients keep their connections. Those that cannot move drain in the old process.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find_target

    control = Control(find_target(url, port, os.environ), waiting=say)
    _report(control.upgrade() if no_wait else _begin_and_wait(control), as_json)


def _begin_and_wait(control: "Control") -> "Answer":
    """Show the upgrade until it has ended; returns the server's answer then."""
    from wsctl.client.control import handover_progress

    # The question for the end is asked first: the old process may end with the upgrade.
    result = PendingResult(control.wait_upgraded, _GONE)
    begun = control.upgrade()
    if _has_ended(begun):
        return begun
    shown = _display()
    with interruptible(shown, _GOES_ON):
        shown.show(handover_progress(begun["upgrade"]))
        return follow(result, lambda result: _poll_upgrade(control, result, shown))


def _poll_upgrade(
    control: "Control", result: PendingResult, shown: "HandoverBar | HandoverLines"
) -> "Answer | None":
    """Show the upgrade as it stands; returns an answer when it has ended."""
    from wsctl.client.control import handover_progress

    facts = control.status()
    standing = (facts.get("group") or facts).get("upgrade")  # of one of several workers: that of all
    if standing is None:  # at an address it is the successor that answers by now
        return result.wait(UNSEEN)
    seen = {"upgrade": standing}
    if _has_ended(seen):
        return seen
    shown.show(handover_progress(standing))
    return None


def _has_ended(answer: "Answer") -> bool:
    from wsctl.client.control import handover_progress
    from wsctl.drain.progress import HandoverState

    return handover_progress(answer["upgrade"]).state in (HandoverState.DONE, HandoverState.FAILED)


def _display() -> "HandoverBar | HandoverLines":
    from wsctl.cli.ui.handover_bar import HandoverBar, HandoverLines
    from wsctl.cli.ui.streams import console, is_live

    return HandoverBar(console(sys.stderr)) if is_live(sys.stderr) else HandoverLines(sys.stderr)


def _report(answer: "Answer", as_json: bool) -> None:
    """Print how the upgrade ended, or how it stands when nobody waits for the end."""
    from wsctl.cli.ui.handover_bar import outcome, why
    from wsctl.client.control import handover_progress
    from wsctl.drain.progress import HandoverState

    progress = handover_progress(answer["upgrade"])
    failed = progress.state is HandoverState.FAILED
    if as_json:
        print(json.dumps(answer["upgrade"]), flush=True)
    elif not failed:
        print(outcome(progress), flush=True)
    if failed:
        reason, *details = why(progress)
        raise WsctlError(f"the upgrade failed: {reason}; the server goes on", details)
