"""Examples of the frames that servers send, each made by the function that makes the real ones."""

import json
from typing import Any

from wsctl import __version__, messages
from wsctl.codes import ErrorCode
from wsctl.drain.phases import Phase

_TS = 1767225600.5
_ID = "1767225600500-0"

_ENCODED: dict[str, dict[str, bytes]] = {
    "welcome": {
        "first": messages.welcome("bob", _ID, __version__, Phase.SERVING, None, connections=3),
        "resumed": messages.welcome("bob", _ID, __version__, Phase.SERVING, True, connections=3),
        "keptAlive": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, None, connections=3, keepalive_s=10
        ),
        "cutOff": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, None, connections=3, degraded=True
        ),
    },
    "message": {
        "toEveryone": messages.message(messages.Message(_ID, _TS, "alice", "hello")),
        "direct": messages.message(messages.Message(_ID, _TS, messages.SERVER, {"n": [1, None]}, ("bob",))),
    },
    "heartbeat": {"tenth": messages.heartbeat(_TS, 3, 10)},
    "keepalive": {"always": messages.keepalive()},
    "shutdown": {
        "draining": messages.shutdown(1800.0, "SIGTERM"),
        "atYourOwnMoment": messages.shutdown(1800.0, "SIGTERM", 42.125),
        "cancelled": messages.shutdown(None, "cancelled"),
    },
    "error": {
        ErrorCode.RATE_LIMITED: messages.error(
            ErrorCode.RATE_LIMITED, "more than 20 messages a second: this one was not sent"
        ),
        ErrorCode.PUBLISH_DISABLED: messages.error(
            ErrorCode.PUBLISH_DISABLED, "this server does not take messages from clients"
        ),
        ErrorCode.DEGRADED: messages.error(
            ErrorCode.DEGRADED, "the server cannot publish for now: this message was not published"
        ),
        ErrorCode.UNCONFIRMED: messages.error(
            ErrorCode.UNCONFIRMED, "nobody confirmed that it was published; it may still be delivered"
        ),
        ErrorCode.RENEWAL_REFUSED: messages.error(ErrorCode.RENEWAL_REFUSED, "the token has expired"),
    },
    "renewed": {"forAnHour": messages.renewed(3600.0)},
}


def examples(kind: str) -> list[dict[str, Any]]:
    """Return examples of the frames of one `type`, as the document lists them."""
    return [{"name": str(name), "payload": json.loads(frame)} for name, frame in _ENCODED[kind].items()]
