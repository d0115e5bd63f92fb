"""The ways to start a server, for tests that hold for each."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import StartServer
from tests.support.server import WSCTL, ServerProcess

TOKEN = "a-token-for-tests"
Way = Callable[..., ServerProcess]


def script(start: StartServer, *flags: str) -> ServerProcess:
    """The `wsctl` that pip installed."""
    command = (str(Path(sys.executable).parent / "wsctl"), "serve", "--port", "0")
    return start(*flags, command=command, env={"WSCTL_TOKEN": TOKEN})


def module(start: StartServer, *flags: str) -> ServerProcess:
    """`python -m wsctl`."""
    return start(*flags, env={"WSCTL_TOKEN": TOKEN})


def embedded(start: StartServer, *flags: str) -> ServerProcess:
    """The application under plain uvicorn, its settings as variables."""
    env = {"WSCTL_TOKEN": TOKEN}
    for name, value in zip(flags[::2], flags[1::2], strict=True):
        env["WSCTL_" + name.removeprefix("--").replace("-", "_").upper()] = value
    command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--http", "h11", "--port", "0")
    return start(command=command, env=env, serving=r"running on (\S+)")


def descriptor(start: StartServer, *flags: str) -> ServerProcess:
    """A listening socket that is inherited."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        fd = os.dup(listening.fileno())
    try:
        command = (*WSCTL, "serve", "--fd", str(fd))
        return start(*flags, command=command, pass_fds=(fd,), env={"WSCTL_TOKEN": TOKEN})
    finally:
        os.close(fd)


ALL: list[Way] = [script, module, embedded, descriptor]
FORKED: list[Way] = [module, embedded, descriptor]
"""Without the script, which starts cold: for what comes long after the start."""

OURS: list[Way] = [script, module, descriptor]


def as_operator(server: ServerProcess, method: str, path: str, body: object = None) -> tuple[int, object]:
    """A control request that every way understands: over HTTP with the token."""
    return server.http(method, path, body, {"authorization": f"Bearer {TOKEN}"})
