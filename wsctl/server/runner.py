"""`wsctl serve`: uvicorn's server with our own handling of signals, shutdown and sockets.

Stock uvicorn answers a signal by closing every WebSocket. Here its main loop goes on during the drain, and
ends only when `DrainDriver` says that the server has stopped.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI

from wsctl.codes import ExitCode
from wsctl.drain.graceful import NotDraining
from wsctl.drain.observers import DrainObserver
from wsctl.drain.progress import HandoverState
from wsctl.errors import CannotStart, WsctlError
from wsctl.ipc.handshake import HANDOVER_FD, JOB_FD
from wsctl.process.job import Job
from wsctl.process.registry import announced, remove_files, runtime_folder
from wsctl.process.replacement import restart_command, why_not_outlived
from wsctl.process.sd_notify import SystemdNotifier
from wsctl.process.signals import blocked_end_signals, end_signals
from wsctl.server.app import create_app
from wsctl.server.control import own_control_socket, own_record
from wsctl.server.credentials import require_same_kind
from wsctl.server.diagnostics.certificate import UnusableCertificate, read_certificate
from wsctl.server.diagnostics.exposure import exposed, log_exposure
from wsctl.server.diagnostics.startup import log_drain_advice, log_startup
from wsctl.server.handover.predecessor import Observer, Predecessor
from wsctl.server.handover.protocol import InheritedSockets, receive_sockets
from wsctl.server.handover.successor import Successor
from wsctl.server.handover.successor_process import Spawn
from wsctl.server.islands import islands, own_moments
from wsctl.server.listeners import Listeners
from wsctl.server.middleware import ClosingMiddleware
from wsctl.server.node import Node
from wsctl.server.proxy import ProxyHeadersMiddleware, trusted_proxies
from wsctl.server.sockets import PASSED_SOCKETS, address, open_listeners
from wsctl.server.websocket_acceptor import WebSocketAcceptor
from wsctl.server.workers.parent_link import ParentLink
from wsctl.server.workers.protocol import WorkerContext
from wsctl.server.workers.relay import LocalApi, relay_routes
from wsctl.settings import Settings

LAST_REQUESTS = 12.0
"""Seconds that a predecessor waits for requests under way, and for HTTP connections that cannot move: they
end by themselves after ten, or with their next answer."""

CHECK_INTERVAL = 0.02
"""Seconds between two checks whether such requests or connections are left."""

LAST_ANSWERS = 0.1
"""Seconds that HTTP requests under way have to be answered when everything else has ended."""

log = logging.getLogger("wsctl.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The sockets of a server process, and its ways to other processes.

    `public` are the sockets that clients reach, `control` is the one that operators reach; `inherited` is
    there in a successor, and `spawn` starts a successor of this process; `handing_over` are told how a
    handover goes. `parent_link` leads to the parent of a worker, whose questions `local_api` answers.
    `on_control_ready` is called when operators can reach the server, `on_listening` when clients can. `job`
    is its part in a shell's job; None of a worker. `clean_up` is called with the pid of a successor that was
    killed, `on_signals_handled` when there are handlers for the signals that end this process.
    """

    public: Sequence[socket.socket]
    control: socket.socket | None
    inherited: InheritedSockets | None
    spawn: Spawn
    handing_over: Sequence[Observer]
    parent_link: ParentLink | None
    local_api: LocalApi
    job: Job | None
    clean_up: Callable[[int], None]
    on_signals_handled: Callable[[], None]
    on_control_ready: Callable[[], None]
    on_listening: Callable[[], None]


