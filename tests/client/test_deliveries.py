"""What became of what a client has sent."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.deliveries import UNANSWERED, UNSENT, Deliveries


def sending(*texts: str) -> Deliveries:
    found = Deliveries()
    for text in texts:
        found.add(text).reason = ""
    return found


def test_what_comes_back_is_delivered() -> None:
    found = sending("a", "b", "a")
    for text in ("a", "b", "a"):
        assert not found.settled
        found.came_back(text)
    assert found.settled
    assert (found.total, found.failures()) == (3, {})


def test_what_nobody_answers_is_not() -> None:
    found = sending("a", "b")
    found.came_back("a")
    assert not found.settled
    assert found.failures() == {UNANSWERED: 1}


def test_what_a_server_has_changed_is_the_first_that_is_due() -> None:
    found = sending("a", "b")
    found.came_back("A")
    found.came_back("b")
    found.came_back("more than was sent")
    assert (found.settled, found.failures()) == (True, {})


def test_what_was_never_written_is_told_so() -> None:
    found = Deliveries()
    found.add("a")
    assert found.failures() == {UNSENT: 1}


def test_one_that_is_overtaken_was_refused_for_what_the_server_said() -> None:
    found = sending("a", "b", "c", "d")
    found.refused("rate_limited")
    found.came_back("c")
    (reason,) = found.failures()
    assert reason.endswith("(rate_limited)")
    assert found.failures() == {reason: 3}
    assert not found.settled  # the server does not tell of each


def test_a_refusal_answers_a_message() -> None:
    found = sending("a")
    found.refused("publish_disabled")
    assert found.settled
    (reason,) = found.failures()
    assert reason == "to a server that takes no messages from clients (publish_disabled)"


def test_a_refusal_that_is_not_known_is_told_by_its_code() -> None:
    found = sending("a")
    found.refused("later")
    assert found.failures() == {"refused (later)": 1}


def test_what_was_under_way_when_the_connection_closed_may_still_come_back() -> None:
    found = sending("a", "b")
    found.closed(1012, "restart")
    assert found.failures() == {"on a connection that was closed: 1012 restart": 2}
    found.came_back("a")
    found.came_back("b")
    assert (found.settled, found.failures()) == (True, {})


def test_what_was_too_big_is_the_longest_and_takes_those_behind_it_along() -> None:
    found = sending("limited", "x" * 70_000, "behind")
    found.refused("rate_limited")
    found.closed(1009, "too big")
    found.add("later").reason = ""
    assert sorted(found.failures().items()) == [
        ("above the rate that the server takes from a client (rate_limited)", 1),
        ("on a connection that was closed: 1009 too big", 2),
        (UNANSWERED, 1),
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.sampled_from([1006, 1009, 1012]))
def test_each_message_either_comes_back_or_is_counted(fates: list[tuple[str, bool]], code: int) -> None:
    found = sending(*(text for text, _ in fates))
    for text, delivered in fates:
        if delivered:
            found.came_back(text)
    found.closed(code, "")
    assert sum(found.failures().values()) == sum(not delivered for _, delivered in fates)


def as_commands(*texts: str) -> Deliveries:
    """Messages with the refs 0, 1 and so on."""
    found = Deliveries()
    for number, text in enumerate(texts):
        message = found.add(text)
        message.reason, message.ref = "", str(number)
    return found


def test_each_command_has_its_own_answer_in_any_order() -> None:
    found = as_commands("a", "b", "c")
    found.answered("2")
    found.answered("0", "topic_not_allowed")
    found.answered("nobody's", "rate_limited")
    assert not found.settled
    found.answered("1")
    assert found.settled
    assert found.failures() == {"to a topic that this client may not publish to (topic_not_allowed)": 1}


def test_a_command_without_an_answer_may_come_back_on_the_next_connection() -> None:
    found = as_commands("a", "b")
    found.closed(1012, "restart")
    assert found.failures() == {"on a connection that was closed: 1012 restart": 2}
    found.echoed("b")
    found.echoed("b")
    assert found.failures() == {"on a connection that was closed: 1012 restart": 1}
