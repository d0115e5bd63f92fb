"""The parts of a server that its connections use."""

from collections.abc import Callable
from dataclasses import dataclass

from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.replays import Replays
from wsctl.log.message_log import MessageLog
from wsctl.server.credentials.expiry import ExpiryTimes
from wsctl.server.welcome import Welcome
from wsctl.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionServices:
    """What every connection of a process uses: one object for all of them."""

    settings: Settings
    clock: Callable[[], float]
    manager: ConnectionManager
    log: MessageLog
    intake: Intake
    replays: Replays
    expiry: ExpiryTimes
    welcome: Welcome
