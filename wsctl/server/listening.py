"""The sockets of one server, and what is on them that is no client yet."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from wsctl.server.door import Door, Lobby
from wsctl.server.entrance import Entrance
from wsctl.server.http import HEAD_TIMEOUT, HttpProtocol
from wsctl.server.node import Node


class Listening:
    """`public` is what clients reach, `control` what operators reach."""

    def __init__(
        self,
        node: Node,
        entrance: Entrance,
        config: uvicorn.Config,
        state: ServerState,
        app_state: dict[str, Any],
        *,
        public: Sequence[socket.socket],
        control: socket.socket | None,
    ) -> None:
        self._config = config
        self._state = state
        self._public = list(public)
        self._control = control
        self._servers: list[asyncio.Server] = []
        self._control_server: asyncio.Server | None = None

        def lobby(*, control: bool) -> Lobby:
            def http(since: float) -> HttpProtocol:
                return HttpProtocol(
                    entrance,
                    since=since,
                    control=control,
                    config=config,
                    server_state=state,
                    app_state=app_state,
                )

            return Lobby(node, entrance, http, cast(set[object], state.connections), control=control)

        self._lobby, self._control_lobby = lobby(control=False), lobby(control=True)
        node.each_second += [self._lobby.check, self._control_lobby.check, self._check_requests]

    async def open_control(self) -> None:
        """Let operators in."""
        if self._control:
            self._control_server = await self._listen(self._control, self._control_lobby)

    async def open(self) -> None:
        """Accept connections."""
        config = self._config
        tls = {"ssl": config.ssl, "ssl_handshake_timeout": HEAD_TIMEOUT} if config.ssl else {}
        self._servers = [await self._listen(sock, self._lobby, **tls) for sock in self._public]

    def close(self) -> None:
        """Accept nothing any more, operators neither."""
        for server in [*self._servers, *([self._control_server] if self._control_server else [])]:
            server.close()

    def door(self) -> Door:
        """The protocol of a connection that was accepted elsewhere."""
        return self._lobby.door()

    # For a handover

    def public(self) -> Sequence[socket.socket]:
        """The listening sockets that clients reach."""
        return self._public

    def stop_listening(self) -> None:
        """Accept nothing more: what the kernel has accepted waits for whoever does."""
        # A server closes its own. When there is no descriptor left, nothing has changed.
        self._public = [sock.dup() for sock in self._public]
        for server in self._servers:
            server.close()
        self._servers = []

    async def listen_again(self) -> None:
        """Accept connections again, if that was stopped."""
        if not self._servers:
            await self.open()

    def half_heard(self) -> int:
        """How many requests have arrived in part."""
        return sum(request.half_heard for request in self._requests())

    def take_unheard(self) -> list[int]:
        """The descriptors of connections that have said nothing yet, which are the caller's from here on."""
        return [fd for door in list(self._lobby.waiting) if (fd := door.leave()) is not None]

    def give_up_listening(self) -> None:
        """Others have the sockets for good."""
        for sock in self._public:
            sock.close()
        self._public = []

    def _requests(self) -> Iterable[HttpProtocol]:
        return cast(Iterable[HttpProtocol], list(self._state.connections))

    def _check_requests(self, now: float) -> None:
        for connection in self._requests():
            connection.check(now)

    async def _listen(self, sock: socket.socket, lobby: Lobby, **tls: Any) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lobby.door, sock=sock, backlog=self._config.backlog, **tls)
