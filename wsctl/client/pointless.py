"""The events that make a load pointless, and their errors."""

from http import HTTPStatus

from wsctl.client import events
from wsctl.client.events import Closed, Degraded, Event, Failed, Opened, Received, Refused
from wsctl.client.reasons import WHERE_FROM
from wsctl.codes import CloseCode
from wsctl.errors import Refused as ServerRefused
from wsctl.errors import Unreachable, WsctlError


def pointless(client_id: str, server: str, event: Event, *, publishing: bool) -> WsctlError | None:
    """Return the error that an event of a client means, in a run which has begun to publish or not; `server`
    is the name of its server in messages. None: the run goes on."""
    match event:
        case Received({"type": "error", "code": "publish_disabled"}):
            text = f"{server} takes no messages from clients: start it with --client-publish"
            return WsctlError(text)
        case _ if publishing:
            return None
        case Opened(degraded=True) | Degraded() | Received({"type": "error", "code": events.DEGRADED}):
            text = f"{server} is degraded and takes no messages for now: 'wsctl status' says why"
            return WsctlError(text)
        case Closed() | Refused() | Failed():
            return _reason(client_id, server, event)
    return None


def _reason(client_id: str, server: str, event: Closed | Refused | Failed) -> WsctlError:
    """Return the error that says why a run cannot begin."""
    match event:
        case Failed():
            return Unreachable(event.advised)
        case Refused(HTTPStatus.UNAUTHORIZED, _, message):
            advice = f"{WHERE_FROM}, those of many clients from --jwt-key"
            return ServerRefused(f"{server} refused client {client_id}: {message}; {advice}")
        case Refused(status, _, message):
            return ServerRefused(f"{server} refused client {client_id} with HTTP {status}: {message}")
        case Closed(CloseCode.REPLACED):
            return ServerRefused(f"another program connected as {client_id}: choose another --id")
        case Closed(code, reason):
            return ServerRefused(f"{server} closed client {client_id} with {code}: {reason}")
