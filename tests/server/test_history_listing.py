"""Messages that a log keeps, as operators are shown them."""

from typing import Any

import pytest

from wsctl.control import history
from wsctl.control.history import HistoryQuery, KeptMessages, read_history_query
from wsctl.log.message_log import MessageLog
from wsctl.server.history_listing import list_history
from wsctl.topics import InvalidTopic

EVERYONE, EU, US, ORDERS = None, "quotes.eu", "quotes.us", "orders.1"


@pytest.fixture
def log() -> MessageLog:
    """A log that keeps three messages of each topic."""
    return MessageLog(lambda entry: 0, most=3, most_bytes=1 << 20)


def publish(log: MessageLog, data: object, topic: str | None, to: tuple[str, ...] | None = None) -> str:
    log.append("server", data, to, topic=topic)
    return log.newest


def data(told: KeptMessages) -> list[Any]:
    return [message["data"] for message in told.messages]


def test_messages_are_shown_as_clients_get_them_in_their_order(log: MessageLog) -> None:
    ids = [publish(log, n, topic) for n, topic in enumerate([EVERYONE, EU, US, ORDERS])]
    told = list_history(log, HistoryQuery())
    assert (data(told), told.more, told.newest_id) == ([0, 1, 2, 3], False, ids[-1])
    assert (told.recovered, told.lost) == (None, None)
    first, second = told.messages[:2]
    assert {key: first[key] for key in ("type", "id", "from", "data")} == {
        "type": "message",
        "id": ids[0],
        "from": "server",
        "data": 0,
    }
    assert ("topic" in first, second["topic"]) == (False, EU)


def test_topics_are_chosen_by_name_and_pattern(log: MessageLog) -> None:
    for n, topic in enumerate([EVERYONE, EU, US, ORDERS]):
        publish(log, n, topic)
    assert data(list_history(log, HistoryQuery((EU,)))) == [1]
    assert data(list_history(log, HistoryQuery(("quotes.*",)))) == [1, 2]
    assert data(list_history(log, HistoryQuery((EU, "orders.>")))) == [1, 3]
    assert data(list_history(log, HistoryQuery(("nothing",)))) == []


def test_what_is_shown_is_bounded_and_pages_lead_to_the_end(log: MessageLog) -> None:
    first = publish(log, 0, EVERYONE)
    for n in range(1, 6):
        publish(log, n, f"t.{n}")
    assert data(list_history(log, HistoryQuery(limit=2))) == [4, 5]
    page = list_history(log, HistoryQuery(since=first, limit=2))
    assert (data(page), page.more, page.recovered) == ([1, 2], True, True)
    rest = list_history(log, HistoryQuery(since=page.messages[-1]["id"], limit=3))
    assert (data(rest), rest.more) == ([3, 4, 5], False)


def test_large_messages_fill_an_answer_sooner(log: MessageLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsctl.server.history_listing.MOST_BYTES_LISTED", 1000)
    first = publish(log, 0, EVERYONE)
    for n in range(3):
        publish(log, f"{n}" * 600, f"t.{n}")
    page = list_history(log, HistoryQuery(since=first))
    assert (len(page.messages), page.more) == (1, True)


def test_what_is_lost_is_told_as_to_a_client_that_resumes(log: MessageLog) -> None:
    first = publish(log, 0, EVERYONE)
    for n in range(5):
        publish(log, n, EU)
    publish(log, 9, US)
    told = list_history(log, HistoryQuery(since=first))
    assert (data(told), told.recovered, told.lost) == ([2, 3, 4, 9], False, (EU,))
    told = list_history(log, HistoryQuery((US,), since=first))
    assert (data(told), told.recovered, told.lost) == ([9], True, None)
    told = list_history(log, HistoryQuery((US,), since="never"))
    assert (data(told), told.recovered, told.lost) == ([], False, (US,))


def test_direct_messages_are_not_shown(log: MessageLog) -> None:
    first = publish(log, 0, EVERYONE)
    publish(log, 1, EVERYONE, ("bob",))
    publish(log, 2, EVERYONE)
    assert data(list_history(log, HistoryQuery())) == [0, 2]
    assert data(list_history(log, HistoryQuery(since=first, limit=1))) == [2]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", ValueError),
        ("limit=many", ValueError),
        (f"limit={history.MOST_MESSAGES_LISTED + 1}", ValueError),
        ("&".join(f"topic=t.{n}" for n in range(history.MOST_PATTERNS + 1)), ValueError),
        ("&".join(["topic=t"] * (history.MOST_PATTERNS + 1)), ValueError),
        ("topic=a..b", InvalidTopic),
        ("topic=", InvalidTopic),
    ],
)
def test_a_question_that_cannot_be_meant_is_an_error(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_history_query(f"/api/history?{query}")
