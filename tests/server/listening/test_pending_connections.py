"""Which connection that is no client ends when there are too many."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.listening.pending_connections import PendingConnections


class Peer:
    """A connection; one that is `busy` does not give way."""

    def __init__(self, name: str, *, busy: bool = False) -> None:
        self.peer = name
        self.busy = busy
        self.ended = False

    def evict(self) -> bool:
        self.ended = not self.busy
        return self.ended


def at_most(count: int) -> PendingConnections:
    return PendingConnections(lambda held: held <= count)


def test_the_oldest_gives_way() -> None:
    pending = at_most(2)
    peers = [Peer(str(n)) for n in range(4)]
    for peer in peers:
        pending.hold(peer, peer)
        pending.make_room()
    assert [peer.ended for peer in peers] == [True, True, False, False]
    assert len(pending) == 2


def test_but_not_one_whose_request_is_in_hand() -> None:
    pending = at_most(1)
    first, second, third = Peer("first", busy=True), Peer("second"), Peer("third", busy=True)
    for peer in (first, second):
        pending.hold(peer, peer)
    assert pending.make_room() is second
    pending.hold(third, third)
    assert pending.make_room() is None
    assert not first.ended


def test_another_owner_keeps_the_place_and_an_answer_renews_it() -> None:
    pending = at_most(2)
    old, new, other = Peer("old"), Peer("new"), Peer("other")
    pending.hold("connection", old)
    pending.hold("other", other)
    pending.hold("connection", new)
    pending.renew("other")
    pending.hold("third", Peer("third"))
    assert pending.make_room() is new


def test_whoever_has_ended_counts_no_more() -> None:
    pending = at_most(1)
    peer = Peer("gone")
    pending.hold(peer, peer)
    pending.release(peer)
    pending.release(peer)
    pending.renew(peer)
    assert not len(pending)


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 10))
def test_there_are_never_more_than_fit_but_those_at_work(busy: list[bool], room: int) -> None:
    pending = at_most(room)
    peers = [Peer(str(n), busy=is_busy) for n, is_busy in enumerate(busy)]
    for peer in peers:
        pending.hold(peer, peer)
        pending.make_room()
        assert len(pending) <= max(room, sum(busy))
