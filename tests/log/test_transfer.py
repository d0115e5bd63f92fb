"""The history of a log, as another process gets it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.entries import Delivered
from tests.support.sizes import examples
from wsctl.log.history import Entry, MessageId
from wsctl.log.message_log import MessageLog
from wsctl.log.selection import Selection
from wsctl.log.transfer import ReceivedHistory, history_packets, history_place

TOPICS = [None, "a.b", "a.c", "b"]
SAID = st.lists(st.sampled_from(TOPICS), max_size=30)
SELECTIONS = [Selection(patterns) for patterns in ([], ["a.*"], [">"], ["b", "x"])]

Sent = tuple[dict[str, Any], list[bytes]]


def _log(most: int) -> MessageLog:
    return MessageLog(Delivered().deliver, most, 2000, lambda: 1.0)


def _say(log: MessageLog, topics: list[str | None]) -> None:
    for topic in topics:
        log.append("x", "y" * 20, topic=topic)


def shown(entries: list[Entry]) -> list[tuple[MessageId, bytes, str | None]]:
    return [(entry.id, entry.batch.wire, entry.topic) for entry in entries]


@examples(80)
@given(SAID, SAID, SAID, st.sampled_from([0, 2, 50]), st.booleans())
def test_a_log_that_moves_knows_there_what_it_knew_here(
    before: list[str | None],
    meanwhile: list[str | None],
    after: list[str | None],
    most: int,
    begun_again: bool,
) -> None:
    old, new = _log(most), _log(most)
    old_start, received = old.position, ReceivedHistory()
    _say(old, before)
    sent, packets = old.position, history_packets(old.history)
    _say(old, meanwhile)
    if begun_again:
        packets, sent = [*packets, *history_packets(old.history, (0, 0))], old.position
    for fields, blobs in [*packets, *history_packets(old.history, sent)]:
        received.add(fields, blobs)
    received.restore(new, history_place(old))
    for log in (old, new):
        _say(log, after)
    assert shown(new.history.entries()) == shown(old.history.entries())
    assert new.position == old.position
    for sequence in range(old_start[1], old.position[1] + 1):
        for selection in SELECTIONS:
            seen = old_start[0], sequence
            there, here = (log.history.select(seen, selection) for log in (new, old))
            assert (shown(there.entries), there[1:]) == (shown(here.entries), here[1:])
    assert not new.history.knows((999, 0))


@given(SAID)
def test_of_an_earlier_release_comes_a_log_that_may_have_lost_messages_of_any_topic(
    said: list[str | None],
) -> None:
    old, new, received = _log(3), _log(3), ReceivedHistory()
    _say(old, [None for _ in said])
    for fields, blobs in history_packets(old.history, topics=False):
        assert fields.keys() == {"entries"}
        assert all(len(row) == 3 for row in fields["entries"])
        received.add(fields, blobs)
    place = history_place(old, topics=False)
    assert place == {"position": old.position, "floor": old.history.floor}
    received.restore(new, place)
    assert new.history.floor_of("x") == old.position
    assert new.history.floor_of(None) == old.history.floor
    assert not new.history.select(old.history.floor, Selection(["x"])).recovered or not said
    assert new.history.select(old.position, Selection(["x"])).recovered


def test_a_process_of_an_earlier_release_gets_the_messages_to_everybody_alone() -> None:
    log = _log(2)
    _say(log, ["a", None, "b", None, None])
    [(fields, blobs)] = history_packets(log.history, topics=False)
    assert [row[1] for row in fields["entries"]] == [log.position[1] - 1, log.position[1]]
    assert len(blobs) == 2
    assert history_place(log, topics=False)["floor"] == (log.position[0], log.position[1] - 3)
