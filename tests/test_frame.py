"""Frames as servers send them, read back by the websockets library."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from tests.support.sizes import examples
from wsctl.frame import (
    BINARY,
    CLOSE,
    DEFLATE_ABOVE,
    PING,
    PONG,
    TEXT,
    WINDOW_BITS,
    Batch,
    Encoding,
    close_frame,
    frame,
)


def _parse_all(wire: bytes) -> list[Frame]:
    """Every frame, the last one whole; what is compressed is inflated."""
    stream, found = StreamReader(), []
    stream.feed_data(wire)
    stream.feed_eof()
    while stream.buffer:
        deflate = PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)
        parser = Frame.parse(stream.read_exact, mask=False, extensions=[deflate])
        try:
            next(parser)
        except StopIteration as done:
            found.append(done.value)
        else:
            raise AssertionError("the frame is incomplete")
    return found


def _parse(wire: bytes) -> Frame:
    (read,) = _parse_all(wire)
    return read


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_frame_of_any_size_is_read_back(opcode: int, size: int) -> None:
    read = _parse(frame(opcode, b"x" * size))
    assert (read.opcode, read.data, read.fin) == (opcode, b"x" * size, True)


@given(st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125))
def test_a_frame_is_what_websockets_would_send(opcode: int, payload: bytes) -> None:
    assert frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


@examples(100)
@example(1013, "é" * 62)
@example(1013, "𝄞" * 31)
@given(st.integers(1000, 4999), st.text(max_size=200))
def test_a_close_frame_fits_and_its_reason_is_cut_between_characters(code: int, reason: str) -> None:
    reason = reason.encode(errors="ignore").decode()
    read = _parse(close_frame(code, reason))
    assert read.opcode == CLOSE
    assert len(read.data) <= 125
    kept = bytes(read.data[2:]).decode()
    assert int.from_bytes(read.data[:2]) == code
    assert reason.startswith(kept)
    assert kept == reason or len((kept + reason[len(kept)]).encode()) > 123


def test_a_close_frame_is_parsed_as_one() -> None:
    assert Close.parse(_parse(close_frame(1012, "reconnect")).data) == Close(1012, "reconnect")


SIZES = st.sampled_from([0, 1, 2, 125, 126, 127, DEFLATE_ABOVE, DEFLATE_ABOVE + 1, 65535, 65536, 70_000])
PAYLOADS = st.lists(st.builds(lambda size, letter: letter * size, SIZES, st.sampled_from([b"{", b"\x81"])))
LEADS = st.sampled_from([b"", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"\x81\x05"])


@examples(80)
@given(PAYLOADS, LEADS)
def test_payloads_are_read_back_out_of_the_wire(payloads: list[bytes], lead: bytes) -> None:
    batch = Batch(payloads, lead=lead)
    assert batch.wire == lead + b"".join(frame(TEXT, payload) for payload in payloads)
    assert batch.payloads == payloads
    assert batch.messages == len(payloads)


@examples(60)
@given(st.lists(PAYLOADS, max_size=4))
def test_joined_batches_are_the_batch_of_all_their_messages(parts: list[list[bytes]]) -> None:
    whole = Batch.joined([Batch(payloads) for payloads in parts])
    together = Batch([payload for payloads in parts for payload in payloads])
    for encoding in (Encoding.PLAIN, Encoding.DEFLATE, Encoding.EVENTS_WITHOUT_CHUNKS):
        assert whole.encoded(encoding) == together.encoded(encoding)
    assert (whole.payloads, whole.messages) == (together.payloads, together.messages)


@examples(80)
@given(PAYLOADS, LEADS)
def test_what_is_compressed_is_the_same_messages_behind_the_same_lead(
    payloads: list[bytes], lead: bytes
) -> None:
    batch = Batch(payloads, lead=lead)
    encoded = batch.encoded(Encoding.DEFLATE)
    assert encoded.startswith(lead)
    assert [read.data for read in _parse_all(encoded[len(lead) :])] == payloads
    assert batch.encoded(Encoding.PLAIN) == batch.wire
    assert batch.encoded(Encoding.DEFLATE) is encoded
    # These payloads are one letter each: whatever is long enough shrinks, and nothing else is touched.
    assert (encoded != batch.wire) == any(len(payload) > DEFLATE_ABOVE for payload in payloads)


@given(st.binary(max_size=2000), st.integers(0, 3))
def test_into_carried_bytes_nobody_looks(wire: bytes, messages: int) -> None:
    batch = Batch(wire=wire, messages=messages)
    assert batch.encoded(Encoding.DEFLATE) == batch.encoded(Encoding.PLAIN) == wire
    assert batch.payloads == []
    assert batch.messages == messages


def test_a_batch_is_its_frames_one_after_the_other() -> None:
    batch = Batch((b"1", b"22"))
    assert batch.wire == frame(TEXT, b"1") + frame(TEXT, b"22")
    assert list(batch.payloads) == [b"1", b"22"]


def test_a_control_frame_is_no_message() -> None:
    batch = Batch(wire=frame(PING, b""))
    assert not batch.payloads
    assert not batch.messages
