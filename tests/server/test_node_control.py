"""The operations on one process."""

import json
import threading
from typing import Any

import pydantic
import pytest

from tests.support.wires import MakeServer, Server
from wsctl.control.operations import (
    BROADCAST,
    DRAIN,
    LINES_TARGET,
    MAX_KEY,
    PUBLISH,
    Broadcast,
    ControlError,
    DrainRequest,
    Operation,
    answer,
)
from wsctl.hub.connection import Connection
from wsctl.log.home import RemoteConnection
from wsctl.server import message_publisher
from wsctl.server.message_publisher import BODY_ALLOWANCE, read
from wsctl.server.node_control import control_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (Broadcast, b"", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (Broadcast, b"[]", "Input should be an object"),
        (Broadcast, b"{}", "data: Field required"),
        (Broadcast, b'{"more": 1}', "data: Field required"),
        (Broadcast, b'{"data": 1, "more": 1}', "more: Extra inputs are not permitted"),
        (Broadcast, b'{"data": 1, "to": "bob"}', "to: Input should be a valid array"),
        (Broadcast, b'{"data": 1, "to": [1]}', "to.0: Input should be a valid string"),
        (DrainRequest, b'{"timeout": -1}', "timeout: Input should be greater than or equal to 0"),
        (Broadcast, b'{"data": 1, "show_to": 0}', "show_to: Input should be a valid boolean"),
        (Broadcast, b'{"data": 1, "show_to": "yes"}', "show_to: Input should be a valid boolean"),
        (DrainRequest, b'{"timeout": "soon"}', "timeout: Input should be a valid number"),
        (DrainRequest, b'{"timeout": "5"}', "timeout: Input should be a valid number"),
        (DrainRequest, b'{"timeout": true}', "timeout: Input should be a valid number"),
        (DrainRequest, b'{"seconds": 1}', "seconds: Extra inputs are not permitted"),
    ],
)
async def test_what_is_wrong_with_a_body_is_one_line(kind: type, body: bytes, error: str) -> None:
    with pytest.raises(ControlError) as caught:
        await read(kind, body)
    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    assert str(caught.value).startswith(error)


async def test_a_body_is_read_as_its_type() -> None:
    assert await read(Broadcast, b'{"data": [1], "to": ["bob"]}') == Broadcast([1], ["bob"])
    assert await read(DrainRequest, b'{"timeout": 5}') == DrainRequest(5.0)


@pytest.mark.parametrize(
    ("operation", "target", "body", "answered"),
    [
        (BROADCAST, BROADCAST.path, b'{"data": 1}', 200),
        (PUBLISH, PUBLISH.path, b'{"data": 1}', 200),
        (PUBLISH, LINES_TARGET, b'{"data": 1}\n', 200),
        (DRAIN, DRAIN.path, b'{"timeout": 5}', 409),
    ],
)
async def test_the_event_loop_does_not_wait_for_what_reads_the_first_body(
    make_server: MakeServer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    operation: Operation,
    target: str,
    body: bytes,
    answered: int,
) -> None:
    made_in: list[threading.Thread] = []

    class Noted(pydantic.TypeAdapter[Any]):
        def __init__(self, kind: Any) -> None:
            made_in.append(threading.current_thread())
            super().__init__(kind)

    monkeypatch.setattr(pydantic, "TypeAdapter", Noted)
    monkeypatch.setattr(message_publisher, "_READERS", {})
    control = control_of(make_server().node)
    for _ in range(2):
        assert (await answer(control, operation.method, target, body))[0] == answered
    assert len(made_in) == 1
    assert made_in != [threading.main_thread()]


@pytest.mark.parametrize("operation", [BROADCAST, DRAIN])
async def test_a_body_from_the_parent_is_no_longer_than_one_from_a_client(
    make_server: MakeServer, operation: Operation
) -> None:
    control = control_of(make_server(max_message_size=10).node)
    limit = control.body_limit(operation)
    status, told = await answer(control, operation.method, operation.path, b" " * (limit + 1))
    assert (status, told["error"]["code"]) == (413, "too_big")
    assert limit - BODY_ALLOWANCE == (10 if operation is BROADCAST else 0)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"data": "0123456789"}, 413, "a message may have 10 bytes"),
        ({"data": 1, "to": ["no id"]}, 400, "a client id has letters"),
        ({"data": float("inf")}, 400, "data: it has a NaN or an infinity, which JSON does not have"),
    ],
)
async def test_what_cannot_be_published_is_refused(
    make_server: MakeServer, body: object, status: int, text: str
) -> None:
    control = control_of(make_server(max_message_size=10).node)
    got, told = await answer(control, "POST", "/api/broadcast", json.dumps(body).encode())
    assert got == status
    assert text in told["error"]["message"]


@pytest.mark.parametrize("topic", ["", "a b", "a..b", "a.*", "a.>", "a" * 129])
async def test_a_message_to_what_is_no_topic_is_refused(make_server: MakeServer, topic: str) -> None:
    body = json.dumps({"data": 1, "topic": topic}).encode()
    status, told = await answer(control_of(make_server().node), "POST", "/api/broadcast", body)
    assert (status, told["error"]["code"]) == (400, "bad_topic")
    assert told["error"]["message"].startswith("topic: a topic has ")


