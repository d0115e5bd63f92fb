"""The document as a whole, and the route that serves it: AsyncAPI 3.0.0, whose sections the comments name.
The examples of frames are made by the functions that make the real ones."""

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from wsctl import __version__, client_ids, messages
from wsctl.addresses import host_port
from wsctl.codes import CloseCode, ErrorCode, can_be_sent, is_final
from wsctl.drain.phases import Phase
from wsctl.server.asyncapi import event_streams
from wsctl.server.asyncapi.frames import COMMANDS, FRAMES, KEEPALIVE, SCHEMAS, TRACEPARENT, parameters, ref

_TS = 1767225600.5
_ID = "1767225600500-0"

_EXAMPLES: dict[str, dict[str, bytes]] = {
    "welcome": {
        "first": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, None, connections=3, rate=messages.Allowance(20, 40, 40)
        ),
        "resumed": messages.welcome("bob", _ID, __version__, Phase.SERVING, True, connections=3),
        "resumedInPart": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, False, connections=3, lost=["quotes.eu"]
        ),
        "keptAlive": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, None, connections=3, keepalive_s=10
        ),
        "cutOff": messages.welcome(
            "bob", _ID, __version__, Phase.SERVING, None, connections=3, degraded=True
        ),
    },
    "message": {
        "toEveryone": messages.message(messages.Message(_ID, _TS, "alice", "hello")),
        "ofATopic": messages.message(messages.Message(_ID, _TS, "alice", 3.5, topic="quotes.eu")),
        "direct": messages.message(messages.Message(_ID, _TS, client_ids.SERVER, {"n": [1, None]}, ("bob",))),
        "traced": messages.message(messages.Message(_ID, _TS, "alice", "hello", traceparent=TRACEPARENT)),
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
        ErrorCode.HOOK_FAILED: messages.error(
            ErrorCode.HOOK_FAILED, "the server failed on this message: it was not published"
        ),
        ErrorCode.BAD_COMMAND: messages.error(ErrorCode.BAD_COMMAND, "publish needs data", 7),
        ErrorCode.UNKNOWN_COMMAND: messages.error(
            ErrorCode.UNKNOWN_COMMAND, "type is one of publish, subscribe, unsubscribe, presence, renew", 7
        ),
        ErrorCode.BAD_TOPIC: messages.error(
            ErrorCode.BAD_TOPIC, "> stands for all that follows: it is the last segment", 7
        ),
        ErrorCode.TOO_MANY_SUBSCRIPTIONS: messages.error(
            ErrorCode.TOO_MANY_SUBSCRIPTIONS, "a client may have 100 subscriptions", 7
        ),
        ErrorCode.TOPIC_NOT_ALLOWED: messages.error(
            ErrorCode.TOPIC_NOT_ALLOWED, "you may no longer subscribe to orders.>", topics=["orders.>"]
        ),
        ErrorCode.DIRECT_NOT_ALLOWED: messages.error(
            ErrorCode.DIRECT_NOT_ALLOWED, "you may not send direct messages", 7
        ),
    },
    "renewed": {"forAnHour": messages.renewed(3600.0)},
    "ok": {
        "published": messages.ok(7, id=_ID),
        "repeated": messages.ok(8, id=_ID, repeated=True),
        "subscribed": messages.ok("a", id=_ID, recovered=False, lost=["quotes.eu"]),
        "present": messages.ok("b", count=1, clients=[{"client_id": "bob", "connections": 2}]),
        "renewed": messages.ok("c", expires_in_s=3600.0),
    },
    "joined": {"bob": messages.joined("quotes.eu", "bob")},
    "left": {"bob": messages.left("quotes.eu", "bob")},
}

_SUMMARIES = {
    "welcome": "The first frame of a connection. A second one says that the server can share messages again:"
    " `recovered` then is false if messages were lost, and else the missed ones follow.",
    "message": "One published message. A client sees messages in order, and none twice.",
    "heartbeat": "The periodic test message. It has no id and is not kept for clients that resume.",
    "keepalive": "A sign of life, for a client that asked for it and got no other frame for that time.",
    "shutdown": "A drain began, its deadline moved, or it was cancelled.",
    "error": "A frame was refused, or the server is degraded; the connection stays open.",
    "renewed": "The answer to `renew`: the connection may stay.",
    "ok": "A command was carried out; its `ref` says which.",
    "joined": "A client subscribes to a topic from here on, for one that asked with `events`.",
    "left": "A client subscribes to a topic no more, for one that asked with `events`.",
}