class Runner(uvicorn.Server):
    """One server process."""

    def __init__(self, config: uvicorn.Config, node: Node, context: ServerContext) -> None:
        super().__init__(config)
        self._node = node
        self._context = context
        local = not exposed(context.public)
        node.hosts.on_loopback = lambda: local
        self._acceptor = WebSocketAcceptor(node, trusted_proxies(node.settings), config.root_path)
        self._listeners: Listeners
        self._handover: Predecessor
        self._successor: Successor | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def run_until_stopped(self) -> ExitCode:
        """Serve until the drain has ended; returns the exit code of the process."""
        await self._serve()
        return self._node.life.exit_code

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the drain; they are not raised again afterwards."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._handle_signals()
        await self._node.open()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise CannotStart("the application failed to start: see the log above")
        self._create_collaborators()
        if self._context.parent_link:
            self._context.parent_link.connect(self._node, self._context.local_api.answer)
        await self._listeners.open_control()
        _spare_the_collector()
        if self._context.inherited:
            await self._take_over(self._context.inherited)
        else:
            await self._listeners.open()
            self._context.on_control_ready()
            self._context.on_listening()
        self.started = True
        if not self._node.driver.stopped.is_set():
            self._node.started()
            if self._context.parent_link:
                self._context.parent_link.send_report()
            if self._successor:
                # Until everything has arrived, a signal must not end the process, nor a drain begin.
                self._node.driver.begin_handover()
                self._settling = asyncio.create_task(self._settle(self._successor))

    async def main_loop(self) -> None:
        while not self._node.driver.stopped.is_set():
            await self.on_tick(0)  # once a second: the Date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._node.driver.stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._last_requests()
        await self._answer()  # a successor or Redis may still have to confirm messages
        await self._handover.finish()
        self._listeners.close()
        self._node.drain_rejector.drop_all()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._answer()
        self._node.manager.abort_closing()
        await self.lifespan.shutdown()
        self._node.driver.conclude()
        # Without an answer: requests that are cut off now may have been carried out.
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _last_requests(self) -> None:
        """Answer the requests that have arrived here; their connections then go to the successor, or end with
        an answer that says so."""
        if self._handover.leaving and self._context.parent_link:
            await self._context.parent_link.finish_calls()
        until = self._node.clock() + LAST_REQUESTS
        while self._handover.leaving and self._node.clock() < until:
            self._handover.move_idle()
            if not self._listeners.awaited():
                return
            await asyncio.sleep(CHECK_INTERVAL)

    async def _answer(self) -> None:
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_ANSWERS)

    def _create_collaborators(self) -> None:
        context = self._context
        self._listeners = Listeners(
            self._node,
            self._acceptor,
            self.config,
            self.server_state,
            self.lifespan.state,
            public=context.public,
            control=context.control,
            balancer=context.parent_link.balancer if context.parent_link else None,
        )
        self._handover = Predecessor(
            self._node,
            self._listeners,
            context.spawn,
            observers=context.handing_over,
            obstacle=self._obstacle,
            clean_up=context.clean_up,
        )
        self._node.handover = self._handover

    def _obstacle(self) -> str | None:
        if self._successor and not self._successor.alone:
            return (
                "the process before this one still drains: 'wsctl status' shows it, wait until it has ended"
            )
        return None if self._context.parent_link else why_not_outlived()

    async def _take_over(self, inherited: InheritedSockets) -> None:
        """Take over from the predecessor. Returns as soon as this process has the log; what follows goes on
        beside it."""
        self._successor = successor = Successor(
            self._node, inherited.channel, self._listeners.detector, self._listeners.detector_of_reused
        )
        self._node.each_second.append(successor.check)
        successor.ready()
        await _first(successor.begun, self._node.driver.stopped)
        self._context.on_control_ready()
        self._waiting = asyncio.create_task(self._listen_after(successor))

    async def _settle(self, successor: Successor) -> None:
        await successor.settled.wait()
        self._node.driver.abort_handover()

    async def _listen_after(self, successor: Successor) -> None:
        await successor.may_listen.wait()
        await self._listeners.open()
        self._context.on_listening()
        successor.listening()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in end_signals():
            loop.add_signal_handler(signum, self._end, signum)
        loop.add_signal_handler(signal.SIGUSR1, self._log_status)
        loop.add_signal_handler(signal.SIGUSR2, self._hand_over)
        self._context.on_signals_handled()
        if self._context.job and self._context.job.line:
            self._watch(self._context.job.line)

    def _end(self, signum: int) -> None:
        self._node.driver.signal(signum)
        if self._context.job:
            # A terminal has told all of its job at once: twice SIGTERM changes nothing, twice SIGINT may.
            self._context.job.pass_on(signal.SIGTERM)

    def _watch(self, line: socket.socket) -> None:
        """Begin to drain when the process that a shell waits for is gone: whoever ends it means the
        server."""

        def hung_up() -> None:
            asyncio.get_running_loop().remove_reader(line)
            log.warning("the process that the shell waits for is gone: this server drains")
            self._node.driver.signal(signal.SIGHUP)

        asyncio.get_running_loop().add_reader(line, hung_up)

    def _log_status(self) -> None:
        status = self._node.status()
        drain = status.pop("drain") or {}
        log.info("status", extra={"fields": {**status, **drain}})

    def _hand_over(self) -> None:
        if self._context.job and self._context.job.pass_on(signal.SIGUSR2):
            return
        try:
            self._handover.begin("SIGUSR2")
        except NotDraining as error:
            log.warning("no handover now", extra={"fields": {"why": str(error)}})