async def test_a_message_to_a_topic_goes_to_its_subscribers_alone(make_server: MakeServer) -> None:
    server = make_server()
    for name, pattern in (("ann", "quotes.eu"), ("bob", "quotes.>"), ("eve", "orders.*"), ("tim", "")):
        wire, _ = server.join(name)
        subscribe(server, wire, pattern)
    control = control_of(server.node)

    async def recipients(**body: object) -> int:
        answered = await answer(control, "POST", "/api/broadcast", json.dumps({"data": 1, **body}).encode())
        return int(answered[1]["recipients"])

    assert await recipients(topic="quotes.eu") == 2
    assert await recipients(topic="quotes.us") == 1
    assert await recipients(topic="news") == 0
    assert await recipients(topic="quotes.eu", to=["bob", "tim"]) == 1
    assert await recipients() == 4


async def test_the_topics_are_those_of_subscriptions_by_name_and_of_the_history(
    make_server: MakeServer,
) -> None:
    server = make_server()
    for name, pattern in (("ann", "quotes.eu"), ("bob", "quotes.>"), ("eve", "orders.1")):
        wire, _ = server.join(name)
        subscribe(server, wire, pattern)
    control = control_of(server.node)
    body = json.dumps({"data": 1, "topic": "quotes.us"}).encode()
    _, receipt = await answer(control, "POST", "/api/broadcast", body)
    _, told = await answer(control, "GET", "/api/topics", b"")
    rows = [(row["topic"], row["subscribers"], row["messages"], row["newest_id"]) for row in told["topics"]]
    assert rows == [("orders.1", 1, 0, None), ("quotes.eu", 2, 0, None), ("quotes.us", 1, 1, receipt["id"])]
    assert told["topics"][2]["bytes"] > 0
    assert not told["more"]
    _, told = await answer(control, "GET", "/api/topics?limit=1", b"")
    assert ([row["topic"] for row in told["topics"]], told["more"]) == (["orders.1"], True)
    _, status = await answer(control, "GET", "/api/status?clients=true", b"")
    assert (status["subscriptions"], status["topics"]) == (3, 1)
    assert [row.get("topics") for row in status["clients"]] == [["quotes.eu"], ["quotes.>"], ["orders.1"]]


def subscribe(server: Server, connection: Connection, *patterns: str) -> None:
    server.node.manager.subscribe(connection, dict.fromkeys(filter(None, patterns), False))


async def test_a_message_that_is_sent_again_with_its_key_is_published_once(make_server: MakeServer) -> None:
    server = make_server()
    server.join("bob")
    control = control_of(server.node)

    async def publish(**body: object) -> tuple[int, dict[str, Any]]:
        return await answer(control, "POST", "/api/broadcast", json.dumps({"data": 1, **body}).encode())

    _, first = await publish(key="order-17")
    assert (first["recipients"], "repeated" in first) == (1, False)
    assert await publish(key="order-17") == (200, {"id": first["id"], "recipients": 0, "repeated": True})
    _, other = await publish(key="order-18")
    assert other["id"] != first["id"]
    assert server.node.log.published == 2


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1), "a\n"])
async def test_what_is_no_key_is_refused(make_server: MakeServer, key: str) -> None:
    body = json.dumps({"data": 1, "key": key}).encode()
    status, told = await answer(control_of(make_server().node), "POST", "/api/broadcast", body)
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert told["error"]["message"].startswith("key: ")


async def test_subscribers_of_topics_are_those_of_all_processes(make_server: MakeServer) -> None:
    server = make_server()
    wire, _ = server.join("ann")
    subscribe(server, wire, "quotes.>")
    server.node.presence.learn("another", [RemoteConnection("bob", 5, ("quotes.eu", "quotes.*"))])
    _, told = await answer(control_of(server.node), "GET", "/api/topics", b"")
    assert [(row["topic"], row["subscribers"]) for row in told["topics"]] == [("quotes.eu", 2)]


@pytest.mark.parametrize(("per_id", "ids", "connections"), [(1, None, None), (2, 2, 2), (0, 2, 2)])
async def test_clients_are_counted_beside_connections_where_an_id_may_have_several(
    make_server: MakeServer, per_id: int, ids: int | None, connections: int | None
) -> None:
    server = make_server(connections_per_id=per_id)
    for name in ("ann", "bob", "ann"):
        server.join(name)
    _, told = await answer(control_of(server.node), "GET", "/api/status?clients=true", b"")
    assert told.get("client_ids") == ids
    counts = {row["client_id"]: row.get("connections") for row in told["clients"]}
    assert counts == {"ann": connections, "bob": None}


async def test_a_server_is_drained_and_the_drain_cancelled_by_requests(make_server: MakeServer) -> None:
    server = make_server()
    server.node.started()
    server.join("bob")
    control = control_of(server.node)
    status, told = await answer(control, "POST", "/api/drain", b"")
    assert (status, told["status"], told["drain"]["active"]) == (200, "draining", 1)
    status, told = await answer(control, "DELETE", "/api/drain", b"")
    assert (status, told) == (200, {"status": "serving", "drain": None})
    status, told = await answer(control, "DELETE", "/api/drain", b"")
    assert (status, told["error"]["code"]) == (409, "not_now")


async def test_a_server_of_another_program_cannot_be_replaced(make_server: MakeServer) -> None:
    status, told = await answer(control_of(make_server().node), "POST", "/api/upgrade", b"")
    assert (status, told["error"]["code"]) == (409, "not_now")


class HandoverUnderWay:
    """A handover whose successor gives the ids already, while connections still move."""

    under_way = leaving = True


async def test_batches_rest_while_a_process_is_replaced_and_it_takes_them_until_it_is_told_to_stop(
    make_server: MakeServer,
) -> None:
    node = make_server().node
    publisher = control_of(node).publisher
    assert publisher.window.is_free
    node.handover = HandoverUnderWay()  # type: ignore[assignment]
    assert not publisher.window.is_free
    node.started()
    assert publisher.is_open()
    node.stop_publishing()
    assert not publisher.is_open()
