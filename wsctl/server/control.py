"""What makes a process of ours findable: its control socket and its record in the runtime folder."""

import logging
import os
import socket
import time
from collections.abc import Mapping

from wsctl.lifecycle.runtime import ServerRecord, UnusableFolder, control_socket, runtime_folder

log = logging.getLogger("wsctl.server")


def own_control_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """This process's, bound; None, which is logged, where the folder cannot be used."""
    try:
        return control_socket(runtime_folder(environ), os.getpid())
    except UnusableFolder as error:
        text = "no control socket: the commands will not find this server"
        log.warning(text, extra={"fields": {"why": str(error)}})
        return None


def own_record(
    at: str, control: socket.socket, *, generation: int = 1, parent: int | None = None
) -> ServerRecord:
    """What this process says of itself. `at` is its first address."""
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
