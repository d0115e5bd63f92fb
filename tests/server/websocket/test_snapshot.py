"""The snapshot of a connection, as plain fields and bytes and back."""

import json
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.frame import Encoding
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.websocket.snapshot import (
    ConnectionSnapshot,
    UnreadInput,
    decode_snapshots,
    encode_snapshots,
)

UNREAD = st.builds(
    UnreadInput,
    buffer=st.binary(max_size=20),
    fragments=st.none() | st.binary(max_size=20),
    opcode=st.integers(0, 15),
    deflated=st.booleans(),
    pieces=st.integers(0, 1024),
)
PATTERNS = st.lists(st.sampled_from(["a", "b.*", ">"]), max_size=2).map(tuple)
SNAPSHOTS = st.builds(
    ConnectionSnapshot,
    client_id=st.text(min_size=1, max_size=10),
    address=st.text(max_size=10),
    age=st.floats(0, 1e9),
    encoding=st.sampled_from(Encoding),
    seen=st.text(max_size=10),
    unread=st.none() | UNREAD,
    expires=st.none() | st.floats(0, 1e12),
    keepalive=st.integers(0, 300),
    subscriptions=st.dictionaries(st.sampled_from(["a", "b.*", ">"]), st.booleans()),
    commands=st.booleans(),
    permissions=st.none()
    | st.builds(
        Claimed, st.none() | PATTERNS, publish=st.none() | PATTERNS, direct=st.none() | st.booleans()
    ),
    unsent=st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 5)), max_size=3).map(tuple),
)

BARE = ConnectionSnapshot("bob", "192.0.2.1:5", 1.5, False, "1-1", None, ())


@examples(200)
@example([])
@example([BARE])
@example([replace(BARE, unread=UnreadInput(b"", None, 1, False, 0), unsent=((b"", 1), (b"x", 0))), BARE])
@example([replace(BARE, unread=UnreadInput(b"", b"", 1, True, 1)), BARE])
@given(st.lists(SNAPSHOTS, max_size=5))
def test_connections_are_the_same_on_the_other_side(connections: list[ConnectionSnapshot]) -> None:
    rows, blobs = encode_snapshots(connections)
    assert decode_snapshots(rows, blobs) == connections
    assert decode_snapshots(json.loads(json.dumps(rows)), blobs) == connections


def test_a_connection_of_a_process_that_knows_of_no_keepalive_has_none() -> None:
    rows, blobs = encode_snapshots([BARE])
    for row in rows:
        del row["keepalive"]
    assert decode_snapshots(rows, blobs) == [BARE]


def test_decoding_leaves_the_rows_as_they_were() -> None:
    connections = [replace(BARE, unread=UnreadInput(b"a", b"b", 1, True, 1), unsent=((b"x", 1),))]
    rows, blobs = encode_snapshots(connections)
    assert decode_snapshots(rows, blobs) == decode_snapshots(rows, blobs) == connections


def test_what_is_unsent_is_written_as_it_is_and_counts_its_messages() -> None:
    snapshot = replace(BARE, unsent=((b"the end of a frame", 0), (b"two frames", 2)))
    assert len(snapshot.batches) == 2
    assert [(batch.encoded(Encoding.DEFLATE), batch.messages) for batch in snapshot.batches] == list(
        snapshot.unsent
    )
    assert [batch.encoded(Encoding.PLAIN) for batch in snapshot.batches] == [
        data for data, _ in snapshot.unsent
    ]


def test_a_connection_without_topics_is_told_as_a_process_that_knows_of_none_reads_it() -> None:
    assert set(encode_snapshots([BARE])[0][0]) == {
        *("client_id", "address", "age", "deflate", "seen", "unread", "unsent", "expires", "keepalive"),
    }
