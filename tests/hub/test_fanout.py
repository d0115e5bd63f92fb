"""Every connection gets the same bytes in the same order, whatever its socket takes."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.sizes import examples
from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import EndReason
from wsctl.hub.fanout import Fanout


class PipedConnection(RecordedConnection):
    """A connection with a real socket, which a test reads at the other end and writes on when told."""

    def __init__(self, name: str, fanout: Fanout, sock: socket.socket, peer: socket.socket) -> None:
        super().__init__(name)
        self.fanout, self.sock, self.peer = fanout, sock, peer
        self.fd = sock.fileno()
        self.unsent = bytearray()
        self.got = bytearray()

    def offer(self, batch: Batch, written: int = 0) -> None:
        self.unsent += batch.wire[written:]
        self.behind = True
        self.fanout.place(self)

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        super().abort(reason, end_reason)
        self.fanout.remove(self)

    def write_on(self) -> None:
        """The loop says that the socket takes bytes again."""
        try:
            while self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            return
        if self.behind:
            self.behind = False
            self.fanout.place(self)

    def read(self, size: int) -> bool:
        try:
            data = self.peer.recv(size)
        except BlockingIOError:
            return False
        self.got += data
        return bool(data)

    def catch_up(self) -> bytes:
        """Everything, once nothing waits any more."""
        while self.read(1 << 20) or self.unsent:
            self.write_on()
        return bytes(self.got)


@contextmanager
def _connections(fanout: Fanout, count: int) -> Iterator[list[PipedConnection]]:
    with ExitStack() as stack:
        made = []
        for n in range(count):
            pair = socket.socketpair()
            for sock in pair:
                stack.enter_context(sock)
                sock.setblocking(False)
            pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            made.append(PipedConnection(str(n), fanout, *pair))
        yield made


def _send_to_some(
    fanout: Fanout, batch: Batch, every: list[RecordedConnection], bits: int, *, apart: bool
) -> tuple[list[int], int]:
    """Send to those whose bit is set, or to all others; returns who they are, and the bytes."""
    chosen = [at for at in range(len(every)) if bits >> at & 1]
    if not apart:
        return chosen, fanout.send_to([every[at] for at in chosen], batch)
    size = fanout.send(batch, {every[at] for at in chosen})
    return [at for at in range(len(every)) if at not in chosen], size


WHO = st.integers(0, 3)
STEPS = st.lists(
    st.tuples(st.just("send"), st.sampled_from([1, 100, 3000, 20_000]))
    | st.tuples(st.sampled_from(["send_to", "apart"]), st.sampled_from([0b0001, 0b0110, 0b1111, 0b11111]))
    | st.tuples(st.sampled_from(["read", "write_on", "place"]), WHO),
    max_size=40,
)


@examples(80)
@given(STEPS)
def test_each_connection_gets_every_byte_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    fanout = Fanout()
    n = 0
    slow_lane = RecordedConnection("without a descriptor")
    with _connections(fanout, 4) as connections:
        every = [*connections, slow_lane]
        sent = [bytearray() for _ in every]
        for connection in every:
            fanout.place(connection)
        for what, value in steps:
            if what == "send":
                n += 1
                batch = Batch((b"%d:" % n + b"." * value,))
                fanout.send(batch)
                for expected in sent:
                    expected.extend(batch.wire)
            elif what in ("send_to", "apart"):
                n += 1
                batch = Batch((b"%d" % n,))
                reached, size = _send_to_some(fanout, batch, every, value, apart=what == "apart")
                assert size == len(batch.wire) * len(reached)
                for at in reached:
                    sent[at] += batch.wire
            elif what == "read":
                connections[value].read(5000)
            elif what == "write_on":
                connections[value].write_on()
            else:
                fanout.place(connections[value])
        for connection, expected in zip(connections, sent, strict=False):
            assert connection.catch_up() == expected
        assert b"".join(batch.wire for batch in slow_lane.offered) == sent[-1]


@examples(80)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
def test_exactly_those_in_it_are_sent_to_after_any_coming_and_going(steps: list[tuple[bool, int]]) -> None:
    fanout = Fanout()
    inside: set[int] = set()
    with _connections(fanout, 6) as connections:
        connections[5].fd = None
        for comes, n in steps:
            if comes:
                fanout.place(connections[n])
                inside.add(n)
            else:
                fanout.remove(connections[n])
                inside.discard(n)
        batch = Batch((b"hello",))
        fanout.send(batch)
        received = {n for n, connection in enumerate(connections) if connection.catch_up() == batch.wire}
        assert received == inside
        assert all(not c.got for n, c in enumerate(connections) if n not in inside)


def test_a_peer_that_is_gone_is_aborted_and_the_others_get_their_bytes() -> None:
    fanout = Fanout()
    with _connections(fanout, 5) as connections:
        for connection in connections:
            fanout.place(connection)
        for n in (0, 2, 4):
            connections[n].peer.close()
        batch = Batch((b"hello",))
        fanout.send(batch)
        fanout.send(batch)
        assert [c.aborted is not None for c in connections] == [True, False, True, False, True]
        assert [connections[n].catch_up() for n in (1, 3)] == [batch.wire * 2] * 2


def test_full_and_dead_and_willing_sockets_beside_each_other() -> None:
    fanout = Fanout()
    with _connections(fanout, 6) as connections:
        for connection in connections:
            fanout.place(connection)
        sent = b""
        for n in range(40):
            batch = Batch((b"%d" % n * 3000,))
            sent += batch.wire
            fanout.send(batch)
            if n == 20:
                connections[3].peer.close()
            for willing in (connections[0], connections[5]):
                willing.read(1 << 20)
        assert [c.behind for c in connections] == [False, True, True, True, True, False]
        for connection in (connections[n] for n in (0, 1, 2, 4, 5)):
            assert connection.catch_up() == sent


def test_some_with_and_without_compression_get_their_own_bytes() -> None:
    fanout = Fanout()
    with _connections(fanout, 4) as connections:
        for n, connection in enumerate(connections):
            connection.encoding = Encoding(n % 2)
            fanout.place(connection)
        batch = Batch((b'"' + b"x" * 2000 + b'"',))
        size = fanout.send_to(connections[:3], batch)
        assert [c.catch_up() for c in connections] == [
            batch.wire,
            batch.encoded(Encoding.DEFLATE),
            batch.wire,
            b"",
        ]
        assert size == 2 * len(batch.wire) + len(batch.encoded(Encoding.DEFLATE))
        assert len(batch.encoded(Encoding.DEFLATE)) < len(batch.wire)


def test_removing_twice_or_unknown_does_nothing() -> None:
    fanout = Fanout()
    with _connections(fanout, 2) as connections:
        fanout.remove(connections[0])
        fanout.place(connections[1])
        fanout.remove(connections[1])
        fanout.remove(connections[1])
        fanout.send(Batch((b"x",)))
        assert not connections[1].read(1)
