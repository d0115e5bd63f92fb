"""Which connection that is no client ends when there are too many."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.strangers import Strangers


class Peer:
    """A connection; one that is `busy` does not give way."""

    def __init__(self, name: str, *, busy: bool = False) -> None:
        self.peer = name
        self.busy = busy
        self.ended = False

    def give_way(self) -> bool:
        self.ended = not self.busy
        return self.ended


def at_most(count: int) -> Strangers:
    return Strangers(lambda held: held <= count)


def test_the_oldest_gives_way() -> None:
    strangers = at_most(2)
    peers = [Peer(str(n)) for n in range(4)]
    for peer in peers:
        strangers.hold(peer, peer)
        strangers.make_room()
    assert [peer.ended for peer in peers] == [True, True, False, False]
    assert len(strangers) == 2


def test_but_not_one_whose_request_is_in_hand() -> None:
    strangers = at_most(1)
    first, second, third = Peer("first", busy=True), Peer("second"), Peer("third", busy=True)
    for peer in (first, second):
        strangers.hold(peer, peer)
    assert strangers.make_room() is second
    strangers.hold(third, third)
    assert strangers.make_room() is None
    assert not first.ended


def test_another_owner_keeps_the_place_and_an_answer_renews_it() -> None:
    strangers = at_most(2)
    old, new, other = Peer("old"), Peer("new"), Peer("other")
    strangers.hold("connection", old)
    strangers.hold("other", other)
    strangers.hold("connection", new)
    strangers.renew("other")
    strangers.hold("third", Peer("third"))
    assert strangers.make_room() is new


def test_whoever_has_ended_counts_no_more() -> None:
    strangers = at_most(1)
    peer = Peer("gone")
    strangers.hold(peer, peer)
    strangers.release(peer)
    strangers.release(peer)
    strangers.renew(peer)
    assert not len(strangers)


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 10))
def test_there_are_never_more_than_fit_but_those_at_work(busy: list[bool], room: int) -> None:
    strangers = at_most(room)
    peers = [Peer(str(n), busy=is_busy) for n, is_busy in enumerate(busy)]
    for peer in peers:
        strangers.hold(peer, peer)
        strangers.make_room()
        assert len(strangers) <= max(room, sum(busy))
