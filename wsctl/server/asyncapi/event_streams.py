"""The part of the document about clients that speak plain HTTP: their event streams, and `POST /publish`."""

import json
from typing import Any

from wsctl.codes import CloseCode
from wsctl.event_stream import closing
from wsctl.server.asyncapi.frames import COMMANDS, FRAMES, TRACEPARENT, Schema, parameters, record, ref

EVENTS = ("welcome", "message", "heartbeat", "shutdown", "error")
"""The frames that come as events; `close` stands behind them."""

HTTP = "http"
"""The server's entry for these channels."""

_BINDING_VERSION = "0.3.0"

_OF_PUBLISH = {
    name: field for name, field in COMMANDS["publish"]["properties"].items() if name not in ("type", "ref")
}

SCHEMAS: dict[str, Schema] = {
    "close": record(
        type={"type": "string", "const": "close"},
        code={"type": "integer", "description": "As in the close frame of a WebSocket."},
        reason={"type": "string", "description": "For people."},
    ),
    "publishing": record(optional=("topic", "to", "key", "traceparent"), **_OF_PUBLISH),
    "published": record(
        optional=("repeated",), **{name: FRAMES["ok"]["properties"][name] for name in ("id", "repeated")}
    ),
}


def _example(name: str, payload: object) -> dict[str, Any]:
    return {"name": name, "payload": payload}


_ENDED = closing(CloseCode.SERVICE_RESTART, "the server is restarting: reconnect", 1000)

MESSAGES: dict[str, dict[str, Any]] = {
    "close": {
        "title": "close",
        "summary": "The last event of a stream that the server ends, with `retry`: the milliseconds after"
        " which the client connects again. With a final code its `id` is `final`.",
        "payload": ref("close"),
        "examples": [_example("restarting", json.loads(_ENDED.partition(b"data: ")[2]))],
    },
    "publishing": {
        "title": "publishing",
        "summary": "A new message; as `text/plain` the body is its data.",
        "payload": ref("publishing"),
        "examples": [
            _example("toEveryone", {"data": "hello"}),
            _example("traced", {"data": "hello", "traceparent": TRACEPARENT}),
            _example("toSome", {"data": {"n": 1}, "topic": "chat.lobby", "to": ["bob"], "key": "order-17"}),
        ],
    },
    "published": {
        "title": "published",
        "summary": "The message was published. A refusal has a status, and `error` with `code` and"
        " `message`.",
        "payload": ref("published"),
        "examples": [
            _example("new", {"id": "1767225600500-0"}),
            _example("again", {"id": "1767225600500-0", "repeated": True}),
        ],
    },
}


def channels() -> dict[str, dict[str, Any]]:
    """Return the channels of these clients."""
    servers = [{"$ref": f"#/servers/{HTTP}"}]
    return {
        "events": {
            "address": "/events/{client_id}",
            "title": "One client's event stream",
            "description": "Server-sent events: `event` is a frame's `type`, `id` the id of a message, `data`"
            " the frame. The header `Last-Event-ID` resumes like `since`, `Authorization` has the"
            " credentials. A comment is the sign of life.",
            "servers": servers,
            "parameters": parameters(),
            "messages": {kind: _component(kind) for kind in (*EVENTS, "close")},
        },
        "publishing": {
            "address": "/publish",
            "title": "Messages of clients that have no WebSocket",
            "description": "One message a request, within the rate and the permissions of the client: that of"
            " its credentials, or of `?id=NAME`.",
            "servers": servers,
            "messages": {kind: _component(kind) for kind in ("publishing", "published")},
        },
    }


def operations(query: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of these clients; `query` is the schema of what may stand in the address."""
    events, publishing = ({"$ref": f"#/channels/{name}"} for name in ("events", "publishing"))
    return {
        "stream": {
            "action": "send",
            "channel": events,
            "messages": [_named("events", kind) for kind in (*EVENTS, "close")],
            "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": _BINDING_VERSION}},
        },
        "post": {
            "action": "receive",
            "channel": publishing,
            "messages": [_named("publishing", "publishing")],
            "reply": {"channel": publishing, "messages": [_named("publishing", "published")]},
            "bindings": {"http": {"method": "POST", "bindingVersion": _BINDING_VERSION}},
        },
    }


def _component(kind: str) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{kind}"}


def _named(channel: str, kind: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{kind}"}
