"""`wsctl serve`: uvicorn's server with our own handling of signals, shutdown and sockets.

Stock uvicorn answers a signal by closing every WebSocket. Here its main loop goes on during the drain, and
ends only when `DrainDriver` says that the server has stopped.
"""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import uvicorn

from wsctl.codes import ExitCode
from wsctl.drain.signals import WAITER_GONE, SignalAction, SignalRole
from wsctl.errors import CannotStart
from wsctl.log.refusals import CONFIRM_TIMEOUT
from wsctl.process.job import Job
from wsctl.process.signals import SignalHandlers, begin_handover, log_status
from wsctl.process.spawn import SpawnSuccessor, why_not_outlived
from wsctl.server.admin_address import AdminAddress
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.client_paths import ClientPaths
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.diagnostics.exposure import exposed
from wsctl.server.handover.predecessor import Observer, Predecessor
from wsctl.server.handover.protocol import InheritedSockets
from wsctl.server.handover.successor import Successor
from wsctl.server.http.proxy import trusted_proxies
from wsctl.server.listening.direct_publishing import DirectPublishing
from wsctl.server.listening.http_protocol import HttpProtocol
from wsctl.server.listening.listeners import Acceptance, Listeners
from wsctl.server.listening.protocol_detection import MakeHttp, http_maker
from wsctl.server.node import Node
from wsctl.server.node_control import NodeControl
from wsctl.server.own_application import import_application, import_later
from wsctl.server.reload import Reloader, SourceWatch
from wsctl.server.served_application import ServedApplication
from wsctl.server.workers.parent_link import ParentLink

REQUESTS_TIMEOUT = 12.0
"""Seconds that a predecessor waits for requests under way, and for HTTP connections that cannot move: they
end by themselves after ten, or with their next answer."""

ANSWERS_TIMEOUT = 0.1
"""Seconds that HTTP requests under way have to be answered when everything else has ended."""

