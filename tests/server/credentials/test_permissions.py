"""What clients may subscribe and publish to."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from wsctl.server.credentials.permissions import (
    MAX_PATTERNS,
    BadPermissions,
    Claimed,
    Permissions,
    PermissionTable,
    permissions_of,
    read_permissions,
)
from wsctl.settings import EVERY_TOPIC, Settings

OFF = Permissions((), (), direct=False)


@pytest.mark.parametrize(
    ("allowed", "pattern", "may"),
    [
        (EVERY_TOPIC, "a", True),
        (EVERY_TOPIC, ">", True),
        ((), "a", False),
        (("orders.>",), "orders.eu.*", True),
        (("orders.>",), "orders", False),
        (("orders.>",), ">", False),
        (("orders.*",), "orders.>", False),
        (("a", "b.*"), "b.c", True),
    ],
)
def test_a_client_may_subscribe_to_what_one_pattern_covers(
    allowed: tuple[str, ...], pattern: str, may: bool
) -> None:
    assert Permissions(subscribe=allowed).may_subscribe(pattern) == may


@pytest.mark.parametrize(
    ("allowed", "topic", "may"),
    [
        (EVERY_TOPIC, None, True),
        (("a.>", "b"), None, False),
        (("a.>", ">"), None, True),
        ((), "a", False),
        (("a.>", "b"), "a.b.c", True),
        (("a.>", "b"), "b.c", False),
    ],
)
def test_a_message_without_a_topic_needs_all_of_them(
    allowed: tuple[str, ...], topic: str | None, may: bool
) -> None:
    assert Permissions(publish=allowed).may_publish(topic) == may


def test_without_a_claim_the_settings_count() -> None:
    settings = Settings(client_publish=("chat.*",), client_subscribe=(), client_direct=True)
    assert permissions_of(settings) == Permissions((), ("chat.*",), direct=True)
    assert permissions_of(Settings()) == Permissions(EVERY_TOPIC, EVERY_TOPIC, direct=False)


def test_a_claim_goes_before_the_settings_in_what_it_says() -> None:
    claimed = read_permissions({"subscribe": ["orders.>", "orders.>"], "direct": True})
    assert claimed == Claimed(("orders.>",), None, True)
    assert claimed.over(OFF) == Permissions(("orders.>",), (), direct=True)
    assert read_permissions({}).over(OFF) == OFF
    assert read_permissions({"publish": []}).over(Permissions()).publish == ()


@pytest.mark.parametrize(
    "claim",
    [
        5,
        [],
        "orders.>",
        {"subscribe": "orders.>"},
        {"subscribe": ["a..b"]},
        {"publish": [5]},
        {"publish": ["a"] * (MAX_PATTERNS + 1)},
        {"direct": "yes"},
        {"subscribes": []},
    ],
)
def test_a_malformed_claim_is_refused(claim: Any) -> None:
    with pytest.raises(BadPermissions, match="its claim wsctl"):
        read_permissions(claim)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["subscribe", "publish", "direct", "x"]), inner, max_size=3)
        ),
    )
)
def test_whatever_the_claim_it_is_read_or_refused(claim: Any) -> None:
    with suppress(BadPermissions):
        assert isinstance(read_permissions(claim), Claimed)


def test_a_connection_without_a_claim_costs_nothing_and_has_the_default() -> None:
    table = PermissionTable(OFF)
    bob, eve = RecordedConnection("bob"), RecordedConnection("eve")
    table.set(bob, None)
    table.set(eve, Claimed(subscribe=("a.*",)))
    assert len(table) == 1
    assert table.of(bob) == OFF
    assert table.of(eve) == Permissions(("a.*",), (), direct=False)
    assert table.not_allowed(eve, ["a.b", "b", "a.*"]) == ["b"]
    table.set(eve, None)
    assert table.of(eve) == OFF


def test_who_has_gone_is_forgotten() -> None:
    table = PermissionTable()
    bob = RecordedConnection("bob")
    table.set(bob, Claimed(direct=True))
    table.forget(bob)
    assert (len(table), table.claimed(bob)) == (0, None)
