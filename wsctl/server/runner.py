"""`wsctl serve`: uvicorn's server with our signals, our end and our sockets.

Stock uvicorn answers a signal by closing every WebSocket. Here its main loop goes on during the
drain, and it is let go only when `DrainDriver` says that the server has stopped.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import uvicorn
import uvloop

from wsctl.codes import ExitCode
from wsctl.errors import CannotStart
from wsctl.lifecycle.driver import DrainObserver
from wsctl.lifecycle.runtime import ServerRecord, UnusableFolder, announced, control_socket, runtime_folder
from wsctl.server.app import create_app
from wsctl.server.door import Lobby
from wsctl.server.entrance import Entrance
from wsctl.server.http import HEAD_TIMEOUT, HttpProtocol
from wsctl.server.node import Node
from wsctl.server.proxy import Forwarded
from wsctl.server.sockets import address, listeners
from wsctl.settings import Settings

LAST_ANSWERS = 0.1
"""Seconds that HTTP requests under way have to be answered when everything else has ended."""

log = logging.getLogger("wsctl.server")


class Runner(uvicorn.Server):
    """One server process: `listening` is what clients reach, `control` what operators reach."""

    def __init__(
        self,
        config: uvicorn.Config,
        node: Node,
        listening: Sequence[socket.socket],
        control: socket.socket | None,
        when_listening: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._when_listening = when_listening
        self._node = node
        self._listening = listening
        self._control = control
        self._entrance = Entrance(node, Forwarded(config), config.root_path)
        node.each_second.append(self._check_requests)

    async def run_until_stopped(self) -> ExitCode:
        """Serve until the drain has ended; returns what the process should end with."""
        await self._serve()
        return self._node.life.exit_code

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the drain's here, and are not raised again afterwards."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._take_signals()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise CannotStart("the application failed to start: see the log above")
        self.servers = [await self._listen(sock, control=False) for sock in self._listening]
        if self._control:
            self.servers.append(await self._listen(self._control, control=True))
        self.started = True
        self._when_listening()
        _spare_the_collector()
        if not self._node.driver.stopped.is_set():
            self._node.life.started()

    async def main_loop(self) -> None:
        while not self._node.driver.stopped.is_set():
            await self.on_tick(0)  # once a second: the Date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._node.driver.stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._node.turnaway.drop_all()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_ANSWERS)
        self._node.manager.abort_closing()
        await self.lifespan.shutdown()

    async def _listen(self, sock: socket.socket, *, control: bool) -> asyncio.Server:
        config = self.config

        def http(since: float) -> HttpProtocol:
            return HttpProtocol(
                self._entrance,
                since=since,
                control=control,
                config=config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        requests = cast(set[object], self.server_state.connections)
        lobby = Lobby(self._node, self._entrance, http, requests, control=control)
        self._node.each_second.append(lobby.check)
        tls: dict[str, Any] = {} if control or not config.ssl else {"ssl_handshake_timeout": HEAD_TIMEOUT}
        return await asyncio.get_running_loop().create_server(
            lobby.door, sock=sock, backlog=config.backlog, ssl=None if control else config.ssl, **tls
        )

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._node.driver.signal, signum)
        loop.add_signal_handler(signal.SIGUSR1, self._log_status)

    def _log_status(self) -> None:
        status = self._node.status()
        drain = status.pop("drain") or {}
        log.info("status", extra={"fields": {**status, **drain}})

    def _check_requests(self, now: float) -> None:
        for connection in list(self.server_state.connections):
            cast(HttpProtocol, connection).check(now)


def _spare_the_collector() -> None:
    """Keep the collector's oldest generation from stopping the server.

    What was made at the start lives to the end and need not be looked at again; connections are freed by
    reference counts, so that cycles to collect are rare, and rare collections are enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def serve(
    settings: Settings,
    environ: Mapping[str, str],
    observers: Sequence[DrainObserver],
    listening_at: Callable[[list[str]], None] = lambda addresses: None,
) -> ExitCode:
    """Run one server to its end. `listening_at` is told the addresses once they take connections.

    Raises:
        CannotStart: there is no socket or certificate to start with.
    """
    node = Node(settings, observers)
    config = _config(settings, node)
    sockets = listeners(settings, environ)
    control = _control(environ)
    addresses = [address(sock, config.is_ssl) for sock in sockets]
    with contextlib.ExitStack() as stack:
        if settings.uds:
            stack.callback(_remove, settings.uds)

        def announce() -> None:
            if control:
                stack.enter_context(announced(_record(addresses[0], control)))
            for at in addresses:
                log.info("serving", extra={"fields": {"url": at}})
            listening_at(addresses)

        runner = Runner(config, node, sockets, control, announce)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            return loop.run(runner.run_until_stopped())


def _control(environ: Mapping[str, str]) -> socket.socket | None:
    try:
        return control_socket(runtime_folder(environ), os.getpid())
    except UnusableFolder as error:
        log.warning(
            "no control socket: the commands will not find this server", extra={"fields": {"why": str(error)}}
        )
        return None


def _config(settings: Settings, node: Node) -> uvicorn.Config:
    config = uvicorn.Config(
        create_app(node),
        http="h11",
        ws="websockets-sansio",  # never used: HttpProtocol takes every upgrade
        backlog=settings.backlog,
        log_config=None,
        access_log=settings.access_log,
        proxy_headers=settings.proxy_headers,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        root_path=settings.root_path,
        server_header=False,
        workers=1,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"--ssl-certfile {settings.ssl_certfile}: {error.strerror or error}") from None
    return config


def _record(at: str, control: socket.socket) -> ServerRecord:
    uds = at.removeprefix("unix:") if at.startswith("unix:") else None
    return ServerRecord(os.getpid(), None if uds else at, uds, control.getsockname(), time.time())


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
