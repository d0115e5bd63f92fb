"""Frames as the websockets library sends them, cut anywhere, and frames that nobody should send."""

import zlib
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode

from tests.support.sizes import examples
from wsctl.codes import CloseCode, can_be_sent
from wsctl.frame import BINARY, CLOSE, PING, PONG, TEXT
from wsctl.server.websocket.inbound import (
    MAX_STREAMS,
    MIN_FRAGMENTS,
    FrameReader,
    Violation,
    close_reason,
    max_fragments,
    text,
    whole_small_frame,
)

Event = tuple[int, bytes]


def _frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin).serialize(mask=mask)


def _raw(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Valid bytes of a client, and what they mean."""
    control = st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=2)
    wire, meant = b"", []
    sizes = st.binary(max_size=20) | st.integers(100, 140).map(bytes) | st.just(bytes(70_000))
    for pieces in draw(st.lists(st.lists(sizes, min_size=1, max_size=4), max_size=4)):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        for n, piece in enumerate(pieces):
            wire += _frame(opcode if n == 0 else 0, piece, fin=n == len(pieces) - 1)
            if n < len(pieces) - 1:
                between = draw(control)
                wire += b"".join(_frame(*frame) for frame in between)
                meant += between
        meant.append((opcode, b"".join(pieces)))
        after = draw(control)
        wire += b"".join(_frame(*frame) for frame in after)
        meant += after
    return wire, meant


def _cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[a:b] for a, b in pairwise(edges)]


def _read(chunks: list[bytes], max_message: int = 0) -> tuple[list[Event], CloseCode | None]:
    """What comes out, and the violation it ends with; what came before that counts."""
    reader = FrameReader(max_message)
    events: list[Event] = []
    try:
        for chunk in chunks:
            events.extend(reader.feed(chunk))
    except Violation as violation:
        return events, violation.code
    return events, None


@examples(120)
@given(conversations(), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_a_conversation_means_the_same_wherever_it_is_cut(
    conversation: tuple[bytes, list[Event]], places: list[int]
) -> None:
    wire, meant = conversation
    assert _read(_cut(wire, places)) == (meant, None)


@examples(30)
@given(conversations())
def test_byte_by_byte_too(conversation: tuple[bytes, list[Event]]) -> None:
    wire, meant = conversation
    if len(wire) < 2000:
        assert _read([wire[i : i + 1] for i in range(len(wire))]) == (meant, None)


@examples(200)
@given(
    st.binary(max_size=40) | st.tuples(st.binary(max_size=6), conversations()).map(lambda x: x[0] + x[1][0]),
    st.lists(st.integers(0, 1 << 16), max_size=6),
    st.sampled_from([0, 10, 200]),
)
def test_any_bytes_give_the_same_events_and_the_same_violation_wherever_cut(
    wire: bytes, places: list[int], limit: int
) -> None:
    assert _read(_cut(wire, places), limit) == _read([wire], limit)


def _read_in_turns(chunks: list[bytes], max_message: int) -> tuple[list[Event], CloseCode | None]:
    """Each chunk by a reader of its own, which goes on where the one before it stopped."""
    reader = FrameReader(max_message)
    events: list[Event] = []
    try:
        for chunk in chunks:
            reader = FrameReader.resumed(reader.unread, max_message, False)
            events.extend(reader.feed(chunk))
    except Violation as violation:
        return events, violation.code
    return events, None


@examples(200)
@given(
    st.tuples(st.binary(max_size=6), conversations()).map(lambda x: x[0] + x[1][0])
    | conversations().map(lambda x: x[0]),
    st.lists(st.integers(0, 1 << 16), max_size=6),
    st.sampled_from([0, 10, 200]),
)
def test_another_reader_goes_on_wherever_one_stops(wire: bytes, places: list[int], limit: int) -> None:
    assert _read_in_turns(_cut(wire, places), limit) == _read([wire], limit)


def test_another_reader_counts_the_fragments_from_before() -> None:
    chunks = [_frame(TEXT, b"", fin=False)] + [_frame(0, b"", fin=False)] * MIN_FRAGMENTS
    assert _read_in_turns(chunks, 1)[1] is CloseCode.POLICY_VIOLATION
    assert _read_in_turns(chunks[:MIN_FRAGMENTS], 1) == ([], None)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.data())
def test_another_reader_inflates_what_was_half_there(sent: list[bytes], data: st.DataObject) -> None:
    extension = PerMessageDeflate(True, True, 15, 15)
    parts = [Frame(Opcode.TEXT if n == 0 else Opcode.CONT, p, n == len(sent) - 1) for n, p in enumerate(sent)]
    wire = b"".join(part.serialize(mask=True, extensions=[extension]) for part in parts)
    cut = data.draw(st.integers(0, len(wire)))
    first = FrameReader(0, deflate=True)
    events = list(first.feed(wire[:cut]))
    second = FrameReader.resumed(first.unread, 0, deflate=True)
    assert events + list(second.feed(wire[cut:])) == [(TEXT, b"".join(sent))]
    assert second.idle


@examples(300)
@example(_frame(TEXT, bytes(125)))
@example(_frame(TEXT, bytes(126)))
@example(_raw(0x81, 0x7D) + bytes(4 + 125))
@example(_raw(0x81, 0xFE, bytes(130)))
@example(_raw(0x81, 0xFF, bytes(131)))
@given(
    st.binary(max_size=12)
    | st.builds(
        lambda first, payload, more: _raw(first, 0x80 | min(len(payload), 127)) + payload + more,
        st.integers(0, 255),
        st.binary(max_size=130),
        st.binary(max_size=5),
    )
)
def test_the_short_cut_for_small_frames_agrees_with_the_reader(data: bytes) -> None:
    small = whole_small_frame(data)
    if small is not None:
        reader = FrameReader(0)
        assert list(reader.feed(data)) == [small]
        assert reader.idle


@given(st.sampled_from([TEXT, CLOSE, PING, PONG]), st.binary(max_size=125))
def test_the_short_cut_takes_every_small_whole_frame(opcode: int, payload: bytes) -> None:
    assert whole_small_frame(_frame(opcode, payload)) == (opcode, payload)


MASK = bytes(4)
PROTOCOL, TOO_BIG, POLICY = CloseCode.PROTOCOL_ERROR, CloseCode.MESSAGE_TOO_BIG, CloseCode.POLICY_VIOLATION


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(_raw(0x81 | bit, 0x80, MASK), PROTOCOL, id=f"reserved bit {bit:#x}")
        for bit in (0x10, 0x20, 0x40)
    ]
    + [
        pytest.param(_raw(0x80 | opcode, 0x80, MASK), PROTOCOL, id=f"opcode {opcode}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ]
    + [
        pytest.param(_frame(TEXT, b"x", mask=False), PROTOCOL, id="unmasked"),
        pytest.param(_raw(0x89, 0xFE, b"\x00\x7e"), PROTOCOL, id="long ping"),
        pytest.param(_raw(0x88, 0xFF), PROTOCOL, id="longer close"),
        pytest.param(_raw(0x09, 0x80), PROTOCOL, id="fragmented ping"),
        pytest.param(_raw(0x81, 0xFE, b"\x00\x7d" + MASK), PROTOCOL, id="125 in two bytes"),
        pytest.param(_raw(0x81, 0xFF, (65535).to_bytes(8) + MASK), PROTOCOL, id="65535 in eight bytes"),
        pytest.param(_raw(0x81, 0xFF, b"\x80" + bytes(7) + MASK), PROTOCOL, id="length of 64 bits"),
        pytest.param(_frame(0, b"x"), PROTOCOL, id="continuation of nothing"),
        pytest.param(_frame(TEXT, b"x", fin=False) + _frame(TEXT, b"y"), PROTOCOL, id="text in a text"),
        pytest.param(_frame(TEXT, b"x", fin=False) + _frame(BINARY, b"y"), PROTOCOL, id="binary in a text"),
        pytest.param(
            _frame(TEXT, b"x") + _frame(PING, b"") + _frame(0, b"y"), PROTOCOL, id="continuation of a whole"
        ),
    ],
)
def test_what_breaks_the_protocol_is_refused_with_its_code(wire: bytes, code: CloseCode) -> None:
    assert _read([wire])[1] is code
    assert _read([wire[i : i + 1] for i in range(len(wire))])[1] is code


@pytest.mark.parametrize("limit", [1, 1024, 65536, 1 << 18])
def test_as_many_fragments_as_the_largest_message_needs_are_joined_and_no_more(limit: int) -> None:
    most = max_fragments(limit)
    assert most == max(MIN_FRAGMENTS, limit // 64)
    wire = _frame(TEXT, b"", fin=False) + _frame(0, b"", fin=False) * (most - 2)
    assert _read([wire + _frame(0, b"b")], limit) == ([(TEXT, b"b")], None)
    assert _read([wire + _frame(0, b"", fin=False) * 2], limit)[1] is POLICY


def test_where_a_message_may_have_any_size_its_fragments_have_a_limit_all_the_same() -> None:
    assert max_fragments(0) == max_fragments(64 << 20)


@pytest.mark.parametrize("size", [101, 126, 70_000, 1 << 62])
def test_a_message_too_big_is_refused_before_its_payload_has_come(size: int) -> None:
    width = 0 if size < 126 else 2 if size < 1 << 16 else 8
    head = _raw(0x81, 0x80 | (size if not width else 126 if width == 2 else 127))
    wire = head + (size.to_bytes(width) if width else b"") + MASK
    assert _read([wire], 100) == ([], TOO_BIG)


def test_fragments_count_together_and_control_frames_between_them_do_not() -> None:
    start = _frame(TEXT, bytes(60), fin=False) + _frame(PING, bytes(120))
    whole = _read([start + _frame(0, bytes(40))], 100)
    assert whole == ([(PING, bytes(120)), (TEXT, bytes(100))], None)
    head_of_41_more = _raw(0x80, 0x80 | 41) + MASK
    assert _read([start + head_of_41_more], 100) == ([(PING, bytes(120))], TOO_BIG)


def test_a_message_of_just_the_limit_passes() -> None:
    assert _read([_frame(TEXT, bytes(100))], 100) == ([(TEXT, bytes(100))], None)


def test_what_was_valid_before_a_violation_is_given_out() -> None:
    reader = FrameReader(0)
    events = reader.feed(_frame(TEXT, b"good") + _frame(TEXT, b"bad", mask=False))
    assert next(events) == (TEXT, b"good")
    with pytest.raises(Violation):
        next(events)


def test_it_is_idle_only_between_messages() -> None:
    reader = FrameReader(0)
    for chunk, idle in (
        (_frame(TEXT, b"whole"), True),
        (_frame(TEXT, b"be", fin=False), False),
        (_frame(PING, b""), False),
        (_frame(0, b"gun"), True),
        (_frame(TEXT, b"half")[:3], False),
    ):
        list(reader.feed(chunk))
        assert reader.idle == idle


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"])
def test_text_that_is_not_utf_8_is_refused_with_1007(payload: bytes) -> None:
    with pytest.raises(Violation) as failure:
        text(payload)
    assert failure.value.code is CloseCode.INVALID_DATA


@given(st.text(max_size=30))
def test_any_utf_8_is_text(words: str) -> None:
    words = words.encode(errors="ignore").decode()
    assert text(words.encode()) == words


@given(st.integers(0, 65535), st.text(max_size=20))
def test_a_close_is_read_as_it_was_meant_or_refused_with_1002(code: int, reason: str) -> None:
    reason = reason.encode(errors="ignore").decode()
    payload = code.to_bytes(2) + reason.encode()
    if can_be_sent(code):
        assert close_reason(payload) == (code, reason)
        assert close_reason(payload) == (Close.parse(payload).code, Close.parse(payload).reason)
    else:
        with pytest.raises(Violation) as failure:
            close_reason(payload)
        assert failure.value.code is PROTOCOL


def test_a_close_without_a_code_and_the_broken_ones() -> None:
    assert close_reason(b"") == (CloseCode.NO_STATUS, "")
    for payload, code in ((b"\x03", PROTOCOL), (b"\x03\xe8\xff", CloseCode.INVALID_DATA)):
        with pytest.raises(Violation) as failure:
            close_reason(payload)
        assert failure.value.code is code


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_compressed_messages_are_those_the_library_sends(sent: list[bytes], data: st.DataObject) -> None:
    extension = PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )
    wire = b"".join(
        Frame(Opcode.BINARY, payload).serialize(mask=True, extensions=[extension]) for payload in sent
    )
    reader = FrameReader(1000, deflate=True)
    cut = data.draw(st.integers(0, len(wire)))
    assert [p for piece in (wire[:cut], wire[cut:]) for _, p in reader.feed(piece)] == sent
    assert reader.idle


def test_without_the_extension_a_compressed_frame_breaks_the_protocol() -> None:
    with pytest.raises(Violation) as caught:
        list(FrameReader(1000).feed(b"\xc1\x80" + bytes(4)))
    assert caught.value.code == CloseCode.PROTOCOL_ERROR


def _compressed(*streams: bytes, end: int = zlib.Z_FINISH) -> bytes:
    """What was flushed with `end`, one stream after the other."""
    data = b""
    for part in streams:
        compressor = zlib.compressobj(wbits=-15)
        data += compressor.compress(part) + compressor.flush(end)
    return data


def _inflated(data: bytes, max_message: int = 0) -> bytes | CloseCode:
    """The message whose payload is compressed to `data`, or why there is none."""
    head = bytes([0xC1, 0xFF]) + len(data).to_bytes(8) if len(data) > 0xFFFF else b""
    head = head or (bytes([0xC1, 0xFE]) + len(data).to_bytes(2) if len(data) > 125 else b"")
    wire = (head or bytes([0xC1, 0x80 | len(data)])) + MASK + data
    try:
        ((_, payload),) = FrameReader(max_message, deflate=True).feed(wire)
    except Violation as violation:
        return violation.code
    return payload


HELLO = b"\xf3\x48\xcd\xc9\xc9\x07\x00"
"""`Hello` in a block with BFINAL, and the start of an empty one: the example of RFC 7692 section 7.2.3.4."""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HELLO + b"\x00", b"Hello"),
        (HELLO, b"Hello"),
        (HELLO + HELLO + b"\x00", b"HelloHello"),
        (_compressed(b"one ", b"two ", b"three") + b"\x00", b"one two three"),
        (_compressed(b"one ", b"two") + b"\x01", b"one two"),
        (_compressed(b"one ") + _compressed(b"two", end=zlib.Z_SYNC_FLUSH)[:-4], b"one two"),
        (_compressed(*[b"x"] * (MAX_STREAMS - 1)) + b"\x00", b"x" * (MAX_STREAMS - 1)),
        (b"\x00", b""),
    ],
)
def test_a_message_of_several_deflate_streams_is_whole(data: bytes, message: bytes) -> None:
    assert _inflated(data) == message


@examples(300)
@given(
    st.lists(st.binary(max_size=200) | st.binary(max_size=9).map(lambda b: b * 30), min_size=1, max_size=4),
    st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]),
)
def test_however_many_streams_there_are_all_of_them_are_read(parts: list[bytes], end: int) -> None:
    data = _compressed(*parts[:-1]) + _compressed(parts[-1], end=end)[:-4]
    assert _inflated(data) == b"".join(parts)


@examples(300)
@given(st.text(st.characters(codec="ascii"), min_size=20, max_size=400), st.booleans(), st.data())
def test_of_a_message_that_is_cut_off_no_part_is_given_out(
    words: str, ended: bool, data: st.DataObject
) -> None:
    whole = _compressed(words.encode(), end=zlib.Z_FINISH if ended else zlib.Z_SYNC_FLUSH)
    whole = whole if ended else whole[:-5]  # with the byte in which its last block's end can be
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert _inflated(whole[:cut]) is CloseCode.INVALID_DATA


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(_compressed(b"one") + b"\xff", id="a second stream that is damaged"),
        pytest.param(_compressed(b"one") + _compressed(b"two" * 9)[:-3], id="a second one that is cut off"),
        pytest.param(_compressed(*[b"x"] * (MAX_STREAMS + 1)), id="too many"),
        pytest.param(HELLO[:3], id="cut off"),
    ],
)
def test_a_compressed_message_that_is_not_whole_is_refused(data: bytes) -> None:
    assert _inflated(data) is CloseCode.INVALID_DATA


def test_the_streams_of_a_message_count_together() -> None:
    data = _compressed(bytes(60), bytes(40))
    assert _inflated(data, 100) == bytes(100)
    assert _inflated(data, 99) is TOO_BIG
