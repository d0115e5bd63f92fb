"""Packets as bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.other_end import no_descriptor_left, pipes
from wsctl.ipc.framing import ChannelBroken, PacketDecoder, encode_packet

PACKETS = st.lists(
    st.tuples(
        st.text(max_size=8),
        st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
        st.lists(st.binary(max_size=40), max_size=3),
    ),
    max_size=8,
)


@given(PACKETS, st.lists(st.integers(1, 60), max_size=60))
def test_however_the_bytes_are_cut_the_packets_are_the_same(
    packets: list[tuple[str, dict[str, object], list[bytes]]], cuts: list[int]
) -> None:
    stream = b"".join(encode_packet(kind, fields, blobs, ()) for kind, fields, blobs in packets)
    decoder, found = PacketDecoder(), []
    for cut in [*cuts, len(stream)]:
        found += decoder.feed(stream[:cut], ())
        stream = stream[cut:]
    assert [packet[:3] for packet in found] == packets


@pytest.mark.parametrize(
    "said", ["", "[", "5", "null", "[]", '["kind"]', '["kind",[],{},1]', '["kind",5,{}]', '["kind",["a"],{}]']
)
def test_what_is_no_packet_is_told_and_takes_no_descriptor(said: str) -> None:
    decoder = PacketDecoder()
    with no_descriptor_left():
        with pytest.raises(ChannelBroken, match="another language"):
            list(decoder.feed(struct.pack("!IIH", len(said), 0, 1) + said.encode(), pipes(1)))
        decoder.drop()
