"""What a connection takes with it, as plain fields and bytes and back."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsctl.server.handover.carried import Carried, Unread, packed, unpacked

UNREAD = st.builds(
    Unread,
    buffer=st.binary(max_size=20),
    fragments=st.none() | st.binary(max_size=20),
    opcode=st.integers(0, 15),
    deflated=st.booleans(),
    pieces=st.integers(0, 1024),
)
CARRIED = st.builds(
    Carried,
    client_id=st.text(min_size=1, max_size=10),
    address=st.text(max_size=10),
    age=st.floats(0, 1e9),
    deflate=st.booleans(),
    seen=st.text(max_size=10),
    unread=st.none() | UNREAD,
    expires=st.none() | st.floats(0, 1e12),
    keepalive=st.integers(0, 300),
    unsent=st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 5)), max_size=3).map(tuple),
)

BARE = Carried("bob", "192.0.2.1:5", 1.5, False, "1-1", None, ())


@settings(max_examples=200)
@example([])
@example([BARE])
@example([Carried("bob", "", 0.0, True, "1-1", Unread(b"", None, 1, False, 0), ((b"", 1), (b"x", 0))), BARE])
@example([Carried("bob", "", 0.0, True, "1-1", Unread(b"", b"", 1, True, 1), ()), BARE])
@given(st.lists(CARRIED, max_size=5))
def test_connections_are_the_same_on_the_other_side(connections: list[Carried]) -> None:
    rows, blobs = packed(connections)
    assert unpacked(rows, blobs) == connections
    assert unpacked(json.loads(json.dumps(rows)), blobs) == connections


def test_a_connection_of_a_process_that_knows_of_no_keepalive_has_none() -> None:
    rows, blobs = packed([BARE])
    for row in rows:
        del row["keepalive"]
    assert unpacked(rows, blobs) == [BARE]


def test_unpacking_leaves_the_rows_as_they_were() -> None:
    connections = [Carried("bob", "", 0.0, True, "1-1", Unread(b"a", b"b", 1, True, 1), ((b"x", 1),))]
    rows, blobs = packed(connections)
    assert unpacked(rows, blobs) == unpacked(rows, blobs) == connections


def test_what_is_unsent_is_written_as_it_is_and_counts_its_messages() -> None:
    carried = Carried("bob", "", 0.0, True, None, ((b"the end of a frame", 0), (b"two frames", 2)))
    assert [(batch.encoded(True), batch.messages) for batch in carried.batches] == list(carried.unsent)
    assert [batch.encoded(False) for batch in carried.batches] == [data for data, _ in carried.unsent]
