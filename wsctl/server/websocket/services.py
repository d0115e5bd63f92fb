"""The parts of a server that connections use, and their acceptors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wsctl.hub.connection import Connection
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import TopicPresence
from wsctl.hub.replays import Replays
from wsctl.log.message_log import MessageLog
from wsctl.server.credentials.expiry import ExpiryTimes
from wsctl.server.credentials.permissions import PermissionTable
from wsctl.server.http.host_header import AllowedHosts
from wsctl.server.http.refusals import Refusals
from wsctl.server.websocket.admission import Admission, Admitted
from wsctl.server.websocket.drain_rejection import DrainRejector
from wsctl.server.websocket.hook_calls import HookCalls
from wsctl.server.websocket.identities import Identities
from wsctl.server.websocket.waiting_handshake import WaitingHandshake
from wsctl.server.websocket.welcome import Welcome
from wsctl.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionServices:
    """The parts that every connection of a process uses: one object for all of them."""

    settings: Settings
    clock: Callable[[], float]
    manager: ConnectionManager
    log: MessageLog
    intake: Intake
    presence: TopicPresence
    replays: Replays
    expiry: ExpiryTimes
    welcome: Welcome
    identities: Identities
    permissions: PermissionTable
    hooks: HookCalls | None = None


def admit(services: ConnectionServices, connection: Connection, admitted: Admitted, identity: Any) -> None:
    """Give a new connection what its handshake asked for and was granted, before it becomes active."""
    connection.keepalive = admitted.keepalive
    if admitted.topics:
        connection.subscriptions = dict.fromkeys(admitted.topics, False)
    if admitted.expires is not None:
        services.expiry.set(connection, admitted.expires)
    if admitted.permissions is not None:
        services.permissions.set(connection, admitted.permissions)
    if identity is not None:
        services.identities.set(connection, identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptorServices:
    """The parts that an acceptor of WebSockets uses, whichever server has the sockets."""

    hosts: AllowedHosts
    admission: Admission
    refusals: Refusals
    drain_rejector: DrainRejector
    connections: ConnectionServices
    waiting: set[WaitingHandshake]
