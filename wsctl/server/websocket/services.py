"""The parts of a server that connections use, and their acceptors."""

from collections.abc import Callable
from dataclasses import dataclass

from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import TopicPresence
from wsctl.hub.replays import Replays
from wsctl.log.message_log import MessageLog
from wsctl.server.credentials.expiry import ExpiryTimes
from wsctl.server.http.host_header import AllowedHosts
from wsctl.server.http.refusals import Refusals
from wsctl.server.websocket.admission import Admission
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
    hooks: HookCalls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptorServices:
    """The parts that an acceptor of WebSockets uses, whichever server has the sockets."""

    hosts: AllowedHosts
    admission: Admission
    refusals: Refusals
    drain_rejector: DrainRejector
    connections: ConnectionServices
    waiting: set[WaitingHandshake]
