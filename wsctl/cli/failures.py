"""The events that end `wsctl client`, with their words and exit codes."""

from http import HTTPStatus

from wsctl import errors
from wsctl.cli.ui.printable import printable
from wsctl.client.connect_errors import CREDENTIAL_SOURCE
from wsctl.client.events import ConnectFailed, Event, HandshakeRefused, is_final

_KINDS: dict[int, type[errors.WsctlError]] = {
    HTTPStatus.BAD_REQUEST: errors.UsageError,
    HTTPStatus.UNAUTHORIZED: errors.Refused,
    HTTPStatus.FORBIDDEN: errors.Refused,
}
"""The errors for final answers; any other one is no answer of a wsctl server."""


def failure(event: Event, *, connected_once: bool) -> errors.WsctlError | None:
    """Return the error that an event means. A server that was there before is waited for; one that never was
    is not."""
    match event:
        case ConnectFailed() if is_final(event) or not connected_once:
            return errors.Unreachable(printable(event.advised))
        case HandshakeRefused(status=status, message=message) if is_final(event):
            kind = _KINDS.get(status, errors.Unreachable)
            advice = f"; {CREDENTIAL_SOURCE}" if status == HTTPStatus.UNAUTHORIZED else ""
            return kind(f"the server refused: HTTP {status} {printable(message)}{advice}")
    return None
