"""A reader of event streams by the rules of the HTML standard (section 9.2.6), and of bodies in chunks."""

from typing import NamedTuple


class Event(NamedTuple):
    """An event as a page gets it: `last_id` is what its client would send in Last-Event-ID behind it."""

    type: str
    data: str
    last_id: str


class Read(NamedTuple):
    """What a stream was found to say: its events, the last time to connect again, in milliseconds, and what
    is left of an unfinished event."""

    events: list[Event]
    retry: int | None
    rest: str


def read_events(stream: bytes, last_id: str = "") -> Read:
    """Read a stream as the standard says; `last_id` is the id of the stream before."""
    text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = text.split("\n\n")
    events: list[Event] = []
    retry: int | None = None
    for block in blocks[:-1]:
        kind, data = "", ""
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                retry = int(value)
        if data:
            events.append(Event(kind or "message", data.removesuffix("\n"), last_id))
    return Read(events, retry, blocks[-1])


def dechunked(body: bytes) -> tuple[bytes, bytes | None]:
    """Read a body in chunks as far as it has come; return it, and what stands behind its last chunk, None
    before that has come (RFC 9112 section 7.1)."""
    found = b""
    while b"\r\n" in body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest.startswith(b"\r\n"), rest
            return found, rest[2:]
        found += rest[:length]
        if len(rest) < length + 2:
            break
        assert rest[length : length + 2] == b"\r\n", rest[length:]
        body = rest[length + 2 :]
    return found, None
