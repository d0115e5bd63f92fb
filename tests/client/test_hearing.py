"""What a client makes of the frames that it is sent."""

from typing import Any

import pytest

from wsctl.client.events import Degraded, Opened, Received, Restored
from wsctl.client.hearing import Hearing

AWAY = {"type": "error", "code": "degraded", "message": "Redis is away"}


def welcome(**fields: Any) -> dict[str, Any]:
    return {"type": "welcome", "client_id": "bob", "id": "7-0"} | fields


def heard(hearing: Hearing, *frames: dict[str, Any]) -> list[str]:
    """What kinds of events the frames are."""
    return [type(hearing.take(frame, "http://a")).__name__ for frame in frames]


def test_the_first_welcome_of_a_connection_opens_it_and_a_further_one_restores_it() -> None:
    hearing = Hearing()
    assert heard(hearing, welcome(), welcome(), welcome()) == ["Opened", "Restored", "Restored"]
    hearing.ended()
    assert hearing.take(welcome(), "http://b") == Opened(welcome(), resumed=True, server="http://b")


def test_only_the_first_word_of_an_outage_is_told_as_one() -> None:
    hearing = Hearing()
    kinds = heard(hearing, welcome(), AWAY, AWAY, AWAY, welcome(recovered=True), AWAY)
    assert kinds == ["Opened", "Degraded", "Received", "Received", "Restored", "Degraded"]
    assert hearing.take(AWAY, "http://a") == Received(AWAY)


def test_who_was_welcomed_to_a_degraded_server_is_answered_by_such_an_error() -> None:
    hearing = Hearing()
    assert heard(hearing, welcome(server={"degraded": True}), AWAY) == ["Opened", "Received"]
    hearing.ended()
    assert heard(hearing, welcome(server={"degraded": False}), AWAY) == ["Opened", "Degraded"]


def test_before_the_welcome_an_error_is_what_it_is() -> None:
    assert heard(Hearing(), AWAY) == ["Received"]


def test_other_errors_are_no_outage() -> None:
    assert heard(Hearing(), welcome(), AWAY | {"code": "rate_limited"}) == ["Opened", "Received"]


@pytest.mark.parametrize(("recovered", "at"), [(True, "8-0"), (False, "20-0"), (None, "20-0")])
def test_a_further_welcome_moves_the_cursor_only_when_messages_are_lost(
    recovered: bool | None, at: str
) -> None:
    hearing = Hearing()
    again = welcome(id="20-0") | ({} if recovered is None else {"recovered": recovered})
    for frame in (welcome(), {"type": "message", "id": "8-0"}, AWAY):
        hearing.take(frame, "http://a")
    event = hearing.take(again, "http://a")
    assert isinstance(event, Restored)
    assert event.recovered is (recovered is True)
    assert hearing.cursor.at == at


@pytest.mark.parametrize("server", [None, "x", [], {"degraded": None}, {"degraded": "yes"}])
def test_what_does_not_say_so_is_not_degraded(server: object) -> None:
    opened = Hearing().take(welcome(server=server), "http://a")
    assert isinstance(opened, Opened)
    assert not opened.degraded


def test_the_words_of_the_server_are_kept() -> None:
    hearing = Hearing()
    hearing.take(welcome(), "http://a")
    assert hearing.take(AWAY, "http://a") == Degraded(AWAY)
