"""One process of `wsctl serve`: what it needs is opened, and its runner runs to its end."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import uvicorn
import uvloop
from starlette.types import ASGIApp

from wsctl.codes import ExitCode
from wsctl.drain.observers import DrainObserver
from wsctl.drain.progress import HandoverState
from wsctl.errors import CannotStart
from wsctl.process.job import Job
from wsctl.process.registry import Registration, remove_files, runtime_folder
from wsctl.process.sd_notify import SystemdNotifier
from wsctl.process.signals import blocked_end_signals
from wsctl.process.spawn import Spawner, SpawnSuccessor
from wsctl.server.admin_address import AdminAddress
from wsctl.server.asgi.loading import load_application, load_variables
from wsctl.server.asgi.watchdog import ExitWatch, end_process, finish_threads
from wsctl.server.client_paths import NO_PATHS, ClientPaths
from wsctl.server.credentials import require_same_kind
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.diagnostics.certificate import UnusableCertificate, read_certificate
from wsctl.server.diagnostics.exposure import exposed, log_exposure
from wsctl.server.diagnostics.startup import log_drain_advice, log_startup
from wsctl.server.handover.predecessor import Observer
from wsctl.server.handover.protocol import InheritedSockets
from wsctl.server.http.closing import ClosingMiddleware
from wsctl.server.http.proxy import ProxyHeadersMiddleware, trusted_proxies
from wsctl.server.listening.sockets import ListeningAt, address, open_admin_listeners, open_listeners
from wsctl.server.node import Node
from wsctl.server.node_control import control_of
from wsctl.server.own_application import OwnApplication, RouteSet
from wsctl.server.reload import SourceWatch, watch_sources
from wsctl.server.runner import Runner, ServerContext
from wsctl.server.served_application import ServedApplication
from wsctl.server.workers.parent_link import ParentLink
from wsctl.server.workers.protocol import WorkerContext
from wsctl.server.workers.relayed_control import RelayedControl
from wsctl.settings import Settings

if TYPE_CHECKING:
    from wsctl.server.library.binding import HubBinding

log = logging.getLogger("wsctl.server")


class ServerProcess:
    """One process, from its sockets to its end.

    `listening_at` is called with the addresses, and with those of the admin address, once they take
    connections; of a `worker` the parent is told.
    `inherited` is there in a successor. `observers` show a drain, `handing_over` are told how a handover
    goes. Making it raises what making a `Node` does, and CannotStart when there is no certificate.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        observers: Sequence[DrainObserver],
        listening_at: ListeningAt = lambda public, admin: None,
        *,
        inherited: InheritedSockets | None,
        worker: WorkerContext | None = None,
        job: Job | None = None,
        handing_over: Sequence[Observer] = (),
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._listening_at = listening_at
        self._inherited = inherited
        self._worker = worker
        self._job = job
        if not (inherited or worker):
            log_startup(settings, environ)
        self._notifier = SystemdNotifier(environ, os.getpid(), adopted=inherited is not None)
        self._parent_link = ParentLink(worker) if worker else None
        self._handing_over = self._all_told_of_handovers(handing_over)
        # Before the import: what is saved from then on is newer than what this process has.
        self._sources = self._watch_sources() if settings.reload else None
        loaded = _load_application(settings) if settings.app else None
        binding = _find_binding() if loaded else None
        self._node = self._create_node(observers, binding, with_application=loaded is not None)
        self._access = DashboardAccess(runtime_folder(environ), settings.token)
        self._node_control = control_of(self._node, self._access)
        link = self._parent_link
        relayed = RelayedControl(link, self._node_control) if link else None
        self._control = relayed or self._node_control
        self._client_paths = _bind_hub(binding, loaded, self._node, relayed) if binding else NO_PATHS
        self._config = self._create_config()
        configure = partial(_uvicorn_config, settings)
        self._application = (
            ServedApplication(loaded, self._node, configure, self._end_overdue) if loaded else None
        )
        self._opened = contextlib.ExitStack()

    def run(self) -> ExitCode:
        """Serve until the drain has ended; returns the exit code.

        Raises:
            CannotStart: there is no socket to start with.
        """
        with self._opened as stack:
            until_signals_handled = stack.enter_context(contextlib.ExitStack())
            until_signals_handled.enter_context(blocked_end_signals())
            public = self._open_public()
            admin = self._open_admin()
            stack.callback(self._notifier.close)
            stack.callback(self._remove_unix_socket)
            registration = stack.enter_context(self._register())
            context = self._context(public, admin, registration, until_signals_handled.close)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                return self._run(loop, Runner(self._config, self._node, context))

    def _run(self, loop: asyncio.Runner, runner: Runner) -> ExitCode:
        """Run to the end; what an application leaves behind does not keep the process."""
        code, error = ExitCode.CANNOT_START, ""
        try:
            code = loop.run(runner.run_until_stopped())
        except CannotStart as failed:
            error = str(failed)
            raise
        finally:
            if self._application:
                self._application.close()
                ExitWatch(lambda code: self._leave(code, error)).start(code)
        if self._application:
            finish_threads()
        return code

    def _end_overdue(self) -> None:
        """End the process from another thread: its event loop is blocked longer than a drain may take."""
        code = ExitCode.OPERATOR if self._node.life.by_operator else ExitCode.FORCED
        self._leave(code)
        end_process(code)

    def _leave(self, code: int, error: str = "") -> None:
        """Do what a process leaves undone that does not come to its end: remove what it has made, and tell
        what it has not told."""
        if error:
            log.error("%s", error)
        with contextlib.suppress(Exception):
            self._opened.close()
        if self._job:
            self._job.end(code)

    # The parts

    def _all_told_of_handovers(self, others: Sequence[Observer]) -> list[Observer]:
        parts = [self._notifier, self._parent_link, self._job]
        return [*(part.handing_over for part in parts if part), *others]

    def _create_node(
        self, observers: Sequence[DrainObserver], binding: "HubBinding | None", *, with_application: bool
    ) -> Node:
        starter = self._inherited or self._worker
        told = [*observers, self._notifier, *([self._parent_link] if self._parent_link else [])]
        generation = self._inherited.generation if self._inherited else 1
        link = self._parent_link
        node = Node(
            self._settings,
            told,
            generation=generation,
            elsewhere=link.count_clients_elsewhere if link else lambda: 0,
            connections_elsewhere=link.count_elsewhere if link else lambda: 0,
            upgrading_elsewhere=link.is_upgrading if link else lambda: False,
            make_home=link.create_home if link else None,
            with_application=with_application,
            hooks=binding.hooks if binding else None,
        )
        require_same_kind(node.keys, starter.keys if starter else None)
        return node

    def _create_config(self, routes: RouteSet = RouteSet.ALL) -> uvicorn.Config:
        """Return the server around wsctl's own routes. No proxy stands before the admin address, and it has
        no TLS."""
        settings = self._settings

        def create() -> ASGIApp:
            from wsctl.server.app import create_app

            return create_app(self._node, control=self._control, routes=routes, access=self._access)

        app: ASGIApp = OwnApplication(create, self._node.running)
        if routes is RouteSet.ADMIN:
            settings = replace(settings, ssl_certfile=None, ssl_keyfile=None, root_path="")
        else:
            app = ProxyHeadersMiddleware(app, trusted_proxies(settings))
        return _uvicorn_config(settings, ClosingMiddleware(app, self._node.is_shutting_down), lifespan="on")

    def _create_admin(self, sockets: list[socket.socket]) -> AdminAddress | None:
        if not sockets:
            return None
        return AdminAddress(
            sockets=sockets,
            config=self._create_config(RouteSet.ADMIN),
            client_config=self._create_config(RouteSet.CLIENTS),
        )

    def _open_public(self) -> list[socket.socket]:
        starter = self._inherited or self._worker
        if starter:
            return starter.listeners
        sockets = open_listeners(self._settings, self._environ)
        log_exposure(self._settings, exposed(sockets))  # once: all others get theirs from this process
        return sockets

    def _open_admin(self) -> list[socket.socket]:
        starter = self._inherited or self._worker
        return starter.admin if starter else open_admin_listeners(self._settings)

    def _register(self) -> Registration:
        parent = self._worker.parent if self._worker else None
        return Registration(self._environ, generation=self._node.generation, parent=parent)

    def _context(
        self,
        public: list[socket.socket],
        admin: list[socket.socket],
        registration: Registration,
        handles_signals: Callable[[], None],
    ) -> ServerContext:
        addresses = [address(sock, self._config.is_ssl) for sock in public]
        admin_addresses = [address(sock, tls=False) for sock in admin]
        if self._node.shared:
            self._node.shared.url = addresses[0]
        self._node.reporter.admin = next(iter(admin_addresses), None)
        return ServerContext(
            public=public,
            control=registration.control,
            admin=self._create_admin(admin),
            inherited=self._inherited,
            spawn=self._parent_link.spawn_successor if self._parent_link else self._successor_spawner(),
            handing_over=self._handing_over,
            application=self._application,
            sources=self._sources,
            client_paths=self._client_paths,
            parent_link=self._parent_link,
            node_control=self._node_control,
            job=self._job,
            clean_up=lambda pid: remove_files(runtime_folder(self._environ), pid),
            on_signals_handled=handles_signals,
            on_control_ready=lambda: registration.announce(addresses[0], *admin_addresses[:1]),
            on_listening=lambda: self._tell_listening(addresses, admin_addresses),
        )

    def _successor_spawner(self) -> SpawnSuccessor:
        spawner, job = Spawner(self._environ), self._job
        return lambda channel: spawner.successor(channel, job.line_for_successor() if job else None)

    def _watch_sources(self) -> SourceWatch:
        sources = watch_sources(self._settings.reload_dir, self._settings.app_dir, self._environ)
        if not self._inherited:
            watched = ", ".join(map(str, sources.folders))
            log.info("reloads what is saved", extra={"fields": {"folders": watched}})
        return sources

    # What it tells

    def _tell_listening(self, addresses: list[str], admin: list[str]) -> None:
        if self._parent_link:
            self._parent_link.send_listening()
            return
        # After a reload its one line says so.
        level = logging.DEBUG if self._inherited and self._settings.reload else logging.INFO
        for at in addresses:
            log.log(level, "serving", extra={"fields": {"url": at}})
        for at in admin:
            log.log(level, "admin address", extra={"fields": {"url": at}})
        if not self._inherited:
            if not self._settings.reload:  # who develops has no deploy to think of
                log_drain_advice(self._settings)
            self._listening_at(addresses, admin)
        self._notifier.ready()

    def _remove_unix_socket(self) -> None:
        """Remove the Unix socket that clients reach, if it is this process's own and no successor has it."""
        progress = self._node.handover.progress() if self._node.handover else None
        handed_over = progress and progress.state is HandoverState.DONE
        if self._settings.uds and not self._worker and not handed_over:
            Path(self._settings.uds).unlink(missing_ok=True)


