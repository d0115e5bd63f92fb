"""`wsctl serve`."""

import os
from typing import TYPE_CHECKING, Any

import typer

from wsctl.cli.options import settings_from, with_settings
from wsctl.cli.ui.text import say
from wsctl.errors import UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.server.workers.protocol import WorkerContext
    from wsctl.settings import Settings


@with_settings
def serve(**given: Any) -> None:
    """Run a server; on Ctrl-C or SIGTERM it waits for its clients to leave, and then ends."""
    from wsctl.process.job import job
    from wsctl.process.spawn import daemonize

    is_successor = daemonize(os.environ)
    try:
        settings = settings_from(given, os.environ)
    except UsageError as error:  # of a process that another has started: a file with a secret has changed
        if _refused(error):
            raise typer.Exit(error.exit_code) from None
        raise
    _check_secrets(settings)
    if settings.workers > 1:
        from wsctl.server.workers.protocol import receive_worker_context

        worker = receive_worker_context(os.environ)
        raise typer.Exit(_run_worker(settings, worker) if worker else _run_parent(settings))

    from wsctl.cli.ui.console import drain_display
    from wsctl.server import server_process

    ours = job(os.environ)
    with drain_display(settings, in_front=ours.line is not None or not is_successor) as shown:
        code = server_process.serve(
            settings,
            os.environ,
            shown.observers,
            lambda at: _print_addresses(at, settings.port),
            job=ours,
            handing_over=[shown.handing_over],
        )
    ours.end(code)
    raise typer.Exit(code)


def _run_parent(settings: "Settings") -> int:
    """Run the parent of several workers."""
    from wsctl.cli.ui.console import parent_display
    from wsctl.server.workers import parent

    with parent_display(settings) as (observers, log_output):
        return parent.serve(
            settings, os.environ, observers, log_output, lambda at: _print_addresses(at, settings.port)
        )


def _run_worker(settings: "Settings", worker: "WorkerContext") -> int:
    """Run one of several workers. The parent tells, once for all, what keeps it from starting."""
    from wsctl.cli.ui.console import worker_log
    from wsctl.server import server_process

    worker_log(settings, terminal=worker.terminal, colour=worker.colour)
    try:
        return server_process.serve(settings, os.environ, [], worker=worker)
    except WsctlError as error:
        worker.refuse(str(error))
        return error.exit_code


def _refused(error: UsageError) -> bool:
    """Tell the predecessor, and the parent of a worker, why this process cannot start; return whether there
    is one of them, which then logs it."""
    from wsctl.server.handover.protocol import receive_sockets
    from wsctl.server.workers.protocol import receive_worker_context

    starters = [each for each in (receive_sockets(os.environ), receive_worker_context(os.environ)) if each]
    for starter in starters:
        starter.refuse(str(error))
    return bool(starters)


def _check_secrets(settings: "Settings") -> None:
    """Warn of a password in `--redis`: everybody on a machine can read the command lines on it."""
    if settings.redis and settings.redis != os.environ.get("WSCTL_REDIS") and "@" in settings.redis:
        say("--redis: others can read a command line; put user and password into WSCTL_REDIS")


def _print_addresses(addresses: list[str], asked: int) -> None:
    """Print the addresses if the kernel picked the port, which the operator needs to know."""
    if asked == 0:
        print("\n".join(addresses), flush=True)
