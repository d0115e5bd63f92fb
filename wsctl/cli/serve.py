"""`wsctl serve`."""

import gc
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from wsctl.cli.options import settings_from, with_settings
from wsctl.cli.ui.text import say
from wsctl.codes import ExitCode
from wsctl.errors import WsctlError

if TYPE_CHECKING:
    from wsctl.server.starters import Starters
    from wsctl.server.workers.protocol import WorkerContext
    from wsctl.settings import Settings


GARBAGE = (10_000, 50, 100)
"""Thresholds of the garbage collector. Modules are no garbage, and looking through them at each of their
imports is a twentieth of a start; connections are freed by reference counts, so that cycles are rare."""


@with_settings
def serve(**given: Any) -> None:
    """Run a server; on Ctrl-C or SIGTERM it drains: clients may leave by themselves, then it ends."""
    gc.set_threshold(*GARBAGE)
    from wsctl.process.spawn import daemonize
    from wsctl.server.starters import Starters

    is_successor = daemonize(os.environ)
    starters = Starters(os.environ)
    settings = None
    try:
        settings = settings_from(given, os.environ)
        code = _run(settings, starters, is_successor=is_successor)
    except WsctlError as error:
        told = starters.refuse(error.lines)
        # A worker's parent tells it, once for all. So do all who start a process with wrong settings: a file
        # with a secret has changed. A reload is told of by the process that serves on.
        if told and (settings is None or settings.workers > 1 or settings.reload):
            raise typer.Exit(error.exit_code) from None
        raise
    raise typer.Exit(code)


def _run(settings: "Settings", starters: "Starters", *, is_successor: bool) -> int:
    from wsctl.process.spawn import RENEWAL_FD, TRIAL_FD

    if TRIAL_FD in os.environ:
        return _try_out_parent(settings)
    if RENEWAL_FD in os.environ:
        return _run_parent(settings)
    _check_secrets(settings)
    if settings.workers == 1:
        return _run_single(settings, starters, is_successor=is_successor)
    worker = starters.worker()
    return _run_worker(settings, starters, worker) if worker else _run_parent(settings)


def _run_single(settings: "Settings", starters: "Starters", *, is_successor: bool) -> int:
    """Run a server of one process, which has a place in the job of a shell."""
    from wsctl.cli.ui.console import drain_display
    from wsctl.process.job import job
    from wsctl.server.server_process import ServerProcess

    ours = job(os.environ, stays=settings.reload)
    with drain_display(settings, in_front=ours.line is not None or not is_successor) as shown:
        process = ServerProcess(
            settings,
            os.environ,
            shown.observers,
            partial(_print_addresses, settings),
            inherited=starters.inherited(),
            job=ours,
            handing_over=[shown.handing_over],
        )
        code = process.run()
    ours.end(code)
    return code


def _run_parent(settings: "Settings") -> int:
    """Run the parent of several workers."""
    from wsctl.cli.ui.console import parent_display
    from wsctl.server.workers import parent

    with parent_display(settings) as (observers, log_output):
        listening_at = partial(_print_addresses, settings)
        return parent.serve(settings, os.environ, observers, log_output, listening_at)


def _try_out_parent(settings: "Settings") -> int:
    """Show that this program could go on for the parent of several workers that has started it."""
    import wsctl.cli.ui.drain_bar  # noqa: F401 - what a parent needs, also at a terminal
    from wsctl.server.workers import parent

    parent.try_out(settings, os.environ)
    return ExitCode.DONE


def _run_worker(settings: "Settings", starters: "Starters", worker: "WorkerContext") -> int:
    """Run one of several workers."""
    from wsctl.cli.ui.console import worker_log
    from wsctl.server.server_process import ServerProcess

    worker_log(settings, terminal=worker.terminal, colour=worker.colour)
    return ServerProcess(settings, os.environ, [], inherited=starters.inherited(), worker=worker).run()


def _check_secrets(settings: "Settings") -> None:
    """Warn of a password in `--redis`: everybody on a machine can read the command lines on it."""
    from wsctl.server.logs import tolerate_lost_reader

    if settings.redis and settings.redis != os.environ.get("WSCTL_REDIS") and "@" in settings.redis:
        with tolerate_lost_reader(sys.stderr):
            say("--redis: others can read a command line; put user and password into WSCTL_REDIS")


def _print_addresses(settings: "Settings", addresses: list[str], admin: list[str]) -> None:
    """Print the addresses if the kernel picked the port, which the operator needs to know; those of the admin
    address come last."""
    from wsctl.server.logs import tolerate_lost_reader

    shown = [*(addresses if settings.port == 0 else ()), *(admin if settings.admin_port == 0 else ())]
    if shown:
        with tolerate_lost_reader(sys.stdout):
            print("\n".join(shown), flush=True)
