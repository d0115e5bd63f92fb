"""The registration of this process: its control socket and its record in the runtime folder, by which
commands find it."""

import logging
import os
import socket
import time
from collections.abc import Mapping

from wsctl.process.registry import ServerRecord, UnusableFolder, control_socket, runtime_folder

log = logging.getLogger("wsctl.server")


def open_control_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """Bind the control socket of this process; None, which is logged, if the runtime folder cannot be
    used."""
    try:
        return control_socket(runtime_folder(environ), os.getpid())
    except UnusableFolder as error:
        text = "no control socket: the commands will not find this server"
        log.warning(text, extra={"fields": {"why": str(error)}})
        return None


def record_of_process(
    at: str, control: socket.socket, *, generation: int = 1, parent: int | None = None
) -> ServerRecord:
    """Return the record of this process; `at` is its first address, a URL or unix:PATH."""
    uds = at.removeprefix("unix:") if at.startswith("unix:") else None
    return ServerRecord(
        os.getpid(),
        None if uds else at,
        uds,
        control.getsockname(),
        time.time(),
        generation=generation,
        parent=parent,
    )
