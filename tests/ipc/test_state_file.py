"""The state that a process leaves to the program that it becomes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.ipc.framing import ChannelBroken, Packet
from wsctl.ipc.state_file import read_state, write_state

PACKETS = st.lists(
    st.builds(
        Packet,
        st.text(),
        st.dictionaries(st.text(), st.integers() | st.text()),
        st.lists(st.binary()),
        st.lists(st.integers(0, 5000)),
    )
)


@given(PACKETS)
def test_what_is_read_is_what_was_written_with_the_numbers_of_descriptors(packets: list[Packet]) -> None:
    fd = write_state(packets)
    try:
        assert read_state(fd) == read_state(fd) == packets
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("text", [b"", b"xx", b"\0\0\0\2[]" + b"\xff" * 99])
def test_what_is_no_state_is_told(text: bytes) -> None:
    fd = write_state([])
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, text, 0)
        with pytest.raises((ValueError, ChannelBroken, TypeError)):
            read_state(fd)
    finally:
        os.close(fd)
