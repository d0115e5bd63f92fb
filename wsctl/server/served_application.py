"""An application that is not ours, as a server process serves it: its parser, its lifespan, its end."""

import asyncio
import importlib.util
import logging
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.off import LifespanOff
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from wsctl.drain.phases import ACCEPTING
from wsctl.errors import CannotStart
from wsctl.server.asgi.connections import DrainedApplication
from wsctl.server.asgi.lifespan import LifespanWithNotice
from wsctl.server.asgi.loading import failed_with_traceback
from wsctl.server.asgi.watchdog import EndDeadline, LoopWatch
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.condition import Condition
from wsctl.server.http.proxy import trusted_proxies
from wsctl.server.listening.http_protocol import HttpProtocol
from wsctl.server.listening.protocol_detection import MakeHttp, http_maker
from wsctl.server.node import Node

log = logging.getLogger("wsctl.application")

_uvicorns_lines = logging.Logger("wsctl.application.lifespan", logging.CRITICAL)
"""Discards what uvicorn says about the lifespan: it is told here, in one line with its cause."""

LATE_TIMEOUT = 5.0
"""Seconds that requests have which came while the server drained, when everything else has ended: what takes
longer can be asked of another server."""

RETURN_TIMEOUT = 2.0
"""Seconds that applications have to return after their connections were ended, and after their tasks were
cancelled."""

LIFESPAN_TIMEOUT = 10.0
"""Seconds that the lifespan has for its shutdown: as long as a client has to answer its close frame."""


STOP_TIMEOUT = LATE_TIMEOUT + 2 * RETURN_TIMEOUT + LIFESPAN_TIMEOUT
"""Seconds that all of this takes at most."""


class ServedApplication:
    """The application, with everything in front of it; `configure` returns uvicorn's configuration for that.
    `end` ends the process at once, from another thread: the loop is blocked longer than a drain may take.

    Attributes:
        config: the configuration with which uvicorn's protocols call the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        node: Node,
        configure: Callable[[ASGIApp], uvicorn.Config],
        end: Callable[[], object] = lambda: None,
    ) -> None:
        if node.application is None:
            raise ValueError("the node counts no connections of an application")
        self._connections = connections = node.application
        self._node = node
        self._settings = node.settings
        longest = self._settings.drain_delay + self._settings.shutdown_timeout
        self._deadline = EndDeadline(connections.state, longest)
        self._watch = LoopWatch(node.clock, self._deadline, end)
        self._lifespan: LifespanOn | LifespanOff
        self._with_notice = LifespanWithNotice(app, connections.state)
        connections.is_shutting_down = node.is_shutting_down
        drained = DrainedApplication(
            app,
            connections,
            rejects=lambda: node.life.phase not in ACCEPTING,
            delay=node.drain_rejector.delay,
            lifespan=self._with_notice,
            proxies=trusted_proxies(node.settings),
        )
        self.config = configure(drained)

    async def start(self, stopped: asyncio.Event) -> bool:
        """Start the lifespan, and the watch on the loop; return whether it has started. Not so when `stopped`
        was set meanwhile: the application is left as it is then, and its tasks are cancelled with the loop.

        Raises:
            CannotStart: the application did not start, or not in time.
        """
        self._lifespan = self.config.lifespan_class(self.config)
        if isinstance(self._lifespan, LifespanOn):
            self._lifespan.logger = _uvicorns_lines
        self._node.ticker.jobs.append(self._watch.alive)
        self._watch.start()
        name, limit = self._settings.app, self._settings.startup_timeout
        starting, stopping = map(asyncio.ensure_future, (self._lifespan.startup(), stopped.wait()))
        try:
            await asyncio.wait(
                {starting, stopping}, timeout=limit or None, return_when=asyncio.FIRST_COMPLETED
            )
            if stopped.is_set():
                return False
            if not starting.done():
                advice = "--startup-timeout gives it more"
                raise CannotStart(f"{name} was not ready within {limit:g} seconds: {advice}")
            starting.result()
        finally:
            starting.cancel()
            stopping.cancel()
        if self._lifespan.should_exit:
            raise failed_with_traceback(f"{name} failed to start", self._with_notice.failure)
        return True

    @property
    def startup_time(self) -> float | None:
        """The seconds that the application has for its start; None without a limit."""
        return self._settings.startup_timeout or None

    async def stop(self) -> None:
        """Wait for requests that came late and for what was cut, then shut the lifespan down."""
        self._deadline.end_by(self._node.clock() + STOP_TIMEOUT)
        await self._wait_until(lambda: not self._connections.late, LATE_TIMEOUT)
        self._connections.close_late()
        await self._wait_until(lambda: not self._connections.closing, RETURN_TIMEOUT)
        self._connections.abort()
        await self._wait_until(lambda: not self._connections.closing, RETURN_TIMEOUT)
        self._log_unreturned()
        await self._shut_lifespan_down()

    def close(self) -> None:
        """Stop the watch on the loop, which has ended."""
        self._watch.stop()

    def note_signal(self, signum: int) -> None:
        """Note a signal that ends the server, though the loop may be blocked."""
        self._deadline.note_signal(signum)

    async def _shut_lifespan_down(self) -> None:
        try:
            async with asyncio.timeout(LIFESPAN_TIMEOUT):
                await self._lifespan.shutdown()
        except TimeoutError:
            log.warning(
                "the application's lifespan did not shut down within %g seconds: the server ends without it",
                LIFESPAN_TIMEOUT,
            )
        if self._lifespan.should_exit:
            error = failed_with_traceback(
                "the application's lifespan failed at its end", self._with_notice.failure
            )
            log.error("%s", error, extra={"fields": {"traceback": "\n".join(error.details)}})

    def make_http(self, acceptor: ClientAcceptor, state: ServerState) -> MakeHttp:
        """Return what makes the protocol of an HTTP connection: with httptools where it is installed, as
        uvicorn does."""
        shared = {"config": self.config, "server_state": state, "app_state": self._lifespan.state}
        if importlib.util.find_spec("httptools"):
            from wsctl.server.listening.httptools_protocol import HttpToolsProtocol

            return http_maker(HttpToolsProtocol, acceptor, **shared)
        return http_maker(HttpProtocol, acceptor, control=False, own_routes=False, **shared)

    async def _wait_until(self, true: Callable[[], bool], limit: float) -> None:
        """Wait until something is true of the connections, `limit` seconds at most."""
        changed = Condition()
        self._connections.observers.append(changed.notify_all)
        try:
            await changed.wait_for(true, limit)
        finally:
            self._connections.observers.remove(changed.notify_all)

    def _log_unreturned(self) -> None:
        routes = sorted({connection.route for connection in self._connections.closing})
        if routes:
            log.warning("the application does not return at %s, though it was cancelled", ", ".join(routes))
