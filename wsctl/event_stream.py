"""Server-sent events (HTML standard, section 9.2): frames of the protocol as events of a stream."""

import json

from wsctl.codes import is_final

COMMENT = b":\n\n"
"""A comment, which every client ignores: a sign of life."""

_TYPE = slice(len(b'{"type":"'), None)
_MESSAGE = b'{"type":"message","id":"'
_ID = b',"id":"'


def event(payload: bytes) -> bytes:
    """Return a frame, which is the JSON of an object, as one event: its type is the frame's, its id that of a
    message, or the newest one where a welcome says that nothing of before is to follow."""
    if payload.startswith(_MESSAGE):  # nearly all: without reading the JSON
        end = payload.index(b'"', len(_MESSAGE))
        return b"event: message\nid: %b\ndata: %b\n\n" % (payload[len(_MESSAGE) : end], payload)
    kind = payload[_TYPE].partition(b'"')[0]
    if kind == b"keepalive":
        return COMMENT
    return b"event: %b\n%bdata: %b\n\n" % (kind, _more_fields(kind, payload), payload)


def _more_fields(kind: bytes, payload: bytes) -> bytes:
    if kind == b"welcome" and b'"recovered":' not in payload:
        return b"id: %b\n" % payload.partition(_ID)[2].partition(b'"')[0]
    return b""


def retry(milliseconds: int) -> bytes:
    """Return the field that tells after which time a client connects again, once the stream has ended; the
    event that it stands in front of has it."""
    return b"retry: %d\n" % milliseconds


def seen_up_to(message_id: str) -> bytes:
    """Return the field that gives the event that it stands in front of the id of a message."""
    return b"id: %b\n" % message_id.encode()


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunks."""

FINAL = "final"
"""The id of the last event of a client that shall stay away: what it sends back in Last-Event-ID."""


def closing(code: int, reason: str, milliseconds: int) -> bytes:
    """Return the last event of a stream, which tells how it ends; after so many milliseconds its client
    connects again."""
    data = json.dumps({"type": "close", "code": code, "reason": reason}, separators=(",", ":"))
    last = f"id: {FINAL}\n" if is_final(code) else ""
    return f"event: close\n{last}retry: {milliseconds}\ndata: {data}\n\n".encode()
