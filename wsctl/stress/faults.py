"""What keeps a stress run from going on: events of its clients, and servers that share no messages."""

import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from wsctl.client import events
from wsctl.client.connection import CREDENTIAL_SOURCE
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Opened,
    Received,
    ServerDegraded,
)
from wsctl.codes import CloseCode
from wsctl.errors import Refused, Unreachable, WsctlError
from wsctl.stress.topic_plan import ROOT

_ADVICE = "they share no messages; start both with the same --redis, or name one of them"


class ClusterCheck:
    """Checks that several servers share their messages: one message from each must arrive at every one of
    them, and everywhere with one id. Servers which share their messages have one order of them, and a client
    can resume on any. No I/O.

    `servers` are the names of the servers in messages.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = servers
        self._run = secrets.token_hex(4)
        # Of the message of each server the id that it had at each that it came to.
        self._ids: dict[str, dict[str, object]] = {self.text(server): {} for server in servers}

    def text(self, server: str) -> str:
        """Return the message that a client is to send to a server."""
        return f"{self._run} is {server} one with the others?"

    def receive(self, server: str, frame: dict[str, Any]) -> None:
        """Take a frame that a server sent to a client."""
        data = frame.get("data")
        if isinstance(data, str) and data in self._ids:
            self._ids[data][server] = frame.get("id")

    @property
    def complete(self) -> bool:
        """True if each message has come to every server."""
        return all(len(received) == len(self._servers) for received in self._ids.values())

    def fault(self) -> str | None:
        """Say why the servers do not share their messages; None when they do."""
        for first in self._servers:
            received = self._ids[self.text(first)]
            if first not in received:
                return f"{first} did not send a message back in time: is it overloaded?"
            for other in self._servers:
                if other not in received:
                    return f"what {first} takes does not arrive at {other}: {_ADVICE}"
                if received[other] != received[first]:
                    return f"one message has different ids at {first} and {other}: {_ADVICE}"
        return None


def fatal_error(client_id: str, server: str, event: Event, *, publishing: bool) -> WsctlError | None:
    """Return the error with which an event of a client ends a run, which has begun to publish or not; None
    when the run goes on. `server` is the name of the client's server in messages."""
    match event:
        case Received({"type": "error", "code": "publish_disabled"}):
            text = f"{server} takes no messages from clients: start it without --no-client-publish"
            return WsctlError(text)
        case Received({"type": "error", "code": events.TOPIC_NOT_ALLOWED}):
            return WsctlError(f"{server} does not permit its clients the topics {ROOT}.>")
        case _ if publishing:
            return None
        case Opened(degraded=True) | ServerDegraded() | Received({"type": "error", "code": events.DEGRADED}):
            text = f"{server} is degraded and takes no messages for now: 'wsctl status' says why"
            return WsctlError(text)
        case Closed() | HandshakeRefused() | ConnectFailed():
            return _reason(client_id, server, event)
    return None


def _reason(client_id: str, server: str, event: Closed | HandshakeRefused | ConnectFailed) -> WsctlError:
    """Return the error that says why a run cannot begin."""
    match event:
        case ConnectFailed():
            return Unreachable(event.advised)
        case HandshakeRefused(HTTPStatus.UNAUTHORIZED, _, message):
            advice = f"{CREDENTIAL_SOURCE}, those of many clients from --jwt-key"
            return Refused(f"{server} refused client {client_id}: {message}; {advice}")
        case HandshakeRefused(status, _, message):
            return Refused(f"{server} refused client {client_id} with HTTP {status}: {message}")
        case Closed(CloseCode.REPLACED):
            return Refused(f"another program connected as {client_id}: choose another --id")
        case Closed(code, reason):
            return Refused(f"{server} closed client {client_id} with {code}: {reason}")
