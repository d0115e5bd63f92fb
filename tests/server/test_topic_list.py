"""The topics of one process."""

from wsctl.control.status import TopicList, TopicStatus
from wsctl.frame import Batch
from wsctl.log.history import Entry
from wsctl.server.topic_list import KeptMessages, kept_by_topic, list_topics


def entry(n: int, topic: str | None, payload: bytes = b"{}") -> Entry:
    return Entry((n, 0), Batch((payload,)), None, topic)


def test_what_is_kept_is_counted_by_topic_with_the_newest_id() -> None:
    entries = [entry(1, "a"), entry(2, None), entry(3, "b"), entry(4, "a", b'{"long": 1}')]
    sizes = [len(each.batch.wire) for each in entries]
    assert kept_by_topic(entries) == {
        "a": KeptMessages(2, sizes[0] + sizes[3], (4, 0)),
        "b": KeptMessages(1, sizes[2], (3, 0)),
    }


def test_a_topic_is_listed_once_that_has_subscribers_or_messages() -> None:
    kept = {"b": KeptMessages(2, 50, (4, 1)), "c": KeptMessages(1, 9, (5, 0))}
    found = list_topics(["b", "a", "b"], kept, {"a": 1, "b": 2, "c": 0}.__getitem__, limit=3)
    rows = (
        TopicStatus("a", 1, 0, 0, None),
        TopicStatus("b", 2, 2, 50, "4-1"),
        TopicStatus("c", 0, 1, 9, "5-0"),
    )
    assert found == TopicList(rows, more=False)


def test_only_the_first_are_listed_and_only_of_these_subscribers_are_counted() -> None:
    asked: list[str] = []

    def subscribers(topic: str) -> int:
        asked.append(topic)
        return 1

    found = list_topics(["d", "b", "c", "a"], {}, subscribers, limit=2)
    assert ([row.topic for row in found.topics], found.more, asked) == (["a", "b"], True, ["a", "b"])