_TEXT: dict[str, Any] = {
    "title": "text",
    "summary": "A text frame: the data of a new message, sent to everyone, its sender too.",
    "contentType": "text/plain",
    "payload": {"type": "string", "description": "At most `--max-message-size` bytes of UTF-8."},
    "examples": [{"name": "hello", "payload": "hello"}],
}

_COMMAND_SUMMARIES = {
    "publish": "A message for everyone, for the subscribers of a topic, or for some clients.",
    "subscribe": "Messages of these topics are wanted from here on, or from an earlier message on.",
    "unsubscribe": "Messages of these topics are wanted no more.",
    "presence": "A question: who subscribes to a topic?",
    "renew": "New credentials before the old ones expire, for a server with `--auth jwt`; not published.",
}

_COMMAND_EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "publish": {
        "toATopic": {"ref": 1, "data": {"price": 3.5}, "topic": "quotes.eu", "key": "order-17"},
        "traced": {"data": "hello", "traceparent": TRACEPARENT},
        "direct": {"data": "hello", "to": ["bob"]},
    },
    "subscribe": {
        "toTwo": {"ref": 2, "topics": ["quotes.>", "chat.*"], "since": _ID},
        "withEvents": {"ref": 3, "topics": ["chat.lobby"], "events": True},
    },
    "unsubscribe": {"fromOne": {"ref": 4, "topics": ["quotes.>"]}},
    "presence": {"inTheLobby": {"ref": "a", "topic": "chat.lobby"}},
    "renew": {"plain": {"token": "eyJhbGciOi..."}, "asCommand": {"ref": 5, "token": "eyJhbGciOi..."}},
}
"""Examples of what clients send, by `type`."""


def _command(kind: str) -> dict[str, Any]:
    found = _COMMAND_EXAMPLES[kind].items()
    examples = [{"name": name, "payload": {"type": kind} | fields} for name, fields in found]
    summary = _COMMAND_SUMMARIES[kind]
    return {"title": kind, "summary": summary, "payload": ref(kind), "examples": examples}


_OF_CLIENTS = {"text": _TEXT, **{kind: _command(kind) for kind in COMMANDS}}

CLOSE_CODES = [
    {"code": int(code), "name": code.name, "meaning": code.meaning, "reconnect": not is_final(code)}
    for code in CloseCode
    if can_be_sent(code)
]
"""The codes with which a server may close a connection. AsyncAPI has no word for it, but leaves room
(Specification Extensions)."""

PATH = "/asyncapi.json"

router = APIRouter()


def examples(kind: str) -> list[dict[str, Any]]:
    """Return examples of the frames of one `type`, as the document lists them."""
    return [{"name": str(name), "payload": json.loads(frame)} for name, frame in _EXAMPLES[kind].items()]


def document(host: str, scheme: str = "ws", root_path: str = "") -> dict[str, Any]:
    """Return the document of a server at `host` (a port may follow it); `scheme` is ws or wss."""
    where = {"host": host} | ({"pathname": root_path} if root_path else {})
    plain = "https" if scheme == "wss" else "http"
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wsctl",
            "version": __version__,
            "description": "WebSocket broadcasting that can be redeployed at noon. Other HTTP routes are"
            " described by `/openapi.json`.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": where | {"protocol": scheme},
            event_streams.HTTP: where | {"protocol": plain},
        },
        "channels": {"client": _channel(), **event_streams.channels()},
        "operations": _operations() | event_streams.operations(_query()),
        "components": {
            "schemas": SCHEMAS | event_streams.SCHEMAS,
            "messages": {kind: _message(kind) for kind in FRAMES} | _OF_CLIENTS | event_streams.MESSAGES,
        },
    }


