"""What a hostile or broken peer may send, and how it must be answered."""

from tests.support.raw import handshake, masked
from wsctl.frame import BINARY, CONTINUATION, PING, TEXT

HEADS: dict[str, tuple[bytes, int]] = {
    "one huge header": (handshake("/ws/x", "X-Big: " + "a" * 17_000), 431),
    "a huge path": (handshake("/ws/" + "a" * 17_000), 431),
    "101 headers": (handshake("/ws/x", *(f"X-{n}: 1" for n in range(96))), 431),
    "a head that never ends": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20), 431),
    "POST": (handshake("/ws/x").replace(b"GET", b"POST"), 405),
    "no version": (handshake("/ws/x", "Sec-WebSocket-Version:"), 426),
    "version 8": (handshake("/ws/x", "Sec-WebSocket-Version: 8"), 426),
    "no key": (handshake("/ws/x", "Sec-WebSocket-Key:"), 400),
    "a short key": (handshake("/ws/x", "Sec-WebSocket-Key: c2hvcnQ="), 400),
    "a key that is not base64": (handshake("/ws/x", "Sec-WebSocket-Key: ???"), 400),
    "HTTP/1.0": (handshake("/ws/x", version="HTTP/1.0"), 400),
    "no Host": (handshake("/ws/x", "Host:"), 400),
    "a body": (handshake("/ws/x", "Content-Length: 5") + b"hello", 400),
    "a foreign Origin": (handshake("/ws/x", "Origin: https://evil.example"), 403),
    "Origin null": (handshake("/ws/x", "Origin: null"), 403),
    "an Origin that is none": (handshake("/ws/x", "Origin: http://[oops"), 403),
    "another path": (handshake("/elsewhere"), 404),
    "a path below": (handshake("/ws/a/b"), 404),
    "no id": (handshake("/ws/"), 400),
    "a bad id": (handshake("/ws/-x"), 400),
    "an id with a line feed": (handshake("/ws/a%0ab"), 400),
    "an id that is not UTF-8": (handshake("/ws/%ff"), 400),
    "129 characters": (handshake("/ws/" + "a" * 129), 400),
    "a bad since": (handshake("/ws/x?since=%00"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n", 400),
}
"""Bad request heads, each with the status of its answer, behind which the connection ends."""

FRAMES: dict[str, tuple[bytes, int]] = {
    "binary": (masked(BINARY, b"x"), 1003),
    "too big": (masked(TEXT, b"x" * 65_537), 1009),
    "said to be too big": (b"\x81\xff" + (1 << 40).to_bytes(8) + bytes(4), 1009),
    "too big in fragments": (
        masked(TEXT, b"x" * 40_000, fin=False) + masked(CONTINUATION, b"x" * 40_000),
        1009,
    ),
    "endless fragments": (masked(TEXT, b"", fin=False) + masked(CONTINUATION, b"", fin=False) * 2000, 1008),
    "not masked": (b"\x81\x01x", 1002),
    "reserved bits": (b"\xc1\x80" + bytes(4), 1002),
    "unknown opcode": (masked(3, b""), 1002),
    "a continuation of nothing": (masked(CONTINUATION, b"x"), 1002),
    "a long ping": (masked(PING, b"x" * 126), 1002),
    "not UTF-8": (masked(TEXT, b"\xff\xfe"), 1007),
    "half a close code": (masked(8, b"\x03"), 1002),
    "close code 1006": (masked(8, (1006).to_bytes(2)), 1002),
    "a flood of pings": (masked(PING, b"") * 5000, 1008),
    "a flood of messages": (masked(TEXT, b"x") * 5000, 1008),
}
"""Bad frames of a client, each with the code with which it is closed."""


def status_of(answer: bytes) -> int:
    """The status of an HTTP answer."""
    return int(answer.split(b" ", 2)[1])
