"""The parts of a server that what accepts its connections uses."""

from dataclasses import dataclass

from wsctl.server.admission import Admission
from wsctl.server.connection_services import ConnectionServices
from wsctl.server.drain_rejection import DrainRejector
from wsctl.server.host_header import AllowedHosts
from wsctl.server.refusals import Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptorServices:
    """What an acceptor of WebSockets uses, whichever server has the sockets."""

    hosts: AllowedHosts
    admission: Admission
    refusals: Refusals
    drain_rejector: DrainRejector
    connections: ConnectionServices
