"""The listening sockets of one server, and the connections on them that are no clients yet."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import uvicorn
from uvicorn.server import ServerState

from wsctl.hub.manager import ConnectionManager
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.condition import Condition
from wsctl.server.http.refusals import Refusals
from wsctl.server.listening.accept_balancer import PAUSE, AcceptBalancer
from wsctl.server.listening.http_protocol import BoundedHttp
from wsctl.server.listening.pending_connections import PendingConnections
from wsctl.server.listening.protocol_detection import AcceptedConnections, MakeHttp, ProtocolDetector
from wsctl.server.listening.tls import TlsHandshake

MAX_ADMIN_CONNECTIONS = 256
"""Connections at a time on the admin address: probes, scrapers and operators are a few dozens. A further one
ends the one that was used longest ago."""


class Acceptance(NamedTuple):
    """The ways of a connection: clients go to the acceptor, others get an HTTP protocol."""

    acceptor: ClientAcceptor
    make_http: MakeHttp


class Listeners:
    """The listeners of one server: `public` are the sockets that clients reach, `control` is the one that
    operators reach, `admin` are those of the admin address, if there is one, which are treated as
    `admin_accept` says, and never have TLS. `has_room` tells whether there may be so many connections that
    are no clients, `is_accepting` whether new clients are taken. A worker sees in `balancer` how many
    connections the others have.

    Attributes:
        changed: notified when a request may have its answer, or a connection be gone.
    """

    def __init__(
        self,
        accept: Acceptance,
        control_accept: Acceptance,
        config: uvicorn.Config,
        state: ServerState,
        *,
        manager: ConnectionManager,
        refusals: Refusals,
        has_room: Callable[[int], bool],
        is_accepting: Callable[[], bool],
        public: Sequence[socket.socket],
        control: socket.socket | None,
        admin: Sequence[socket.socket] = (),
        admin_accept: Acceptance | None = None,
        balancer: AcceptBalancer | None = None,
    ) -> None:
        self._config = config
        self._state = state
        self._public = list(public)
        self._control = control
        self._admin = list(admin)
        self._admin_servers: list[asyncio.Server] = []
        self._servers: list[asyncio.Server] = []
        self._control_server: asyncio.Server | None = None
        self._manager = manager
        self._is_accepting = is_accepting
        self._balancer = balancer
        self._pausing: asyncio.TimerHandle | None = None
        self._resuming: asyncio.Task[None] | None = None
        self.changed = Condition()

        self._accepted = self._connections(accept, refusals, has_room)
        # Operators always have room.
        self._of_operators = self._connections(control_accept, refusals, lambda pending: True)
        few = MAX_ADMIN_CONNECTIONS
        self._of_admin = (
            self._connections(admin_accept, refusals, lambda pending: pending <= few)
            if admin_accept
            else None
        )

    def _connections(
        self, accept: Acceptance, refusals: Refusals, has_room: Callable[[int], bool]
    ) -> AcceptedConnections:
        def http(since: float, pending: PendingConnections) -> BoundedHttp:
            return accept.make_http(since, pending, self.changed.notify_all)

        return AcceptedConnections(accept.acceptor, http, refusals, has_room)

    def check(self, now: float) -> None:
        """Look at every connection, and count them for the other workers; called once a second."""
        self._accepted.check(now)
        self._of_operators.check(now)
        if self._of_admin:
            self._of_admin.check(now)
        for connection in self._requests():
            connection.check(now)
        self.changed.notify_all()  # nobody tells that a peer has read its answer
        self._note_connected()

    async def open_control(self) -> None:
        """Accept connections of operators."""
        if self._control:
            self._control_server = await self._listen(self._control, self._of_operators.detector)

    async def open(self) -> None:
        """Accept connections of clients, and those at the admin address."""
        if self._of_admin and not self._admin_servers:
            make_admin = self._of_admin.detector
            self._admin_servers = [await self._listen(sock, make_admin) for sock in self._admin]
        await self._open_public()

    async def _open_public(self) -> None:
        make = self._counted if self._balancer else self._arriving
        self._servers = [await self._listen(sock, make) for sock in self._public]
        self._note_connected()

    def close(self) -> None:
        """Stop accepting connections, those of operators too."""
        self._pause_no_more()
        of_operators = [self._control_server] if self._control_server else []
        for server in [*self._servers, *self._admin_servers, *of_operators]:
            server.close()

    def detector(self) -> ProtocolDetector:
        """Return the protocol for a connection that was accepted by another process."""
        return self._accepted.detector()

    def admin_detector(self, is_reused: bool) -> ProtocolDetector | None:
        """Return the protocol for a connection that another process has accepted at the admin address, and
        may have answered; None where there is no such address here."""
        if self._of_admin is None:
            return None
        detector = self._of_admin.detector()
        detector.reused = is_reused
        return detector

    def detector_of_reused(self) -> ProtocolDetector:
        """Return the protocol for a connection that had answers from another process: it may go on, or ends
        without an answer when it sends nothing more."""
        detector = self._accepted.detector()
        detector.reused = True
        return detector

    # For a handover

    def public(self) -> Sequence[socket.socket]:
        """Return the listening sockets that clients reach."""
        return self._public

    def admin(self) -> Sequence[socket.socket]:
        """Return the listening sockets of the admin address."""
        return self._admin

    def stop_listening(self) -> None:
        """Stop accepting connections of clients and at the admin address: what the kernel has accepted waits
        for whoever accepts next."""
        self._pause_no_more()
        self._stop_public()
        if self._admin_servers:
            self._admin = [sock.dup() for sock in self._admin]
            for server in self._admin_servers:
                server.close()
            self._admin_servers = []

    def _stop_public(self) -> None:
        if not self._servers:
            return
        # A server closes its own. When there is no descriptor left, nothing has changed.
        self._public = [sock.dup() for sock in self._public]
        for server in self._servers:
            server.close()
        self._servers = []

    async def listen_again(self) -> None:
        """Accept connections again, if that was stopped."""
        self._pause_no_more()
        if not self._servers:
            await self.open()

    def partial_heads(self) -> int:
        """Return how many request heads have arrived in part."""
        return sum(request.head_is_partial for request in self._requests())

    def detach_silent(self, *, admin: bool = False) -> list[int]:
        """Return the descriptors of connections that have sent nothing yet, of clients or at the admin
        address; from here on they are the caller's."""
        accepted = self._of_admin if admin else self._accepted
        silent = accepted.silent if accepted else []
        return [fd for detector in silent if (fd := detector.detach()) is not None]

    def detach_idle(self, *, admin: bool = False) -> list[int]:
        """Return the descriptors of connections between two requests, of clients or at the admin address;
        from here on they are the caller's."""
        found = [request for request in self._requests() if request.admin == admin]
        return [fd for request in found if (fd := request.detach()) is not None]

    def awaited(self) -> bool:
        """Tell whether any connection has an answer to get here, or may have."""
        return any(request.awaited for request in self._requests())

    def give_up_listening(self) -> None:
        """Close the listening sockets, which other processes have for good."""
        for sock in [*self._public, *self._admin]:
            sock.close()
        self._public, self._admin = [], []

    @property
    def pending(self) -> int:
        """The number of connections at the address of clients that are none yet."""
        return len(self._accepted.pending)

    def _requests(self) -> Iterable[BoundedHttp]:
        """Return the HTTP connections; WebSockets of an application are beside them."""
        return [each for each in self._state.connections if isinstance(each, BoundedHttp)]

    # Among several workers

    def _connected(self) -> int:
        return len(self._manager.active_connections) + len(self._accepted.silent)

    def _note_connected(self) -> None:
        """Tell the other workers how many connections there are here; also once a second, so that those which
        end are counted too."""
        if self._balancer and (self._servers or self._pausing):
            connected = self._connected()
            self._balancer.set_count(connected) if self._is_accepting() else self._balancer.withdraw()

    def _arriving(self) -> asyncio.Protocol:
        """Return the protocol for a new connection."""
        return (
            TlsHandshake(self._accepted, self._config.ssl) if self._config.ssl else self._accepted.detector()
        )

    def _counted(self) -> asyncio.Protocol:
        """Return the protocol for a new connection, and then let the other workers have the next ones, if it
        is their turn."""
        balancer = self._balancer if self._is_accepting() else None
        if balancer and balancer.count_accepted(self._connected() + 1) and not self._pausing:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._pause)  # not now: the server is in the middle of it
        return self._arriving()

    def _pause(self) -> None:
        if self._servers:
            with contextlib.suppress(OSError):  # no descriptor is left: it goes on
                self._pause_no_more()
                self._stop_public()
                self._pausing = asyncio.get_running_loop().call_later(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._pausing = None
        self._resuming = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        if self._servers:
            return
        try:
            await self._open_public()
        except OSError:  # no descriptor is left
            self._pausing = asyncio.get_running_loop().call_later(1.0, self._go_on)

    def _pause_no_more(self) -> None:
        if self._pausing:
            self._pausing.cancel()
            self._pausing = None
        if self._resuming:
            self._resuming.cancel()
            self._resuming = None

    async def _listen(self, sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(make, sock=sock, backlog=self._config.backlog)
