"""Ids and the order they give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsctl import messages
from wsctl.hub.log import MessageLog
from wsctl.messages import Message


def _place(message_id: str) -> tuple[int, int]:
    ms, sequence = message_id.split("-")
    return int(ms), int(sequence)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 2e9), min_size=1, max_size=40))
def test_ids_only_grow_however_the_wall_clock_jumps(times: list[float]) -> None:
    clock = iter([times[0], *times])
    delivered: list[Message] = []
    log = MessageLog(delivered.append, lambda: next(clock))
    ids = [log.newest] + [log.append("bob", n).id for n in range(len(times))]
    assert sorted(set(ids), key=_place) == ids
    assert [message.id for message in delivered] == ids[1:]
    assert [message.data for message in delivered] == list(range(len(times)))
    assert log.newest == ids[-1]
    assert log.published == len(times)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([1, float("nan"), float("inf")]), max_size=20))
def test_an_append_that_fails_takes_no_id(data: list[float]) -> None:
    delivered: list[bytes] = []
    log = MessageLog(lambda message: delivered.append(messages.message(message)), lambda: 1.0)
    for value in data:
        before = log.newest
        if value == 1:
            assert log.append("bob", value).id == log.newest != before
        else:
            with pytest.raises(ValueError, match="JSON"):
                log.append("bob", value)
            assert log.newest == before
    assert log.published == len(delivered) == data.count(1)
    assert log.newest == f"1000-{data.count(1)}"


def test_a_message_carries_the_time_its_sender_and_its_addressees() -> None:
    log = MessageLog(lambda message: None, iter([1.0, 2.5]).__next__)
    assert log.append("bob", {"a": 1}, ("eve",)) == Message("2500-0", 2.5, "bob", {"a": 1}, ("eve",))


def test_the_newest_id_is_already_the_message_s_while_it_is_delivered() -> None:
    seen: list[bool] = []
    log = MessageLog(lambda message: seen.append(message.id == log.newest))
    log.append("bob", 1)
    assert seen == [True]
