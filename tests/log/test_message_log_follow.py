"""Two logs of one server: one gives the ids, the other has its messages from there."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.entries import Delivered
from tests.support.homes import FollowerStandIn, HomeElsewhere
from tests.support.sizes import examples
from wsctl import messages
from wsctl.log.history import Entry
from wsctl.log.home import Draft, Key
from wsctl.log.message_log import MessageLog

HERE, THERE = 2, 3
"""Clients of the follower and of the leader."""


class Pair:
    """A follower, its leader, and what is under way between them. Data is a number of its own each time."""

    def __init__(self, before: int = 0, most: int = 100) -> None:
        self.here, self.there = Delivered(HERE), Delivered(THERE)
        self.follower = MessageLog(self.here.deliver, most, 100_000, lambda: 2.0)
        self.receipts: list[tuple[int, str, int]] = []
        self.said = 0
        self.said_here: list[int] = []
        for _ in range(before):
            self.say(self.follower)
        # Behind the other's clock: only what it takes over can make its ids larger.
        self.leader = MessageLog(self.there.deliver, most, 100_000, lambda: 1.0)
        history = self.follower.history
        self.leader.restore(self.follower.position, history.floor, history.entries())
        self.drafts = deque[Draft]()
        self.entries = deque[tuple[Entry, int, Key | None]]()
        self.leader.follower = FollowerStandIn(self._relay)
        self.own = self.follower.home
        self.follower.move_to(HomeElsewhere(self._forward))

    def say(self, log: MessageLog) -> None:
        number = self.said
        self.said += 1
        if log is self.follower:
            self.said_here.append(number)
        to = ("bob",) if number % 3 == 2 else None
        log.append("x", number, to, lambda message_id, n: self.receipts.append((number, message_id, n)))

    def lead_one(self) -> None:
        """The leader takes a draft."""
        if self.drafts:
            draft = self.drafts.popleft()
            self.leader.append(draft.sender, draft.data, draft.to, key=draft.key)

    def follow_one(self) -> None:
        """The follower takes a message."""
        if self.entries:
            entry, recipients, key = self.entries.popleft()
            self.follower.take(entry, key, recipients=recipients)

    def settle(self) -> None:
        while self.drafts:
            self.lead_one()
        while self.entries:
            self.follow_one()

    def step(self, what: str) -> None:
        match what:
            case "said here":
                self.say(self.follower)
            case "said there":
                self.say(self.leader)
            case "lead":
                self.lead_one()
            case "follow":
                self.follow_one()

    def _forward(self, draft: Draft) -> None:
        messages.encode({"data": draft.data})
        self.drafts.append(draft)

    def _relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        self.entries.append((entry, recipients + HERE, key))
        return HERE


STEPS = st.lists(st.sampled_from(["said here", "said there", "lead", "follow"]), max_size=40)


def _order(ids: list[str]) -> list[tuple[int, ...]]:
    return [tuple(map(int, message_id.split("-"))) for message_id in ids]


@examples(150)
@given(STEPS, st.integers(0, 3))
def test_both_deliver_the_same_messages_in_the_same_order(steps: list[str], before: int) -> None:
    pair = Pair(before)
    for step in steps:
        pair.step(step)
    pair.settle()
    assert pair.here[before:] == pair.there
    ids = [message.id for message in pair.here]
    assert _order(ids) == sorted(set(_order(ids)))
    assert sorted(message.data for message in pair.here) == list(range(pair.said))
    assert pair.follower.newest == pair.leader.newest
    assert pair.follower.history.entries() == pair.leader.history.entries()
    assert (pair.follower.published, pair.leader.published) == (pair.said, pair.said - before)


@examples(150)
@given(STEPS, st.integers(0, 2))
def test_each_receipt_comes_once_with_its_id_and_the_clients_of_both(steps: list[str], before: int) -> None:
    pair = Pair(before)
    for step in steps:
        pair.step(step)
    pair.settle()
    ids = {message.data: message.id for message in pair.here}
    wanted = [(n, ids[n], HERE if n < before else HERE + THERE) for n in range(pair.said)]
    assert sorted(pair.receipts) == wanted


def test_there_is_no_receipt_before_the_message_is_back() -> None:
    pair = Pair()
    pair.step("said here")
    assert (pair.here, pair.receipts) == ([], [])
    pair.step("lead")
    assert (len(pair.there), pair.here, pair.receipts) == (1, [], [])
    pair.step("follow")
    assert pair.receipts == [(0, pair.there[0].id, HERE + THERE)]


@examples(200)
@example(["said here", "said here", "lead", "follow", "said here"], 1, True)
@example(["said here", "said there", "lead"], 0, False)
@given(STEPS, st.integers(0, 3), st.booleans())
def test_when_the_leader_is_lost_what_did_not_come_back_gets_its_place_once(
    steps: list[str], after: int, arrives: bool
) -> None:
    """What the leader has sent may still arrive, or be lost with it."""
    pair = Pair(before=1)
    for step in steps:
        pair.step(step)
    while arrives and pair.entries:
        pair.follow_one()
    back = {message.data for message in pair.here}
    lost = [number for number in pair.said_here if number not in back]
    pair.follower.move_to(pair.own)
    assert [message.data for message in pair.here[len(back) :]] == lost
    for _ in range(after):
        pair.say(pair.follower)
    found = [message.data for message in pair.here]
    assert len(found) == len(set(found)) == len(back) + len(lost) + after
    assert back | set(pair.said_here) == set(found)
    ids = [message.id for message in pair.here]
    assert _order(ids) == sorted(set(_order(ids)))
    _check_receipts(pair, shared=back)


def _check_receipts(pair: Pair, shared: set[int]) -> None:
    """One for each that was said here: those in `shared` went to the clients of both, the others to ours,
    as did number 0, which was said before there were two."""
    ids = {message.data: message.id for message in pair.here}
    found = [receipt for receipt in pair.receipts if receipt[0] in pair.said_here]
    counts = {n: HERE + THERE if n in shared - {0} else HERE for n in pair.said_here}
    assert sorted(found) == sorted((n, ids[n], counts[n]) for n in pair.said_here)


def test_whoever_leads_again_gives_ids_behind_all_that_came() -> None:
    pair = Pair()
    pair.step("said there")
    pair.settle()
    pair.follower.move_to(pair.own)
    pair.step("said here")
    assert _order([m.id for m in pair.here]) == sorted(_order([m.id for m in pair.here]))
    assert len(pair.here) == 2
    assert pair.receipts[-1] == (1, pair.here[1].id, HERE)


def test_what_cannot_be_forwarded_is_not_waited_for() -> None:
    pair = Pair()
    with pytest.raises(ValueError, match="JSON"):
        pair.follower.append("x", float("nan"), receipt=lambda *_: pair.receipts.append((-1, "", 0)))
    pair.step("said here")
    pair.settle()
    assert [number for number, _, _ in pair.receipts] == [0]
    pair.follower.move_to(pair.own)
    assert len(pair.here) == 1


def test_what_got_its_place_after_a_lost_leader_is_not_owed_to_the_next_one() -> None:
    pair = Pair()
    pair.step("said here")
    for _ in range(2):
        pair.follower.move_to(pair.own)
        pair.follower.move_to(HomeElsewhere(lambda draft: None))
    pair.follower.move_to(pair.own)
    assert [message.data for message in pair.here] == [0]
    assert len(pair.receipts) == 1
