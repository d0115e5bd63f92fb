"""One process of `wsctl serve`: what it needs is opened, and its runner runs to its end."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI

from wsctl.codes import ExitCode
from wsctl.drain.observers import DrainObserver
from wsctl.drain.progress import HandoverState
from wsctl.errors import CannotStart, WsctlError
from wsctl.process.job import Job
from wsctl.process.registry import announced, remove_files, runtime_folder
from wsctl.process.sd_notify import SystemdNotifier
from wsctl.process.signals import blocked_end_signals
from wsctl.process.spawn import Spawner, SpawnSuccessor
from wsctl.server.app import create_app
from wsctl.server.credentials import require_same_kind
from wsctl.server.diagnostics.certificate import UnusableCertificate, read_certificate
from wsctl.server.diagnostics.exposure import exposed, log_exposure
from wsctl.server.diagnostics.startup import log_drain_advice, log_startup
from wsctl.server.handover.predecessor import Observer
from wsctl.server.handover.protocol import InheritedSockets, receive_sockets
from wsctl.server.isolated_workers import are_isolated, distinct_wall_clock
from wsctl.server.middleware import ClosingMiddleware
from wsctl.server.node import Node
from wsctl.server.proxy import ProxyHeadersMiddleware, trusted_proxies
from wsctl.server.registration import open_control_socket, record_of_process
from wsctl.server.runner import Runner, ServerContext
from wsctl.server.sockets import address, open_listeners
from wsctl.server.workers.parent_link import ParentLink
from wsctl.server.workers.protocol import WorkerContext
from wsctl.server.workers.relay import LocalApi, relay_routes
from wsctl.settings import Settings

log = logging.getLogger("wsctl.server")


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
        return _run(
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


def _run(
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
    wall = (
        distinct_wall_clock(worker.number, settings.workers)
        if worker and are_isolated(settings)
        else time.time
    )
    node = Node(
        settings,
        shown_by,
        generation=generation,
        wall=wall,
        elsewhere=parent_link.count_elsewhere if parent_link else lambda: 0,
    )
    require_same_kind(node.keys, inherited.keys if inherited else worker.keys if worker else None)
    app = create_app(node)
    local_api = LocalApi(app)
    config = _uvicorn_config(
        settings,
        create_app(node, first=relay_routes(node, parent_link, local_api)) if parent_link else app,
        node,
    )
    with contextlib.ExitStack() as stack:
        until_signals_handled = stack.enter_context(contextlib.ExitStack())
        until_signals_handled.enter_context(blocked_end_signals())
        public = _public_sockets(settings, environ, inherited, worker)
        control = open_control_socket(environ)
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
                record = record_of_process(addresses[0], control, generation=node.generation, parent=parent)
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
            spawn=parent_link.spawn_successor if parent_link else _successor_spawner(environ, job),
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
            on_signals_handled=until_signals_handled.close,
            on_control_ready=announce,
            on_listening=note_listening,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            return loop.run(Runner(config, node, context).run_until_stopped())


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


def _successor_spawner(environ: Mapping[str, str], job: Job | None) -> SpawnSuccessor:
    spawner = Spawner(environ)
    return lambda channel: spawner.successor(channel, job.line_for_successor() if job else None)


def _log_serving(settings: Settings, addresses: Sequence[str], *, anew: bool) -> None:
    for at in addresses:
        log.info("serving", extra={"fields": {"url": at}})
    if anew:
        log_drain_advice(settings)


def _public_sockets(
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


def _uvicorn_config(settings: Settings, app: FastAPI, node: Node) -> uvicorn.Config:
    config = uvicorn.Config(
        ClosingMiddleware(ProxyHeadersMiddleware(app, trusted_proxies(settings)), node.is_shutting_down),
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
