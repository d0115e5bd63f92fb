"""Where a client stands."""

from typing import Any

import pytest

from wsctl.client.cursor import Cursor

URL = "ws://there/ws/bob"


def welcomed(**fields: Any) -> Cursor:
    """A cursor that stood at 5-0 when this welcome came."""
    cursor = Cursor()
    cursor.at = "5-0"
    cursor.welcome({"type": "welcome", "id": "9-0"} | fields)
    return cursor


def test_the_first_connection_asks_for_nothing() -> None:
    assert Cursor().url(URL) == URL


@pytest.mark.parametrize(("fields", "at"), [({}, "9-0"), ({"recovered": False}, "9-0")])
def test_a_welcome_is_where_a_client_begins_that_recovers_nothing(fields: dict[str, Any], at: str) -> None:
    assert welcomed(**fields).at == at


def test_a_client_that_recovers_stays_where_it_was_until_the_messages_come() -> None:
    cursor = welcomed(recovered=True)
    assert cursor.at == "5-0"
    cursor.message({"type": "message", "id": "6-0"})
    assert cursor.at == "6-0"


def test_the_url_names_the_last_message_whatever_its_id_looks_like() -> None:
    assert welcomed().url(URL) == f"{URL}?since=9-0"
    assert welcomed(id="a/b&c=d e").url(URL) == f"{URL}?since=a%2Fb%26c%3Dd%20e"


@pytest.mark.parametrize("strange", [None, 7, ["x"]])
def test_an_id_that_is_no_text_moves_nothing(strange: object) -> None:
    assert welcomed(id=strange).at == "5-0"
