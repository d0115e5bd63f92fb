"""The clients that several servers list, each once."""

from typing import Any

from wsctl.cli.listed import each_client_once


def row(name: str, node: str | None) -> dict[str, Any]:
    return {"client_id": name} | ({"node": node} if node else {})


def server(own: str | None, *rows: dict[str, Any]) -> dict[str, Any]:
    nodes = [{"node": node, "this": node == own} for node in ("a", "b", "c")] if own else None
    return {"pid": own, "nodes": nodes, "clients": list(rows)}


def listed(*seen: dict[str, Any]) -> list[list[str]]:
    return [[client["client_id"] for client in facts["clients"]] for facts in each_client_once(seen)]


def test_a_client_is_listed_by_its_own_server() -> None:
    rows = row("ann", "a"), row("bob", "b"), row("eve", "c")
    assert listed(server("a", *rows), server("b", *rows)) == [["ann", "eve"], ["bob"]]


def test_servers_that_share_nothing_list_what_they_have() -> None:
    assert listed(server(None, row("ann", None)), server(None, row("ann", None))) == [["ann"], ["ann"]]


def test_where_no_clients_are_asked_for_nothing_changes() -> None:
    assert list(each_client_once([{"pid": 1}])) == [{"pid": 1}]
