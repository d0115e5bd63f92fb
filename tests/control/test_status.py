"""The status of a server as JSON, and read from it."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.status import AWAY, DRAIN, FACTS, SHARED
from wsctl.control.encoding import decode, encode
from wsctl.control.status import ClientStatus, ClusterTotal, Health, MessageCounts, ServerStatus
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress

UPGRADE = {
    "state": "moving",
    "successor": 8,
    "total": 3,
    "moved": 1,
    "staying": 0,
    "elapsed_s": 0.5,
    "silence_s": 0.0,
    "error": None,
}

statuses = st.from_type(ServerStatus)


@given(statuses)
def test_a_status_goes_round_as_json(status: ServerStatus) -> None:
    # Not a number is not equal to itself, but reads alike.
    assert repr(ServerStatus.from_json(json.loads(json.dumps(status.to_json())))) == repr(status)


@given(statuses)
def test_a_status_is_read_whatever_a_newer_version_adds_to_it(status: ServerStatus) -> None:
    def with_more(told: Any) -> Any:
        if isinstance(told, dict):
            return {name: with_more(value) for name, value in told.items()} | {"later_field": [1]}
        return [with_more(each) for each in told] if isinstance(told, list) else told

    assert repr(ServerStatus.from_json(with_more(status.to_json()))) == repr(status)


def test_the_fields_of_a_status_are_its_keys() -> None:
    status = ServerStatus.from_json(FACTS)
    left_out = {"clients", "client_ids", "group", "workers", "application", "admin"}
    assert set(status.to_json()) == {field.name for field in fields(status)} - left_out - {"tasks"}
    assert set(replace(status, tasks=3, clients=()).to_json()) >= {"tasks", "clients"}


@pytest.mark.parametrize("facts", [FACTS, SHARED, AWAY, FACTS | {"drain": DRAIN, "upgrade": UPGRADE}])
def test_what_was_told_is_told_again(facts: dict[str, Any]) -> None:
    again = ServerStatus.from_json(facts).to_json()
    for name, value in facts.items():
        assert name in {"nodes", "redis", "drain"} or again[name] == value, name


def test_an_older_version_leaves_out_what_it_does_not_know() -> None:
    status = ServerStatus.from_json(FACTS | {"rates": {}, "messages": {"published": 2}})
    assert (status.generation, status.upgrade, status.degraded, status.cluster) == (1, None, None, None)
    assert status.rates == MessageCounts(0, 0, 0)
    assert status.messages.published == 2


def test_the_phase_of_a_newer_version_is_kept() -> None:
    assert ServerStatus.from_json(FACTS | {"status": "dreaming"}).status == "dreaming"


@pytest.mark.parametrize(
    "odd",
    [
        {"drain": DRAIN | {"phase": "dreaming"}},
        {"drain": {name: value for name, value in DRAIN.items() if name != "active"}},
        {"upgrade": {"state": "moving"}},
        {"upgrade": "soon"},
        {"nodes": [{"this": True}]},
    ],
)
def test_what_is_too_different_cannot_be_read(odd: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        ServerStatus.from_json(FACTS | odd)


@given(st.from_type(DrainProgress))
def test_a_drain_goes_round_as_json(progress: DrainProgress) -> None:
    assert repr(decode(DrainProgress, json.loads(json.dumps(encode(progress))))) == repr(progress)


def test_health_has_no_more_than_anyone_may_know() -> None:
    told = encode(Health(Phase.SERVING, 3, 1.5, "1.0", degraded=False))
    assert told == {
        "status": "serving",
        "connections": 3,
        "uptime_s": 1.5,
        "version": "1.0",
        "degraded": False,
    }


def test_a_cluster_has_the_clients_of_all_nodes() -> None:
    assert ClusterTotal.of(ServerStatus.from_json(SHARED).nodes or ()) == ClusterTotal(3, 900)


def test_an_id_with_several_connections_is_told_with_their_number() -> None:
    def row(client_id: str) -> ClientStatus:
        return ClientStatus(client_id, None, 1.0, None)

    found = ClientStatus.numbered([row("a"), row("b"), row("a")])
    assert [(each.client_id, each.connections) for each in found] == [("a", 2), ("b", None), ("a", 2)]


def test_a_status_of_a_version_without_topics_has_none() -> None:
    status = ServerStatus.from_json(FACTS)
    assert (status.subscriptions, status.topics, status.client_ids) == (0, 0, None)
    assert status.streams == 0
