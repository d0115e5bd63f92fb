"""Ids and the order they give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import frames
from tests.support.entries import Delivered, as_message
from tests.support.homes import FollowerStandIn, HomeElsewhere
from tests.support.sizes import examples
from wsctl.log.history import Entry, Missed
from wsctl.log.home import Draft
from wsctl.log.message_log import MessageLog
from wsctl.messages import Message


def _place(message_id: str) -> tuple[int, int]:
    ms, sequence = message_id.split("-")
    return int(ms), int(sequence)


@examples(100)
@given(st.lists(st.floats(0, 2e9), min_size=1, max_size=40))
def test_ids_only_grow_however_the_wall_clock_jumps(times: list[float]) -> None:
    clock = iter([times[0], *times])
    delivered, receipts = Delivered(), list[str]()
    log = MessageLog(delivered.deliver, wall=lambda: next(clock))
    ids = [log.newest]
    for n in range(len(times)):
        log.append("bob", n, receipt=lambda message_id, _: receipts.append(message_id))
        ids.append(log.newest)
        assert _place(log.newest) == log.position
    assert sorted(set(ids), key=_place) == ids
    assert [message.id for message in delivered] == receipts == ids[1:]
    assert [message.data for message in delivered] == list(range(len(times)))
    assert log.published == len(times)


@examples(60)
@given(st.lists(st.sampled_from([1, float("nan"), float("inf")]), max_size=20))
def test_an_append_that_fails_takes_no_id(data: list[float]) -> None:
    delivered, receipts, relayed = Delivered(), list[str](), Delivered()
    log = MessageLog(delivered.deliver, 100, 10_000, lambda: 1.0)
    log.follower = FollowerStandIn(lambda entry, *_: relayed.deliver(entry))
    for value in data:
        before = log.newest
        if value == 1:
            log.append("bob", value, receipt=lambda message_id, _: receipts.append(message_id))
            assert receipts[-1] == log.newest != before
        else:
            with pytest.raises(ValueError, match="JSON"):
                log.append("bob", value, receipt=lambda message_id, _: receipts.append(message_id))
            assert log.newest == before
    kept = len(receipts), len(log.history), len(relayed), len(delivered), log.published
    assert set(kept) == {data.count(1)}
    assert log.newest == f"1000-{data.count(1)}"


def test_a_message_carries_the_time_its_sender_and_its_addressees() -> None:
    delivered = Delivered()
    log = MessageLog(delivered.deliver, wall=iter([1.0, 2.5]).__next__)
    log.append("bob", {"a": 1}, ("eve",))
    assert delivered == [Message("2500-0", 2.5, "bob", {"a": 1}, ("eve",))]


def test_the_newest_id_is_already_the_message_s_while_it_is_delivered() -> None:
    seen: list[bool] = []

    def deliver(entry: Entry) -> int:
        seen.append(as_message(entry).id == log.newest and log.missed(log.newest, "bob").recovered)
        return 0

    log = MessageLog(deliver, 10, 10_000)
    log.append("bob", 1)
    assert seen == [True]


def test_the_receipt_tells_how_many_it_goes_to_here_and_elsewhere() -> None:
    log = MessageLog(Delivered(recipients=3).deliver, wall=lambda: 1.0)
    order: list[object] = []

    def relay(entry: Entry, recipients: int, _: object) -> int:
        order.append((entry.id, recipients))
        return 4

    log.append("bob", "alone", receipt=lambda *receipt: order.append(receipt))
    log.follower = FollowerStandIn(relay)
    log.append("bob", "not alone", receipt=lambda *receipt: order.append(receipt))
    assert order == [("1000-1", 3), ((1000, 2), 3), ("1000-2", 7)]


def _after(log: MessageLog, since: str, client_id: str, *patterns: str) -> list[object]:
    missed, recovered, lost = log.missed(since, client_id, patterns)
    assert (recovered, lost) == (True, ())
    return data_of(missed)


def data_of(missed: Missed) -> list[object]:
    return [frames.read(p)["data"] for batch in missed for p in batch.payloads]


def test_a_client_missed_what_everyone_got_and_what_was_for_it() -> None:
    log = MessageLog(Delivered().deliver, 10, 10_000, lambda: 1.0)
    start = log.newest
    for n, to in enumerate([None, ("eve",), ("bob", "eve"), ("ann",)]):
        log.append("x", n, to)
    assert _after(log, start, "bob") == [0, 2]
    assert _after(log, start, "eve") == [0, 1, 2]
    assert _after(log, "1000-1", "bob") == [2]
    assert _after(log, "1000-3", "bob") == []
    assert _after(log, log.newest, "ann") == []


STRANGE = ["", "-", "5", "5-", "-5", "1000-1-0", " 1000-1", "1000-1 ", "+1000-1", "01000-1", "1000-01"]
STRANGE += ["1_000-1", "१000-1", "1000-¹", "1000–1", "x-1", "9" * 60 + "-0", "1000-2", "999-0", "1001-0"]


@pytest.mark.parametrize("since", STRANGE)
def test_what_is_not_the_id_of_a_message_cannot_be_resumed_after(since: str) -> None:
    log = MessageLog(Delivered().deliver, 10, 10_000, lambda: 1.0)
    log.append("x", 1)
    assert log.newest == "1000-1"
    assert log.missed("1000-1", "bob").recovered
    missed, recovered, lost = log.missed(since, "bob", ["b", "a.*"])
    assert (list(missed), recovered, lost) == ([], False, ("a.*", "b"))


def test_a_log_that_is_restored_goes_on_behind_the_other_s_newest() -> None:
    old = MessageLog(Delivered().deliver, 10, 10_000, lambda: 2000.0)
    start = old.newest
    for n in range(3):
        old.append("x", n)
    new = MessageLog(Delivered().deliver, 10, 10_000, lambda: 1.0)
    new.restore(old.position, old.history.floor, old.history.entries())
    assert (new.newest, new.published) == (old.newest, 0)
    new.append("x", 3)
    assert new.newest == "2000000-4"
    assert _after(new, start, "bob") == [0, 1, 2, 3]
    assert _after(new, old.newest, "bob") == [3]


def test_a_client_missed_what_its_subscriptions_match_or_only_what_new_ones_do() -> None:
    log = MessageLog(Delivered().deliver, 10, 10_000, lambda: 1.0)
    start = log.newest
    for n, topic in enumerate([None, "a.b", "c", None, "a.d"]):
        log.append("x", n, topic=topic)
    assert _after(log, start, "bob") == [0, 3]
    assert _after(log, start, "bob", "a.*") == [0, 1, 3, 4]
    assert _after(log, "1000-2", "bob", "a.*", "c") == [2, 3, 4]
    missed, recovered, lost = log.missed(start, "bob", ["a.*", "c"], beside=["a.b"])
    assert (data_of(missed), recovered, lost) == ([2, 4], True, ())


def test_what_a_log_lets_go_of_with_time_is_gone_without_a_publish() -> None:
    now = [1.0]
    log = MessageLog(Delivered().deliver, 10, 10_000, lambda: now[0], ttl=60.0)
    start = log.newest
    log.append("x", 1, topic="a")
    now[0] = 62.0
    log.expire()
    assert len(log.history) == 0
    missed, recovered, lost = log.missed(start, "bob", {"a": True})
    assert (data_of(missed), recovered, lost) == ([], False, ("a",))


def test_a_key_that_the_home_has_seen_is_answered_each_time_it_is_published() -> None:
    drafts: list[Draft] = []
    answers: list[str] = []
    log = MessageLog(lambda entry: 0)
    log.home = HomeElsewhere(drafts.append)
    for _ in range(2):
        log.append("server", 1, idempotency_key="once", repeated=answers.append)
    log.answer_repeated(drafts.pop().key, (7, 0))
    assert (drafts, answers) == ([], ["7-0", "7-0"])
    log.append("server", 1, idempotency_key="once", repeated=answers.append)
    assert (drafts, answers) == ([], ["7-0", "7-0", "7-0"])
