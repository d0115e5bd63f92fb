"""Connections in their TLS handshake: they are counted and have a deadline before anything else is known."""

import asyncio
import logging
import os
import socket
import ssl
from typing import Any

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.server.http.deadlines import HEAD_TIMEOUT
from wsctl.server.http.proxy import peer_address
from wsctl.server.listening.protocol_detection import AcceptedConnections

log = logging.getLogger("wsctl.server")


class TlsHandshake(asyncio.Protocol):
    """A connection in its TLS handshake. Its socket gets a transport that speaks TLS, and a protocol detector
    when the handshake is complete.

    A listener that speaks TLS by itself shows nobody the connections whose handshake is not complete.
    """

    def __init__(self, accepted: AcceptedConnections, context: ssl.SSLContext) -> None:
        self._accepted = accepted
        self._context = context
        self._gone = False
        self._sock: socket.socket
        self._task: asyncio.Task[Any] | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.peer = peer_address(transport)[0]
        self._accepted.add(self, self)
        if not self._gone:
            self._begin(transport)
        transport.abort()  # before it reads anything: that is for the one that speaks TLS

    def evict(self) -> bool:
        """End the handshake without an answer: nothing can be said to a peer before TLS."""
        self._gone = True
        if self._task:
            self._task.cancel()
        return True

    def _begin(self, transport: asyncio.Transport) -> None:
        try:
            self._sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:  # no descriptor is left
            self._accepted.pending.release(self)
            return
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(
            loop.connect_accepted_socket(
                self._accepted.detector,
                self._sock,
                ssl=self._context,
                ssl_handshake_timeout=HEAD_TIMEOUT,
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
        )
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._accepted.pending.release(self)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error:
            self._sock.close()
        if error and not isinstance(error, OSError):  # the peer went, speaks no TLS, or said nothing
            log.error("a TLS handshake failed", exc_info=error)
