"""The frames of `wsctl.messages` as JSON Schemas (draft 7, which AsyncAPI 3 builds on).

A server sends nothing that is not written here, so no schema lets other fields pass. A client should all
the same ignore what it does not know: a newer server may say more.
"""

from typing import Any

from wsctl import client_ids, messages, topics
from wsctl.codes import ErrorCode
from wsctl.control.operations import MAX_KEY
from wsctl.drain.phases import Phase
from wsctl.hub.presence import MOST_PRESENT
from wsctl.server.websocket.admission import MAX_SINCE
from wsctl.server.websocket.commands import (
    MAX_ADDRESSEES,
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_REF,
    MAX_TOPICS,
)

Schema = dict[str, Any]

# The characters that may stand first in an id, and behind it. JSON Schema has no classes of letters that
# every validator knows (section 6.4 of draft 7): of ASCII this is exact, beyond it too much passes.
_CLIENT_ID = r"^[^\u0000-/:-@\[-`{-\u007f][^\u0000-*,/;-?\[-^`{-}\u007f]*$"

_SEGMENT = "[A-Za-z0-9_~@:+-]+"

CLIENT_ID: Schema = {
    "type": "string",
    "description": "Letters and digits of any script and `. _ @ : + ~ -`, the first one a letter or digit,"
    " in Unicode normal form C. `server` is not allowed.",
    "minLength": 1,
    "maxLength": client_ids.MAX_CLIENT_ID,
    "pattern": _CLIENT_ID,
    "not": {"const": client_ids.SERVER},
}

TOPIC: Schema = {
    "type": "string",
    "description": f"1 to {topics.MAX_SEGMENTS} segments, joined by dots, of `A-Z a-z 0-9 _ ~ @ : + -`.",
    "minLength": 1,
    "maxLength": topics.MAX_LENGTH,
    "pattern": rf"^{_SEGMENT}(\.{_SEGMENT}){{0,{topics.MAX_SEGMENTS - 1}}}$",
}

PATTERN: Schema = {
    "type": "string",
    "description": "A topic, or several: `*` in place of a segment is any one, `>` as the last one any rest.",
    "minLength": 1,
    "maxLength": topics.MAX_LENGTH,
    "pattern": rf"^(>|({_SEGMENT}|\*)(\.({_SEGMENT}|\*)){{0,{topics.MAX_SEGMENTS - 2}}}"
    rf"(\.({_SEGMENT}|[*>]))?)$",
}

MESSAGE_ID: Schema = {
    "type": "string",
    "description": "Opaque: only the server compares ids. They order all messages.",
    "minLength": 1,
    "maxLength": MAX_SINCE,
    "pattern": "^[0-9A-Za-z-]+$",
}

KEEPALIVE: Schema = {
    "type": "integer",
    "minimum": messages.KEEPALIVE[0],
    "maximum": messages.KEEPALIVE[-1],
}

_MOMENT: Schema = {"type": "number", "minimum": 0, "description": "Unix seconds."}


