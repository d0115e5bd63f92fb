"""The document as a whole: AsyncAPI 3.0.0, whose sections the comments name."""

from typing import Any

from wsctl import __version__
from wsctl.codes import CloseCode, can_be_sent, is_final
from wsctl.server.asyncapi.examples import examples
from wsctl.server.asyncapi.frames import CLIENT_ID, FRAMES, KEEPALIVE, SCHEMAS, ref

_WHAT = {
    "welcome": "The first frame of a connection. It comes once more on an open one when the server was cut"
    " off from those that it shares messages with and is back: `recovered` then says whether anything was"
    " lost, and what was missed follows.",
    "message": "One published message. A client sees messages in order, and none twice.",
    "heartbeat": "The periodic test message. It has no id and is not kept for clients that resume.",
    "keepalive": "A sign of life, for a client that asked for it and was sent nothing else for so long.",
    "shutdown": "A drain began, its deadline moved, or it was cancelled.",
    "error": "Something was not taken, or the server is cut off; the connection stays open.",
    "renewed": "The answer to `renew`: the connection may stay.",
}

_TEXT: dict[str, Any] = {
    "title": "text",
    "summary": "A text frame: the data of a new message, sent to everyone, its sender too.",
    "contentType": "text/plain",
    "payload": {"type": "string", "description": "At most `--max-message-size` bytes of UTF-8."},
    "examples": [{"name": "hello", "payload": "hello"}],
}

_RENEW: dict[str, Any] = {
    "title": "renew",
    "summary": "Credentials in place of those that end, where the server has `--auth jwt`; for it alone.",
    "payload": ref("renew"),
    "examples": [{"name": "renew", "payload": {"type": "renew", "token": "eyJhbGciOi..."}}],
}

_OF_CLIENTS = {"text": _TEXT, "renew": _RENEW}

CLOSE_CODES = [
    {"code": int(code), "name": code.name, "meaning": code.meaning, "reconnect": not is_final(code)}
    for code in CloseCode
    if can_be_sent(code)
]
"""The codes with which a server may close a connection. AsyncAPI has no word for it, but leaves room
(Specification Extensions)."""


def document(host: str, scheme: str = "ws", root_path: str = "") -> dict[str, Any]:
    """Return the document of a server at `host` (a port may follow it); `scheme` is ws or wss."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wsctl",
            "version": __version__,
            "description": "WebSocket broadcasting that can be redeployed at noon. The HTTP routes are"
            " described by `/openapi.json`.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {"host": host, "protocol": scheme} | ({"pathname": root_path} if root_path else {})
        },
        "channels": {"client": _channel()},
        "operations": _operations(),
        "components": {
            "schemas": SCHEMAS,
            "messages": {kind: _message(kind) for kind in FRAMES} | _OF_CLIENTS,
        },
    }


def _channel() -> dict[str, Any]:
    kinds = (*FRAMES, *_OF_CLIENTS)
    return {
        "address": "/ws/{client_id}",
        "title": "One client's connection",
        "description": _description(),
        # A Parameter Object has no schema (Parameter Object): what it must look like is an extension.
        "parameters": {
            "client_id": {
                "description": CLIENT_ID["description"],
                "examples": ["bob"],
                "x-schema": ref("clientId"),
            }
        },
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in kinds},
        "bindings": {"ws": _handshake()},
        "x-close-codes": CLOSE_CODES,
    }


def _description() -> str:
    closes = "\n".join(f"- `{close['code']}`: {close['meaning']}" for close in CLOSE_CODES)
    return (
        "Each frame of the server is one JSON object in one text frame. A handshake that is refused gets an"
        ' HTTP answer: `{"error": {"code": "...", "message": "..."}}`, with `Retry-After` where it is worth'
        " another try.\n\nClose codes; 4500 to 4999 ask a client not to come back, all others to reconnect"
        f" after a pause:\n\n{closes}\n"
    )


def _handshake() -> dict[str, Any]:
    """Return the fields that a handshake may carry (WebSockets Bindings 0.1.0, Channel Binding Object)."""
    since = "The id of the last message seen: what came after it follows the welcome."
    keepalive = "Seconds after which a client that was sent nothing wants a sign of life; 0 for none."
    origin = "Browsers send it: it must be the server's own or one of `--allow-origin`."
    bearer = "`Bearer TOKEN`, where the server has `--auth`."
    protocol = "The same from browsers: `wsctl, bearer.BASE64URL-OF-TOKEN`."
    return {
        "method": "GET",
        "query": _strings(
            since={"allOf": [ref("messageId")], "description": since},
            keepalive={**KEEPALIVE, "minimum": 0, "description": keepalive},
        ),
        "headers": _strings(
            **{
                "Origin": {"type": "string", "description": origin},
                "Authorization": {"type": "string", "description": bearer},
                "Sec-WebSocket-Protocol": {"type": "string", "description": protocol},
            }
        ),
        "bindingVersion": "0.1.0",
    }


def _strings(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


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
            "messages": named("text"),
            "reply": {"channel": channel, "messages": named("message", "error")},
        },
        "renew": {
            "action": "receive",
            "channel": channel,
            "messages": named("renew"),
            "reply": {"channel": channel, "messages": named("renewed", "error")},
        },
    }


def _message(kind: str) -> dict[str, Any]:
    return {"title": kind, "summary": _WHAT[kind], "payload": ref(kind), "examples": examples(kind)}
