"""Settings about topics that nobody can use, or that are too short."""

from typing import Any

import pytest

from wsctl.server.diagnostics.topics import check_topics
from wsctl.settings import Settings

PUBLIC = {"host": "0.0.0.0"}


def told(**settings: Any) -> list[str]:
    found = list(check_topics(Settings(**settings)))
    assert all((each.name, each.level) == ("topics", "warning") and each.fix for each in found)
    return [each.text for each in found]


def test_defaults_are_in_order() -> None:
    assert told() == told(**PUBLIC) == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"history_ttl": 60.0, "history": 0}, "--history-ttl 60 has no effect: no messages are kept"),
        ({"history_ttl": 60.0, "history_bytes": 0}, "--history-ttl 60 has no effect: no messages are kept"),
        (
            {"history_ttl": 5.0},
            "--history-ttl 5 is shorter than the 30 s that clients wait between two attempts: "
            "they miss messages",
        ),
        ({"history_ttl": 30.0}, None),
    ],
)
def test_a_history_is_long_enough_for_who_reconnects(settings: dict[str, Any], text: str | None) -> None:
    assert told(**settings) == ([text] if text else [])


def test_direct_messages_of_clients_need_ids_that_belong_to_somebody() -> None:
    (text,) = told(client_direct=True, **PUBLIC)
    assert text.startswith("--client-direct lets anyone write to any client")
    assert told(client_direct=True) == []
    assert told(client_direct=True, auth="jwt", jwt_key="key", **PUBLIC) == []


def test_direct_messages_need_the_permission_to_publish() -> None:
    assert told(client_direct=True, client_publish=()) == [
        "--client-direct has no effect: clients may not publish"
    ]
    # A token may allow it.
    assert told(client_direct=True, client_publish=(), auth="jwt", jwt_key="key") == []


def test_a_pattern_that_another_one_includes_is_told() -> None:
    assert told(client_subscribe=("chat.*", "chat.lobby", "news")) == [
        "--client-subscribe: chat.lobby has no effect, for chat.* includes it"
    ]
    assert told(client_publish=("news", ">")) == ["--client-publish: news has no effect, for > includes it"]


def test_what_clients_publish_can_be_subscribed_to() -> None:
    settings = {"client_publish": ("logs.>", "chat.*"), "client_subscribe": ("chat.lobby",)}
    text = "clients may publish to logs.>, and no client may subscribe to any of it"
    assert told(**settings) == [text]
    # A token may allow it, and an application may take it.
    assert told(**settings, auth="jwt", jwt_key="key") == told(**settings, app="main:app") == []