def _load_application(settings: Settings) -> ASGIApp:
    """Import the application, with the variables of `--env-file`.

    Raises:
        ApplicationFailed, CannotStart: it cannot be imported.
    """
    if settings.env_file:
        load_variables(settings.env_file)
    if settings.reload:
        # Python takes compiled code for current that has its source's size and second: of two saves within a
        # second it could serve the first.
        sys.dont_write_bytecode = True
    return load_application(settings.app or "", factory=settings.factory, app_dir=settings.app_dir)


def _find_binding() -> "HubBinding | None":
    """Return the binding of the hub that the application has made; None if it has none.

    Raises:
        CannotStart: there are several.
    """
    from wsctl.server.library.binding import find_binding  # which needs FastAPI

    return find_binding()


def _bind_hub(
    binding: "HubBinding", app: ASGIApp | None, node: Node, for_all: RelayedControl | None
) -> ClientPaths:
    """Bind the hub that an application has made to the node; return the paths of its clients.

    Raises:
        CannotStart: the node cannot serve it.
    """
    binding.attach(node, for_all)
    return binding.paths_in(app)


def _uvicorn_config(
    settings: Settings, app: ASGIApp, *, lifespan: Literal["on", "auto"] = "auto"
) -> uvicorn.Config:
    """Return the configuration with which uvicorn's protocols serve an application."""
    config = uvicorn.Config(
        app,
        http="h11",
        lifespan=lifespan,
        ws="websockets-sansio",  # for applications that are not ours: clients have their own protocol
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