def _spare_the_collector() -> None:
    """Keep the collector's oldest generation from stopping the server.

    What was made at the start lives to the end and need not be looked at again; connections are freed by
    reference counts, so that cycles to collect are rare, and rare collections are enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for wait in waiting:
        wait.cancel()


def serve(
    settings: Settings,
    environ: Mapping[str, str],
    observers: Sequence[DrainObserver],
    listening_at: Callable[[list[str]], None] = lambda addresses: None,
    *,
    worker: WorkerContext | None = None,
    job: Job | None = None,
    handing_over: Sequence[Observer] = (),
) -> ExitCode:
    """Run one server to its end; returns the exit code. `listening_at` is told the addresses once they take
    connections; of a `worker` its parent is told. `handing_over` are told how a handover goes.

    Raises:
        CannotStart: there is no socket or certificate to start with.
    """
    inherited = receive_sockets(environ)
    if not inherited and not worker:
        log_startup(settings, environ)
    try:
        return _serve(
            settings,
            environ,
            observers,
            listening_at,
            inherited=inherited,
            worker=worker,
            job=job,
            handing_over=handing_over,
        )
    except WsctlError as error:
        if inherited:
            inherited.refuse(str(error))
        raise


def _serve(
    settings: Settings,
    environ: Mapping[str, str],
    observers: Sequence[DrainObserver],
    listening_at: Callable[[list[str]], None],
    *,
    inherited: InheritedSockets | None,
    worker: WorkerContext | None,
    job: Job | None,
    handing_over: Sequence[Observer],
) -> ExitCode:
    adopted = inherited is not None
    notifier = SystemdNotifier(environ, os.getpid(), _call_later, adopted=adopted)
    parent_link = ParentLink(worker) if worker else None
    shown_by = [*observers, notifier, *([parent_link] if parent_link else [])]
    generation = inherited.generation if inherited else 1
    wall = own_moments(worker.number, settings.workers) if worker and islands(settings) else time.time
    node = Node(settings, shown_by, generation=generation, wall=wall)
    require_same_kind(node.keys, inherited.keys if inherited else worker.keys if worker else None)
    app = create_app(node)
    local_api = LocalApi(app)
    config = _config(
        settings,
        create_app(node, first=relay_routes(node, parent_link, local_api)) if parent_link else app,
        node,
    )
    with contextlib.ExitStack() as stack:
        undisturbed = stack.enter_context(contextlib.ExitStack())
        undisturbed.enter_context(blocked_end_signals())
        public = _public(settings, environ, inherited, worker)
        control = own_control_socket(environ)
        addresses = [address(sock, config.is_ssl) for sock in public]
        if node.shared:
            node.shared.url = addresses[0]
        stack.callback(notifier.close)
        if control:  # also of a process that never came so far as to be announced
            stack.callback(Path(control.getsockname()).unlink, missing_ok=True)
        if settings.uds and not worker:
            stack.callback(_remove_unless_handed_over, settings.uds, node)

        def announce() -> None:
            if control:
                parent = worker.parent if worker else None
                record = own_record(addresses[0], control, generation=node.generation, parent=parent)
                stack.enter_context(announced(record))

        def note_listening() -> None:
            if parent_link:
                parent_link.send_listening()
                return
            _log_serving(settings, addresses, anew=inherited is None)
            if not adopted:
                listening_at(addresses)
            notifier.ready()

        context = ServerContext(
            public=public,
            control=control,
            inherited=inherited,
            spawn=parent_link.spawn_successor if parent_link else _spawner(environ, job),
            handing_over=[
                notifier.handing_over,
                *([parent_link.handing_over] if parent_link else []),
                *([job.handing_over] if job else []),
                *handing_over,
            ],
            parent_link=parent_link,
            local_api=local_api,
            job=job,
            clean_up=lambda pid: remove_files(runtime_folder(environ), pid),
            on_signals_handled=undisturbed.close,
            on_control_ready=announce,
            on_listening=note_listening,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            return loop.run(Runner(config, node, context).run_until_stopped())


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


def _spawner(environ: Mapping[str, str], job: Job | None) -> Spawn:
    """Return a function that starts this program again, as it is on disk now, with the same arguments and
    environment."""
    own = {*PASSED_SOCKETS, JOB_FD}
    kept = {name: value for name, value in environ.items() if name not in own}

    def spawn(channel: int) -> "subprocess.Popen[bytes]":
        passed = {HANDOVER_FD: channel}
        with contextlib.ExitStack() as stack:
            if job and (line := job.line_for_successor()):
                passed[JOB_FD] = stack.enter_context(line).fileno()
            given = kept | {name: str(fd) for name, fd in passed.items()}
            return subprocess.Popen(restart_command(), env=given, pass_fds=list(passed.values()))  # noqa: S603

    return spawn


def _log_serving(settings: Settings, addresses: Sequence[str], *, anew: bool) -> None:
    for at in addresses:
        log.info("serving", extra={"fields": {"url": at}})
    if anew:
        log_drain_advice(settings)


def _public(
    settings: Settings,
    environ: Mapping[str, str],
    inherited: InheritedSockets | None,
    worker: WorkerContext | None,
) -> list[socket.socket]:
    if inherited:
        return inherited.listeners
    if worker:
        return worker.listeners
    sockets = open_listeners(settings, environ)
    log_exposure(settings, exposed(sockets))  # once: successors and workers get theirs from who did
    return sockets


def _config(settings: Settings, app: FastAPI, node: Node) -> uvicorn.Config:
    config = uvicorn.Config(
        ClosingMiddleware(ProxyHeadersMiddleware(app, trusted_proxies(settings)), node),
        http="h11",
        ws="websockets-sansio",  # never used: HttpProtocol takes every upgrade
        backlog=settings.backlog,
        log_config=None,
        access_log=settings.access_log,
        # `ProxyHeadersMiddleware` does that: uvicorn takes whatever text an address is said to be.
        proxy_headers=False,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        root_path=settings.root_path,
        server_header=False,
        workers=1,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"no TLS: {_why_no_tls(settings, error)}") from None
    return config


def _why_no_tls(settings: Settings, error: OSError) -> str:
    """Say what is wrong with these files and what to do, as `wsctl check` does."""
    try:
        read_certificate(settings.ssl_certfile or "", settings.ssl_keyfile)
    except UnusableCertificate as failure:
        return f"{failure}; {failure.fix}"
    return f"{settings.ssl_certfile}: {error.strerror or error}"


def _remove_unless_handed_over(path: str, node: Node) -> None:
    progress = node.handover.progress() if node.handover else None
    if not progress or progress.state is not HandoverState.DONE:
        Path(path).unlink(missing_ok=True)
