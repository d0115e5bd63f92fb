"""The frames of the protocol, as data: what a server sends, and the one frame of a plain client that is for
it. What clients send that speak commands is in `wsctl/server/websocket/commands.py`.

Every frame is one JSON object in one text frame. The functions return the encoded object,
UTF-8, without a WebSocket header.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

Ref = str | int
"""The name that a client gives a command, by which it knows the answer."""

KEEPALIVE = range(1, 301)
"""Seconds of silence after which a client may ask for a sign of life: the server looks once a second, and
most proxies cut a silent connection before five minutes are over."""

_TO_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring
_TO_ASCII_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

_TRACED = re.compile(
    rb"""{"type":"message","id":"[^"]*","ts":[^,]*,"from":"(?:[^"\\]|\\.)*"(?:,"topic":"[^"]*")?"""
    rb""","traceparent":"([ -~]{1,200}?)\""""
)
"""The beginning of a message that has a trace context, as `body` writes it: what the data are cannot look the
same."""

_RENEWAL = re.compile(r"""(["']?)type\1\s*:\s*(["'])renew\2""")  # as Python or JavaScript show it, too
_RENEWAL_HINT = re.compile(r"renew|\\u")  # JSON can spell a letter by its number


@dataclass(frozen=True, slots=True)
class Message:
    """One published message: `id` orders it, `ts` is Unix seconds, `to` is None for everyone. With `shown`
    each addressee sees all of them. Without a `topic` it is for all clients, with one for its
    subscribers. `traceparent` is the trace context that goes with it."""

    id: str
    ts: float
    sender: str
    data: Any
    to: tuple[str, ...] | None = None
    shown: bool = False
    topic: str | None = None
    traceparent: str | None = None


class Allowance(NamedTuple):
    """The rate within which a client has to keep: a token bucket that `per_second` refills up to `burst`, and
    has `left` tokens now. Each message or command takes one."""

    per_second: float
    burst: int
    left: int


def encode(frame: dict[str, Any]) -> bytes:
    """Encode one frame as JSON in UTF-8.

    Lone surrogates, which JSON can spell and UTF-8 cannot, stay escaped.

    Raises:
        ValueError: the data holds a NaN or an infinity, which JSON does not have.
    """
    try:
        return _TO_JSON(frame).encode()
    except UnicodeEncodeError:
        return _TO_ASCII_JSON(frame).encode()


def welcome(
    client: str,
    newest: str,
    version: str,
    phase: str,
    recovered: bool | None,
    *,
    connections: int,
    keepalive_s: int = 0,
    degraded: bool = False,
    lost: Sequence[str] = (),
    rate: Allowance | None = None,
) -> bytes:
    """Encode a `welcome`: the first frame of a connection, sent again when the server was cut off from others
    and is back.

    `recovered` is None when the client named no `since`, and `keepalive_s` is 0 when it asked for none;
    `degraded` means that the server is cut off; `lost` are the topics of which messages are lost; `rate` is
    None when the client may send as fast as it can.
    """
    # Thousands come back in one second. No text in it has a character that JSON escapes, so that none needs
    # the encoder, which takes four times as long.
    recovery = "" if recovered is None else f',"recovered":{"true" if recovered else "false"}'
    if lost:
        recovery += f',"lost":{_TO_JSON(lost)}'
    keepalive = f',"keepalive_s":{keepalive_s}' if keepalive_s else ""
    limit = _rate_field(rate) if rate else ""
    server = f'"version":"{version}","phase":"{phase}","connections":{connections}'
    more = ',"degraded":true' if degraded else ""
    return (
        f'{{"type":"welcome","client_id":"{client}","id":"{newest}"{recovery}{keepalive}{limit},'
        f'"server":{{{server}{more}}}}}'
    ).encode()


@lru_cache(maxsize=64)  # most clients that come have all of it left
def _rate_field(rate: Allowance) -> str:
    per_second = int(rate.per_second) if rate.per_second == int(rate.per_second) else rate.per_second
    return f',"rate":{{"per_second":{per_second!r},"burst":{rate.burst},"left":{rate.left}}}'


def message(m: Message) -> bytes:
    """Encode a published message; `to` is there only when it is direct, and `topic` when it has one."""
    return numbered(
        m.id,
        body(m.ts, m.sender, m.data, m.to, shown=m.shown, topic=m.topic, traceparent=m.traceparent),
    )


def body(
    ts: float,
    sender: str,
    data: Any,
    to: tuple[str, ...] | None = None,
    *,
    shown: bool = False,
    topic: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """Encode a message that has no id yet; `traceparent` is the trace context that goes with it. Its
    addressees stand behind everything else, where `addressed` finds them, or before the data, when each of
    them may see all."""
    if to is None and traceparent is None:
        return _body_for_all(ts, sender, data, topic)
    frame: dict[str, Any] = {"ts": ts, "from": sender}
    if topic is not None:
        frame["topic"] = topic
    if traceparent is not None:
        frame["traceparent"] = traceparent
    if to is None:
        return encode(frame | {"data": data})
    return encode(frame | ({"to": to, "data": data} if shown else {"data": data, "to": to}))


def _body_for_all(ts: float, sender: str, data: Any, topic: str | None) -> bytes:
    """Encode a body without addressees. The encoder writes only what it must: it takes four times as long as
    all else, and a text needs none of it."""
    named = "" if topic is None else f',"topic":"{topic}"'
    start = f'{{"ts":{ts!r},"from":{_quoted(sender)}{named},"data":'
    try:
        return f"{start}{_quoted(data) if type(data) is str else _TO_JSON(data)}}}".encode()
    except UnicodeEncodeError:
        return f"{start}{_TO_ASCII_JSON(data)}}}".encode()


def traceparent_of(message: bytes) -> str | None:
    """Return the trace context that goes with an encoded message; None if it has none."""
    found = _TRACED.match(message)
    return found[1].decode() if found else None


def addressed(payload: bytes, to: Sequence[str]) -> Callable[[str], bytes]:
    """Return a function that gives a direct message as an addressee gets it: `to` is that client alone,
    unless all are shown."""
    tails = [_to_field(encoding, to) for encoding in (_TO_JSON, _TO_ASCII_JSON)]
    tail = next((tail for tail in tails if payload.endswith(tail)), None)
    if tail is None:
        return lambda client: payload
    head = payload.removesuffix(tail)
    return lambda client: head + _to_field(_TO_JSON, (client,))


def _to_field(encoding: Callable[[Any], str], to: Sequence[str]) -> bytes:
    """Return the end of a message. Data cannot look the same, because within an object, an array or a text it
    ends in another way."""
    return f',"to":{encoding(to)}}}'.encode()


def numbered(message_id: str, body: bytes) -> bytes:
    """Return the message that a body becomes with its id."""
    return b'{"type":"message","id":"%b",%b' % (message_id.encode(), body[1:])


def heartbeat(ts: float, connections: int, n: int) -> bytes:
    """Encode the periodic test message: the n-th since the start, `ts` in Unix seconds."""
    return encode({"type": "heartbeat", "ts": ts, "connections": connections, "n": n})


def keepalive() -> bytes:
    """Encode a sign of life, for clients that asked for one and were sent nothing else."""
    return encode({"type": "keepalive"})


def shutdown(deadline_s: float | None, reason: str, reconnect_in_s: float | None = None) -> bytes:
    """Encode a `shutdown`: a drain began or its deadline moved. `deadline_s` is the time until clients are
    closed by force, in seconds; None when the drain was cancelled.

    `reconnect_in_s` is the time until this client is asked to leave, in seconds.
    """
    left = None if deadline_s is None else round(deadline_s, 3)
    frame = {"type": "shutdown", "deadline_s": left, "reason": reason}
    return encode(frame if reconnect_in_s is None else frame | {"reconnect_in_s": round(reconnect_in_s, 3)})


def invitations(deadline_s: float, reason: str, moments: Iterable[float]) -> list[bytes]:
    """Encode `shutdown` for many clients, each with its own `reconnect_in_s`. What they share is encoded
    once: a thousand of them take a millisecond."""
    shared = shutdown(deadline_s, reason).removesuffix(b"}")
    return [b'%b,"reconnect_in_s":%.3f}' % (shared, moment) for moment in moments]


def error(code: str, text: str, ref: Ref | None = None, topics: Sequence[str] | None = None) -> bytes:
    """Encode an `error`: something the client did was not accepted; the connection stays open. `ref` is that
    of the command that it answers; `topics` are the subscriptions that have ended."""
    frame: dict[str, Any] = {"type": "error"}
    if ref is not None:
        frame["ref"] = ref
    frame |= {"code": code, "message": text}
    return encode(frame if topics is None else frame | {"topics": topics})


def ok(ref: Ref | None = None, **fields: Any) -> bytes:
    """Encode the answer to a command that was carried out, with what it tells; fields that are None are left
    out."""
    frame: dict[str, Any] = {"type": "ok"}
    if ref is not None:
        frame["ref"] = ref
    return encode(frame | {name: value for name, value in fields.items() if value is not None})


def published(ref: Ref | None, message_id: str) -> bytes:
    """Encode the `ok` to a message that was published. There is one for each message, so the encoder, which
    takes four times as long, writes only a `ref` that is a text."""
    named = "" if ref is None else f'"ref":{_TO_ASCII_JSON(ref) if isinstance(ref, str) else ref},'
    return f'{{"type":"ok",{named}"id":"{message_id}"}}'.encode()


def joined(topic: str, client_id: str) -> bytes:
    """Encode the news that a client subscribes to a topic from here on, with its first connection that
    does."""
    return encode({"type": "joined", "topic": topic, "client_id": client_id})


def left(topic: str, client_id: str) -> bytes:
    """Encode the news that none of a client's connections subscribes to a topic any more."""
    return encode({"type": "left", "topic": topic, "client_id": client_id})


def renewed(expires_in_s: float) -> bytes:
    """Encode the answer to new credentials, with the seconds for which they are good."""
    return encode({"type": "renewed", "expires_in_s": round(expires_in_s, 3)})


@dataclass(frozen=True, slots=True)
class Renewal:
    """A client's request to renew its credentials; `token` is None when there is none that could be read."""

    token: str | None


def renewal(text: str) -> Renewal | None:
    """Return the request to renew in a client's text: a JSON object of the type `renew`, or what looks like
    one and is damaged, for there may be a token in it. None for any other text."""
    text = text.lstrip().removeprefix("\ufeff").lstrip()  # a byte order mark, which some libraries write
    if not text.startswith("{") or not _RENEWAL_HINT.search(text):
        return None
    try:
        frame = json.loads(text, object_pairs_hook=_still_a_renewal)
    except (ValueError, RecursionError):
        return Renewal(None) if _RENEWAL.search(text) else None
    if frame.get("type") != "renew":
        return None
    token = frame.get("token")
    return Renewal(token if isinstance(token, str) else None)


def _still_a_renewal(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, which is a renewal also when it has several types and one is
    `renew`."""
    return dict(pairs) | ({"type": "renew"} if ("type", "renew") in pairs else {})
