"""The topics of one process."""

from wsctl.control.status import TopicList, TopicStatus
from wsctl.log.retention import TopicSize
from wsctl.server.topic_list import list_topics


def test_a_topic_is_listed_once_that_has_subscribers_or_messages() -> None:
    kept = [TopicSize("c", 1, 9, (5, 0)), TopicSize(None, 7, 90, (6, 0)), TopicSize("b", 2, 50, (4, 1))]
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

    found = list_topics(["d", "b", "c", "a"], [], subscribers, limit=2)
    assert ([row.topic for row in found.topics], found.more, asked) == (["a", "b"], True, ["a", "b"])