log = logging.getLogger("wsctl.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The sockets of a server process, and its ways to other processes.

    `public` are the sockets that clients reach, `control` is the one that operators reach, `admin` is the
    address of its own that they have, if they have one; `inherited` is there in a successor, and `spawn`
    starts a successor of this process; `sources` watches the code of the `application`, if that is to be
    reloaded; `handing_over` are told how a handover goes. `client_paths` are those that an
    application's hub has. `parent_link` leads to the parent of a worker, whose requests `node_control`
    carries out. `on_control_ready` is called when operators can reach the server, `on_listening` when clients
    can. `job` is its part in a shell's job; None of a worker. `clean_up` is called with the pid of a
    successor that was killed, `on_signals_handled` when there are handlers for the signals that end this
    process.
    """

    public: Sequence[socket.socket]
    control: socket.socket | None
    admin: AdminAddress | None
    inherited: InheritedSockets | None
    application: ServedApplication | None
    sources: SourceWatch | None
    client_paths: ClientPaths
    spawn: SpawnSuccessor
    handing_over: Sequence[Observer]
    parent_link: ParentLink | None
    node_control: NodeControl
    job: Job | None
    clean_up: Callable[[int], None]
    on_signals_handled: Callable[[], None]
    on_control_ready: Callable[[], None]
    on_listening: Callable[[], None]


class Runner(uvicorn.Server):
    """One server process."""

    def __init__(
        self,
        config: uvicorn.Config,
        node: Node,
        context: ServerContext,
    ) -> None:
        super().__init__(config)
        self._application = context.application
        own = context.admin.client_config if context.admin else config
        self._public_config = own if self._application is None else self._application.config
        self._node = node
        self._context = context
        local = not exposed(context.public)
        node.hosts.on_loopback = lambda: local
        self._proxies = trusted_proxies(node.settings)
        self._acceptor = ClientAcceptor(node.acceptor_services, self._proxies, config.root_path)
        self._signals: SignalHandlers
        self._listeners: Listeners
        self._handover: Predecessor
        self._successor: Successor | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    async def run_until_stopped(self) -> ExitCode:
        """Serve until the drain has ended; returns the exit code of the process."""
        await self._serve()
        job = self._context.job
        if job and job.passes_on:
            await self._signals.replace(job.pass_on)
        return self._node.life.exit_code

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the drain; they are not raised again afterwards."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._handle_signals()
        if self._context.parent_link:
            self._context.parent_link.open()
        await self._node.open()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise CannotStart("the application failed to start: see the log above")
        if self._application and not await self._start(self._application):
            return
        if self._is_awaited:
            import_application()
        self._listeners = self._create_listeners()
        self._node.ticker.jobs.append(self._listeners.check)
        self._node.reporter.pending = lambda: self._listeners.pending
        self._node.handover = self._handover = self._create_predecessor()
        await self._open()
        self.started = True
        if not self._node.driver.stopped.is_set():
            self._begin_to_serve()
            self._watch_code()
            if not self._is_awaited:
                import_later()

    @property
    def _is_awaited(self) -> bool:
        """True if work waits for this process, which an import beside it would slow down: clients that move
        from its predecessor, or the messages of other servers."""
        return self._context.inherited is not None or self._node.shared is not None

    async def _start(self, application: ServedApplication) -> bool:
        """Start an application; return whether it has started."""
        started = False
        try:
            started = await application.start(self._node.driver.stopped)
        finally:
            if not started:
                await self.lifespan.shutdown()
        return started

    async def _open(self) -> None:
        """Let operators and clients in; of a successor, what follows goes on beside it."""
        if self._context.parent_link:
            self._connect(self._context.parent_link)
        await self._listeners.open_control()
        _tune_garbage_collector()
        if self._context.inherited:
            await self._take_over(self._context.inherited)
        else:
            await self._listeners.open()
            self._context.on_control_ready()
            self._context.on_listening()

    def _connect(self, parent_link: ParentLink) -> None:
        node = self._node
        parent_link.connect(node.driver, node.reporter, self._context.node_control, keys=node.keys)
        node.ticker.jobs.append(parent_link.check)

    def _begin_to_serve(self) -> None:
        self._node.started()
        self._report()
        if self._successor:
            # Until everything has arrived, a signal must not end the process, nor a drain begin.
            self._node.driver.begin_handover()
            self._settling = asyncio.create_task(self._settle(self._successor))

    def _report(self) -> None:
        """Let a worker's parent know how it stands."""
        if self._context.parent_link:
            self._context.parent_link.send_report()

    def _watch_code(self) -> None:
        if self._context.sources:
            predecessor_gone = self._successor.predecessor_gone if self._successor else None
            reloader = Reloader(self._context.sources, self._handover, predecessor_gone)
            self._reloading = asyncio.create_task(reloader.run())

    async def main_loop(self) -> None:
        while not self._node.driver.stopped.is_set():
            await self.on_tick(0)  # once a second: the Date header
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._node.driver.stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reloading:
            self._reloading.cancel()
        await self._finish_requests()
        self._node.stop_publishing()
        await self._finish_answers()  # a successor or Redis may still have to confirm messages
        await self._handover.finish()
        self._listeners.close()
        self._node.drain_rejector.drop_all()
        for connection in list(self.server_state.connections):
            if not connection.transport.is_closing():  # uvicorn's WebSocket would raise
                connection.shutdown()
        await self._finish_answers()
        self._node.manager.abort_closing()
        if self._application:
            await self._application.stop()
        await self.lifespan.shutdown()
        self._node.driver.conclude()
        # Without an answer: requests that are cut off now may have been carried out.
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _finish_requests(self) -> None:
        """Answer the requests that have arrived here; their connections then go to the successor, or end with
        an answer that says so."""
        if self._handover.leaving and self._context.parent_link:
            await self._context.parent_link.finish_calls()
        await self._handover.move_answered(REQUESTS_TIMEOUT)

    async def _finish_answers(self) -> None:
        """Wait for answers that come soon, among them those about messages: the home of the log says in time
        what became of each."""
        if self.server_state.tasks:
            more = CONFIRM_TIMEOUT if self._node.log.drafts else 0.0
            await asyncio.wait(self.server_state.tasks, timeout=ANSWERS_TIMEOUT + more)

    def _create_listeners(self) -> Listeners:
        link, admin = self._context.parent_link, self._context.admin
        return Listeners(
            self._accept_public(),
            Acceptance(self._acceptor, self._make_http(self.config, control=True)),
            self._public_config,
            self.server_state,
            manager=self._node.manager,
            refusals=self._node.refusals,
            has_room=self._node.limits.has_room,
            is_accepting=self._node.is_accepting,
            public=self._context.public,
            control=self._context.control,
            admin=admin.sockets if admin else (),
            admin_accept=self._accept_admin(admin) if admin else None,
            balancer=link.balancer if link else None,
        )

    def _create_predecessor(self) -> Predecessor:
        return Predecessor(
            self._node.services,
            self._node.driver,
            self._listeners,
            self._context.spawn,
            generation=self._node.generation,
            keys=self._node.keys,
            observers=self._context.handing_over,
            obstacle=self._obstacle,
            startup=self._application.startup_time if self._application else 0.0,
            clean_up=self._context.clean_up,
            load=self._node.recent_load.state,
        )

    def _accept_public(self) -> Acceptance:
        if not self._application:
            return Acceptance(self._acceptor, self._make_http(self._public_config, control=False))
        acceptor = ClientAcceptor(
            self._node.acceptor_services,
            self._proxies,
            self.config.root_path,
            paths=self._context.client_paths,
            others=True,
        )
        make_http = self._application.make_http(acceptor, self.server_state)
        return Acceptance(acceptor, make_http)

    def _accept_admin(self, admin: AdminAddress) -> Acceptance:
        acceptor = admin.acceptor(self._node.acceptor_services, self._node.settings)
        make_http = admin.make_http(acceptor, self.server_state, self._publishing(control=False))
        return Acceptance(acceptor, make_http)

    def _make_http(self, config: uvicorn.Config, *, control: bool) -> MakeHttp:
        """Return what makes the protocol of an HTTP connection to wsctl's own routes: on the control socket,
        or where clients are, which has those of operators unless these have an address of their own."""
        has_routes = control or self._context.admin is None
        return http_maker(
            HttpProtocol,
            self._acceptor,
            control=control,
            own_routes=True,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            publishing=self._publishing(control=control) if has_routes else None,
        )

    def _publishing(self, *, control: bool) -> DirectPublishing:
        settings = self._node.settings
        return DirectPublishing(
            self._context.node_control.publisher,
            OperatorTokens(settings.token, settings.publish_token),
            self._node.is_shutting_down,
            open_to_all=control,
        )

    def _obstacle(self) -> str | None:
        if self._successor and not self._successor.predecessor_gone.is_set():
            return (
                "the process before this one still drains: 'wsctl status' shows it, wait until it has ended"
            )
        is_outlived = self._context.parent_link or (self._context.job and self._context.job.outlives)
        return None if is_outlived else why_not_outlived()

    async def _take_over(self, inherited: InheritedSockets) -> None:
        """Take over from the predecessor. Returns as soon as this process has the log; what follows goes on
        beside it."""
        self._successor = successor = Successor(
            self._node.services,
            inherited.channel,
            self._listeners.detector,
            self._listeners.detector_of_reused,
            self._listeners.admin_detector,
            on_load=self._node.recent_load.resume,
        )
        self._node.ticker.jobs.append(successor.check)
        successor.ready()
        await _wait_for_any(successor.begun, self._node.driver.stopped)
        self._context.on_control_ready()
        self._waiting = asyncio.create_task(self._listen_after(successor))

    async def _settle(self, successor: Successor) -> None:
        await successor.settled.wait()
        self._node.driver.abort_handover()
        self._report()

    async def _listen_after(self, successor: Successor) -> None:
        await successor.may_listen.wait()
        await self._listeners.open()
        self._context.on_listening()
        self._report()  # before the predecessor reports that none of its clients are left
        successor.listening()

    def _handle_signals(self) -> None:
        actions: dict[SignalAction, Callable[[int], None]] = {
            SignalAction.END: self._end,
            SignalAction.LOG_STATUS: self._log_status,
            SignalAction.HAND_OVER: self._hand_over,
        }
        noted = self._application.note_signal if self._application else None
        self._signals = SignalHandlers(SignalRole.SERVER, actions, noted)
        self._signals.install()
        self._context.on_signals_handled()
        if self._context.job and self._context.job.line:
            self._drain_on_hangup(self._context.job.line)

    def _end(self, signum: int) -> None:
        self._node.driver.signal(signum)
        if self._context.job:
            self._context.job.pass_on(signum)

    def _drain_on_hangup(self, line: socket.socket) -> None:
        """Begin to drain when the process that a shell waits for is gone."""

        def hung_up() -> None:
            asyncio.get_running_loop().remove_reader(line)
            log.warning("the process that the shell waits for is gone: this server drains")
            self._node.driver.signal(WAITER_GONE)

        asyncio.get_running_loop().add_reader(line, hung_up)

    def _log_status(self, _signum: int) -> None:
        log_status(log, self._node.reporter.status().to_json())

    def _hand_over(self, signum: int) -> None:
        if not (self._context.job and self._context.job.pass_on(signum)):
            begin_handover(log, self._handover.begin, signum)


def _tune_garbage_collector() -> None:
    """Keep the collector's oldest generation from stopping the server: what was made at the start lives to
    the end, and need not be looked at again."""
    gc.collect()
    gc.freeze()


async def _wait_for_any(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for wait in waiting:
        wait.cancel()
