"""The application embedded in another ASGI server, the host, with the drain before that server's own end.

Stock uvicorn closes every WebSocket as soon as its signal handler has run. So the handlers are replaced once
it has set them, and called when the drain is over.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from wsctl.drain.observers import DrainLog
from wsctl.drain.signals import SignalAction, SignalRole
from wsctl.process.signals import SignalHandlers
from wsctl.server import logs
from wsctl.server.app import create_app
from wsctl.server.diagnostics.exposure import log_exposure, own_listeners
from wsctl.server.diagnostics.startup import log_embedded_startup
from wsctl.server.node import Node
from wsctl.server.openapi import Application
from wsctl.settings import Settings

PATIENCE = 2.0
"""Seconds that the host has to end once the drain is over. Only the host could abort a connection whose
buffer is full, and it waits for that one without end until a second signal forces it."""

ATTEMPTS = 10
"""Seconds for which the host's sockets are looked for: the host opens them as soon as the application is
there."""

ISOLATED_WARNING = (
    "several workers of this server share no messages: what a client sends reaches only clients of the same "
    "worker; set WSCTL_REDIS, or run one worker, or 'wsctl serve --workers N', whose workers are one server"
)
"""The warning of workers that know nothing of each other's clients, which is logged once."""

log = logging.getLogger("wsctl.server")


def create_embedded_app(settings: Settings, environ: Mapping[str, str]) -> FastAPI:
    """Create the application whose lifespan runs the drain."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with run_embedded(app.state.node, environ):
            yield

    return create_app(Node(settings, [DrainLog()]), lifespan, kind=EmbeddedApplication)


@asynccontextmanager
async def run_embedded(node: Node, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Run a node within another ASGI server, with its drain before that server's own end."""
    settings = node.settings
    _configure_log(settings)
    logs.filter_secrets()
    if _several_workers(environ) and settings.redis is None:
        log.warning("%s", ISOLATED_WARNING)
    if _is_first():
        host = multiprocessing.parent_process()
        await asyncio.to_thread(log_embedded_startup, settings, environ, host.pid if host else None)
    await node.open()
    node.hosts.on_loopback = _on_loopback
    node.ticker.jobs.append(_ExposureWarning(settings).check)
    async with node.running():
        if not node.driver.stopped.is_set():
            node.started()
        with _SignalChain(node):
            yield


class EmbeddedApplication(Application):
    """The application, which lowers uvicorn's limit of a message to `--max-message-size`.

    uvicorn gathers a whole message before it hands it over, 16 MiB unless its `--ws-max-size` says less: so
    much would be held for each client that sends slowly. Other hosts do not show their limit.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            node: Node = self.state.node
            _lower_limit(receive, node.settings.max_message_size)
        await super().__call__(scope, receive, send)


def _lower_limit(receive: Receive, most: int) -> None:
    """Lower uvicorn's limit of a message to `most` bytes; 0 leaves it as it is. `receive` belongs to an
    object that has uvicorn's configuration, which each new connection reads."""
    config: Any = getattr(getattr(receive, "__self__", None), "config", None)
    theirs = getattr(config, "ws_max_size", None)
    if most and isinstance(theirs, int) and theirs > most:
        config.ws_max_size = most


def _several_workers(environ: Mapping[str, str]) -> bool:
    """Tell whether the host runs several workers: uvicorn's are spawned children of its parent, gunicorn's
    and others tell by WEB_CONCURRENCY."""
    asked = environ.get("WEB_CONCURRENCY", "1")
    spawned = multiprocessing.parent_process() is not None and "--reload" not in sys.argv
    return spawned or (asked.isdecimal() and int(asked) > 1)


def _is_first() -> bool:
    """Tell whether this is the first of the host's processes, which logs for all."""
    return not multiprocessing.parent_process() or multiprocessing.current_process().name.endswith("-1")


def _configure_log(settings: Settings) -> None:
    """Write our log beside the host's, unless the host has configured our logger itself."""
    logger = logging.getLogger("wsctl")
    if not logger.handlers and not logging.getLogger().handlers:
        logger.addHandler(logs.stream_handler(sys.stderr, settings.log_format, colour=False))
        logger.propagate = False
    logger.setLevel(settings.log_level.upper())


@lru_cache(1)
def _on_loopback() -> bool:
    """Tell whether the host listens on nothing but loopback and Unix sockets; looked up when the first
    request has come: then its sockets are there."""
    return own_listeners() == []


class _ExposureWarning:
    """The warning, given once, that a server which lets everybody in listens for other machines. A host opens
    its sockets after the application has started, and does not tell it which."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._attempts_left = ATTEMPTS if settings.auth == "none" else 0

    def check(self, now: float) -> None:
        """Look for the host's sockets, once a second until they are there or `ATTEMPTS` seconds have
        passed."""
        if not self._attempts_left:
            return
        self._attempts_left -= 1
        if (found := own_listeners()) is not None:
            self._attempts_left = 0
            log_exposure(self._settings, found)


class _SignalChain:
    """The signal handlers in front of the host's while the application runs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._handlers = SignalHandlers(SignalRole.EMBEDDED, {SignalAction.END: node.driver.signal})
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._handlers.install()
        self._watch = asyncio.create_task(self._hand_back())

    def __exit__(self, *_: object) -> None:
        if self._watch:
            self._watch.cancel()
        self._handlers.give_back()

    async def _hand_back(self) -> None:
        """Let the host end when the drain is over, without waiting for the connections that do not answer."""
        await self._node.driver.stopped.wait()
        self._node.manager.abort_closing()
        await asyncio.sleep(0)  # until their ends are told
        self._node.driver.conclude()
        first = self._handlers.first or signal.SIGTERM
        if not self._handlers.call_host(first) and not self._handlers.call_host(signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        await asyncio.sleep(PATIENCE)  # cancelled when the host ends before
        self._handlers.call_host(signal.SIGINT)