def _channel() -> dict[str, Any]:
    kinds = (*FRAMES, *_OF_CLIENTS)
    return {
        "address": "/ws/{client_id}",
        "title": "One client's connection",
        "description": _description(),
        "servers": [{"$ref": "#/servers/this"}],
        "parameters": parameters(),
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in kinds},
        "bindings": {"ws": _handshake()},
        "x-close-codes": CLOSE_CODES,
    }


def _description() -> str:
    closes = "\n".join(f"- `{close['code']}`: {close['meaning']}" for close in CLOSE_CODES)
    return (
        "Each frame of the server is one JSON object in one text frame. A client that offers the subprotocol"
        " `wsctl.2` sends commands, and gets an `ok` or an `error` for each; what any other client sends is a"
        " `text`, or a `renew`. A handshake that is refused gets an"
        ' HTTP answer: `{"error": {"code": "...", "message": "..."}}`, with `Retry-After` where it is worth'
        " another try.\n\nClose codes; 4500 to 4999 ask a client not to come back, all others to reconnect"
        f" after a pause:\n\n{closes}\n"
    )


def _handshake() -> dict[str, Any]:
    """Return the fields that a handshake may carry (WebSockets Bindings 0.1.0, Channel Binding Object)."""
    origin = "Browsers send it: it must be the server's own or one of `--allow-origin`."
    bearer = "`Bearer TOKEN`, where the server has `--auth`."
    protocol = (
        "`wsctl.2` for a client that sends commands, else `wsctl`; from browsers also"
        " `bearer.BASE64URL-OF-TOKEN` behind it."
    )
    return {
        "method": "GET",
        "query": _query(),
        "headers": _strings(
            **{
                "Origin": {"type": "string", "description": origin},
                "Authorization": {"type": "string", "description": bearer},
                "Sec-WebSocket-Protocol": {"type": "string", "description": protocol},
            }
        ),
        "bindingVersion": "0.1.0",
    }


def _query() -> dict[str, Any]:
    """Return the schema of what a client may say in its address."""
    since = "The id of the last message seen: what came after it follows the welcome."
    keepalive = "Seconds after which a client that was sent nothing wants a sign of life; 0 for none."
    topic = "Topics to subscribe to, one parameter for each."
    return _strings(
        since={"allOf": [ref("messageId")], "description": since},
        keepalive={**KEEPALIVE, "minimum": 0, "description": keepalive},
        topic={"type": "array", "items": ref("topicPattern"), "description": topic},
    )


def _strings(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_REPLIES: dict[str, tuple[str, ...]] = {
    "subscribe": ("message", "joined", "left"),
    "unsubscribe": (),
    "presence": (),
    "renew": ("renewed",),
}
"""The frames that may follow a command, beside `ok` and `error`."""


def _operations() -> dict[str, Any]:
    """Return the server's operations. They name messages of the channel, never of the components (Operation
    Object)."""
    channel = {"$ref": "#/channels/client"}

    def named(*kinds: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/client/messages/{kind}"} for kind in kinds]

    return {
        "tell": {"action": "send", "channel": channel, "messages": named(*FRAMES)},
        "publish": {
            "action": "receive",
            "channel": channel,
            "messages": named("text", "publish"),
            "reply": {"channel": channel, "messages": named("message", "ok", "error")},
        },
        **{
            kind: {
                "action": "receive",
                "channel": channel,
                "messages": named(kind),
                "reply": {"channel": channel, "messages": named(*replies, "ok", "error")},
            }
            for kind, replies in _REPLIES.items()
        },
    }


def _message(kind: str) -> dict[str, Any]:
    return {"title": kind, "summary": _SUMMARIES[kind], "payload": ref(kind), "examples": examples(kind)}


@router.get(PATH, summary="The frames of WebSockets and event streams, as AsyncAPI 3")
async def asyncapi(request: Request) -> JSONResponse:
    scope = request.scope
    scheme = "wss" if scope["scheme"] == "https" else "ws"
    return JSONResponse(document(_host(request), scheme, scope.get("root_path", "")))


def _host(request: Request) -> str:
    """Return the name that the server was asked by; else, for HTTP/1.0 has no Host, the address where it
    listens."""
    name, port = request.scope.get("server") or ("localhost", None)
    return request.headers.get("host") or host_port(name, port or 0)
