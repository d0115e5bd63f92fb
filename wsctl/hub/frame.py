"""What is written to connections: WebSocket frames, encoded once for all of them."""

from collections.abc import Sequence

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""Opcodes of RFC 6455 section 5.2."""

FIN = 0x80
"""The bit that marks a message's last frame."""

_CONTROL_PAYLOAD = 125
"""Bytes a control frame may carry (RFC 6455 section 5.5)."""


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole unmasked frame, as servers send it (RFC 6455 section 5.2)."""
    n = len(payload)
    if n < 126:
        return bytes((FIN | opcode, n)) + payload
    if n < 1 << 16:
        return bytes((FIN | opcode, 126)) + n.to_bytes(2) + payload
    return bytes((FIN | opcode, 127)) + n.to_bytes(8) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a reason that does not fit is cut between characters."""
    text = reason.encode()[: _CONTROL_PAYLOAD - 2].decode(errors="ignore")
    return frame(CLOSE, code.to_bytes(2) + text.encode())


class Batch:
    """Text frames that are sent together: `wire` is their bytes, `payloads` the JSON of each.

    A batch made from `wire` alone is a control frame: no message.
    """

    __slots__ = ("payloads", "wire")

    def __init__(self, payloads: Sequence[bytes] = (), wire: bytes | None = None) -> None:
        self.payloads = payloads
        self.wire = b"".join([frame(TEXT, payload) for payload in payloads]) if wire is None else wire
