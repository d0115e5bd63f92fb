"""Frames as servers send them, read back by the websockets library."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from wsctl.hub.frame import BINARY, CLOSE, PING, PONG, TEXT, Batch, close_frame, frame


def _parse(wire: bytes) -> Frame:
    stream = StreamReader()
    stream.feed_data(wire)
    stream.feed_eof()
    parser = Frame.parse(stream.read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as done:
        read: Frame = done.value
        assert not stream.buffer
        return read
    raise AssertionError("the frame is incomplete")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_frame_of_any_size_is_read_back(opcode: int, size: int) -> None:
    read = _parse(frame(opcode, b"x" * size))
    assert (read.opcode, read.data, read.fin) == (opcode, b"x" * size, True)


@given(st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125))
def test_a_frame_is_what_websockets_would_send(opcode: int, payload: bytes) -> None:
    assert frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


@settings(max_examples=100)
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


def test_a_batch_is_its_frames_one_after_the_other() -> None:
    batch = Batch((b"1", b"22"))
    assert batch.wire == frame(TEXT, b"1") + frame(TEXT, b"22")
    assert list(batch.payloads) == [b"1", b"22"]


def test_a_control_frame_is_no_message() -> None:
    assert not Batch(wire=frame(PING, b"")).payloads
