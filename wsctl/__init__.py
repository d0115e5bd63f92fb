"""WebSocket broadcasting that can be redeployed at noon.

The names of the library are loaded when they are first used: `import wsctl` loads nothing, `from wsctl import
connect` the client and no server. `wsctl docs python` describes that one, `wsctl docs applications` the hub.
"""

__version__ = "0.1.0"

__all__ = [
    "Client",
    "CommandRefused",
    "Connected",
    "Degraded",
    "Disconnected",
    "Draining",
    "Handshake",
    "Hub",
    "Incoming",
    "Joined",
    "Left",
    "Lost",
    "Message",
    "MessageStream",
    "NotConnected",
    "NotPublished",
    "Presence",
    "Refuse",
    "Reject",
    "Rejected",
    "Restored",
    "Retrying",
    "SessionEnded",
    "ShutdownNotice",
    "StreamEvent",
    "Unconfirmed",
    "connect",
    "shutdown_notice",
]

TYPE_CHECKING = False
"""True for type checkers, which know the name: `typing`, which has it too, takes longer to load than this."""

if TYPE_CHECKING:
    from wsctl.client.commands import CommandRefused
    from wsctl.client.session import NotConnected
    from wsctl.client.stream import MessageStream, Presence, SessionEnded, Unconfirmed, connect
    from wsctl.client.stream_events import (
        Connected,
        Degraded,
        Disconnected,
        Draining,
        Joined,
        Left,
        Lost,
        Rejected,
        Restored,
        Retrying,
        StreamEvent,
    )
    from wsctl.errors import NotPublished
    from wsctl.library import Hub
    from wsctl.messages import Message
    from wsctl.server.asgi.notice import ShutdownNotice, shutdown_notice
    from wsctl.server.websocket.hooks import Client, Handshake, Incoming, Refuse, Reject

_MODULES = {
    "Client": "wsctl.server.websocket.hooks",
    "CommandRefused": "wsctl.client.commands",
    "Connected": "wsctl.client.stream_events",
    "Degraded": "wsctl.client.stream_events",
    "Disconnected": "wsctl.client.stream_events",
    "Draining": "wsctl.client.stream_events",
    "Handshake": "wsctl.server.websocket.hooks",
    "Hub": "wsctl.library",
    "Incoming": "wsctl.server.websocket.hooks",
    "Joined": "wsctl.client.stream_events",
    "Left": "wsctl.client.stream_events",
    "Lost": "wsctl.client.stream_events",
    "Message": "wsctl.messages",
    "MessageStream": "wsctl.client.stream",
    "NotConnected": "wsctl.client.session",
    "NotPublished": "wsctl.errors",
    "Presence": "wsctl.client.stream",
    "Refuse": "wsctl.server.websocket.hooks",
    "Reject": "wsctl.server.websocket.hooks",
    "Rejected": "wsctl.client.stream_events",
    "Restored": "wsctl.client.stream_events",
    "Retrying": "wsctl.client.stream_events",
    "SessionEnded": "wsctl.client.stream",
    "ShutdownNotice": "wsctl.server.asgi.notice",
    "StreamEvent": "wsctl.client.stream_events",
    "Unconfirmed": "wsctl.client.stream",
    "connect": "wsctl.client.stream",
    "shutdown_notice": "wsctl.server.asgi.notice",
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562); the next use finds it in the module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names, those that are not loaded yet too."""
    return sorted({*globals(), *_MODULES})