def ref(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`, from within the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameters() -> dict[str, Any]:
    """Return the parameters of a client's address. A Parameter Object has no schema (AsyncAPI 3.0.0,
    Parameter Object): what it must look like is an extension."""
    return {
        "client_id": {
            "description": CLIENT_ID["description"],
            "examples": ["bob"],
            "x-schema": ref("clientId"),
        }
    }


def record(*, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    """Return the schema of an object with these fields and no others."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _frame(kind: str, *, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    return record(optional=optional, type={"type": "string", "const": kind}, **fields)


REF: Schema = {
    "description": "The name that a client gives a command; the answer has it, too.",
    "anyOf": [
        {"type": "string", "maxLength": MAX_REF},
        {"type": "integer", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
    ],
}

_LOST: Schema = {
    "type": "array",
    "description": "The topics of which messages are lost for good, or the patterns of so many.",
    "items": ref("topicPattern"),
    "minItems": 1,
    "uniqueItems": True,
}

FRAMES: dict[str, Schema] = {
    "welcome": _frame(
        "welcome",
        optional=("recovered", "lost", "keepalive_s", "rate"),
        client_id=ref("clientId"),
        id={"allOf": [ref("messageId")], "description": "The newest message's."},
        recovered={
            "type": "boolean",
            "description": "In answer to `since`: true when no message was lost, and the missed ones follow;"
            " false when the history does not reach that far.",
        },
        lost=_LOST,
        keepalive_s={
            **KEEPALIVE,
            "description": "In answer to `keepalive`: the longest time between two frames, in seconds.",
        },
        rate={
            **record(
                per_second={"type": "number", "exclusiveMinimum": 0, "description": "Tokens that come back."},
                burst={"type": "integer", "minimum": 1, "description": "Tokens that there are at most."},
                left={"type": "integer", "minimum": 0, "description": "Tokens that there are now."},
            ),
            "description": "The rate that the client has to keep: each message or command takes a token."
            " Absent when there is no limit.",
        },
        server=record(
            optional=("degraded",),
            version={"type": "string", "minLength": 1},
            phase={"type": "string", "enum": [phase.value for phase in Phase]},
            connections={"type": "integer", "minimum": 1, "description": "Clients, this one among them."},
            degraded={
                "type": "boolean",
                "const": True,
                "description": "True while the server cannot share messages with the others.",
            },
        ),
    ),
    "message": _frame(
        "message",
        optional=("topic", "traceparent", "to"),
        id=ref("messageId"),
        ts=_MOMENT,
        **{"from": {"anyOf": [{"type": "string", "const": client_ids.SERVER}, ref("clientId")]}},
        topic={"allOf": [ref("topic")], "description": "Absent from a message to everyone."},
        traceparent={"type": "string", "description": "The trace context (W3C), where the server sends it."},
        data={"description": "Any JSON value; a text, when a client sent it."},
        to={
            "type": "array",
            "description": "Of a direct message: the client alone, or all addressees if they are shown.",
            "items": ref("clientId"),
            "uniqueItems": True,
        },
    ),
    "heartbeat": _frame(
        "heartbeat",
        ts=_MOMENT,
        connections={"type": "integer", "minimum": 0},
        n={
            "type": "integer",
            "minimum": 1,
            "description": "The number of the heartbeat since the server's start.",
        },
    ),
    "keepalive": _frame("keepalive"),
    "shutdown": _frame(
        "shutdown",
        optional=("reconnect_in_s",),
        deadline_s={
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds until the remaining clients are closed; null when the drain was"
            " cancelled.",
        },
        reason={"type": "string"},
        reconnect_in_s={
            "type": "number",
            "minimum": 0,
            "description": "Seconds after which this client is asked to leave by itself.",
        },
    ),
    "error": _frame(
        "error",
        optional=("ref", "topics"),
        ref=ref("ref"),
        code={
            "anyOf": [{"enum": [code.value for code in ErrorCode]}, {"pattern": "^[a-z0-9_]{1,64}$"}],
            "type": "string",
            "description": "One of these, or one that an application chose. `degraded`: messages are not"
            " published for now. `unconfirmed`: yours may have been, or may still be.",
        },
        message={"type": "string", "description": "For people."},
        topics={
            "type": "array",
            "description": "Of `topic_not_allowed` after new credentials: the subscriptions that have ended.",
            "items": ref("topicPattern"),
            "uniqueItems": True,
        },
    ),
    "ok": _frame(
        "ok",
        optional=("ref", "id", "repeated", "recovered", "lost", "count", "clients", "expires_in_s"),
        ref=ref("ref"),
        id={
            "allOf": [ref("messageId")],
            "description": "Of `publish`, the message's; of `subscribe`, the newest, behind which live"
            " messages begin.",
        },
        repeated={
            "type": "boolean",
            "const": True,
            "description": "Of `publish` with a `key` that was seen before: `id` is the first message's.",
        },
        recovered={
            "type": "boolean",
            "description": "Of `subscribe` with `since`: true when no message was lost.",
        },
        lost=_LOST,
        count={"type": "integer", "minimum": 0, "description": "Of `presence`: how many clients there are."},
        clients={
            "type": "array",
            "description": f"Of `presence`: the first {MOST_PRESENT} of them by their ids.",
            "maxItems": MOST_PRESENT,
            "items": record(client_id=ref("clientId"), connections={"type": "integer", "minimum": 1}),
        },
        expires_in_s={
            "type": "number",
            "minimum": 0,
            "description": "Of `renew`: seconds for which the new credentials are valid.",
        },
    ),
    "joined": _frame("joined", topic=ref("topic"), client_id=ref("clientId")),
    "left": _frame("left", topic=ref("topic"), client_id=ref("clientId")),
    "renewed": _frame(
        "renewed",
        expires_in_s={
            "type": "number",
            "minimum": 0,
            "description": "Seconds for which the new credentials are valid.",
        },
    ),
}
"""The frames that a server sends, by `type`."""

_PATTERNS: Schema = {"type": "array", "items": ref("topicPattern"), "minItems": 1, "maxItems": MAX_TOPICS}


def _command(kind: str, *, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    return record(
        optional=("ref", *optional), type={"type": "string", "const": kind}, ref=ref("ref"), **fields
    )


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A trace context, for examples."""

COMMANDS: dict[str, Schema] = {
    "publish": _command(
        "publish",
        optional=("topic", "to", "key", "traceparent"),
        data={"description": f"Any JSON value, with the command at most {MAX_DEPTH} levels deep."},
        topic={"allOf": [ref("topic")], "description": "Without it the message is for everyone."},
        to={
            "type": "array",
            "description": "Its addressees, where the client may send direct messages.",
            "items": ref("clientId"),
            "maxItems": MAX_ADDRESSEES,
        },
        key={
            "type": "string",
            "description": "The same for a message that is sent again.",
            "minLength": 1,
            "maxLength": MAX_KEY,
        },
        traceparent={
            "description": "The sender's trace context (W3C), for a server with `--tracing`; ignored where it"
            " is none.",
        },
    ),
    "subscribe": _command(
        "subscribe",
        optional=("since", "events"),
        topics=_PATTERNS,
        since={
            "allOf": [ref("messageId")],
            "description": "What came after it of these topics follows the `ok`.",
        },
        events={
            "type": "boolean",
            "description": "Whether `joined` and `left` are wanted; of topics without wildcards.",
        },
    ),
    "unsubscribe": _command("unsubscribe", topics=_PATTERNS),
    "presence": _command("presence", topic=ref("topic")),
    "renew": _command("renew", token={"type": "string", "description": "As when connecting."}),
}
"""The commands of clients that chose `wsctl.2`, by `type`. `renew` is also the one text of a plain client
that is for the server and not published, where it has `--auth jwt`."""

SCHEMAS: dict[str, Schema] = {
    "clientId": CLIENT_ID,
    "messageId": MESSAGE_ID,
    "topic": TOPIC,
    "topicPattern": PATTERN,
    "ref": REF,
    **COMMANDS,
    **FRAMES,
}
