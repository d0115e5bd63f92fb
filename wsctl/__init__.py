"""WebSocket broadcasting that can be redeployed at noon.

The names of the library are loaded when they are first used: `import wsctl` loads nothing, `from wsctl import
connect` the client and no server. `wsctl docs python` describes them.
"""

__version__ = "0.1.0"

__all__ = [
    "Connected",
    "Degraded",
    "Disconnected",
    "Draining",
    "Lost",
    "Message",
    "MessageStream",
    "NotConnected",
    "Rejected",
    "Restored",
    "Retrying",
    "SessionEnded",
    "StreamEvent",
    "Unconfirmed",
    "connect",
]

TYPE_CHECKING = False
"""True for type checkers, which know the name: `typing`, which has it too, takes longer to load than this."""

if TYPE_CHECKING:
    from wsctl.client.session import NotConnected
    from wsctl.client.stream import MessageStream, SessionEnded, Unconfirmed, connect
    from wsctl.client.stream_events import (
        Connected,
        Degraded,
        Disconnected,
        Draining,
        Lost,
        Rejected,
        Restored,
        Retrying,
        StreamEvent,
    )
    from wsctl.messages import Message

_MODULES = {
    "Connected": "wsctl.client.stream_events",
    "Degraded": "wsctl.client.stream_events",
    "Disconnected": "wsctl.client.stream_events",
    "Draining": "wsctl.client.stream_events",
    "Lost": "wsctl.client.stream_events",
    "Message": "wsctl.messages",
    "MessageStream": "wsctl.client.stream",
    "NotConnected": "wsctl.client.session",
    "Rejected": "wsctl.client.stream_events",
    "Restored": "wsctl.client.stream_events",
    "Retrying": "wsctl.client.stream_events",
    "SessionEnded": "wsctl.client.stream",
    "StreamEvent": "wsctl.client.stream_events",
    "Unconfirmed": "wsctl.client.stream",
    "connect": "wsctl.client.stream",
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
