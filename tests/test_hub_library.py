"""The hub as a library, under Starlette's client for tests."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocketDisconnect

from tests.support.starlette_client import TestClient, WebSocketDenialResponse
from wsctl import Client, Hub, Reject
from wsctl.errors import CannotStart, HubNotStarted, UsageError
from wsctl.server.asgi.connections import DrainedApplication
from wsctl.server.node import Node
from wsctl.settings import Settings


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    logger = logging.getLogger("wsctl")
    level = logger.level
    yield
    logger.setLevel(level)


def application(hub: Hub, **options: Any) -> FastAPI:
    """A service with a hub."""
    app = FastAPI(lifespan=hub.lifespan, **options)
    app.include_router(hub.router)

    @app.post("/publish")
    async def publish(wanted: dict[str, Any]) -> dict[str, Any]:
        receipt = await hub.publish(**wanted)
        return {"id": receipt.id, "recipients": receipt.recipients}

    @app.post("/disconnect/{client}")
    async def disconnect(client: str) -> int:
        return await hub.disconnect(client, 4500, "signed out")

    return app


def test_a_message_goes_to_all_clients_and_its_receipt_says_to_how_many() -> None:
    hub = Hub()
    with TestClient(application(hub)) as web, web.websocket_connect("/ws/bob") as bob:
        assert bob.receive_json()["client_id"] == "bob"
        with web.websocket_connect("/ws/eve") as eve:
            eve.receive_json()
            receipt = web.post("/publish", json={"data": {"price": 3}}).json()
            assert receipt["recipients"] == 2
            for client in (bob, eve):
                frame = client.receive_json()
                assert (frame["id"], frame["data"], frame["from"]) == (receipt["id"], {"price": 3}, "server")


@pytest.mark.parametrize("to", ["bob", ["bob", "nobody"]])
def test_a_message_can_be_for_some(to: object) -> None:
    hub = Hub()
    with (
        TestClient(application(hub)) as web,
        web.websocket_connect("/ws/bob") as bob,
        web.websocket_connect("/ws/eve") as eve,
    ):
        bob.receive_json()
        eve.receive_json()
        assert web.post("/publish", json={"data": 1, "to": to}).json()["recipients"] == 1
        web.post("/publish", json={"data": 2})
        assert bob.receive_json()["data"] == 1
        assert eve.receive_json()["data"] == 2


def test_what_a_client_says_goes_to_all() -> None:
    hub = Hub()
    with TestClient(application(hub)) as web, web.websocket_connect("/ws/bob") as bob:
        bob.receive_json()
        bob.send_text("hello")
        frame = bob.receive_json()
        assert (frame["from"], frame["data"]) == ("bob", "hello")


def test_a_client_can_be_disconnected() -> None:
    hub = Hub()
    with TestClient(application(hub)) as web, web.websocket_connect("/ws/bob") as bob:
        bob.receive_json()
        assert web.post("/disconnect/eve").json() == 0
        assert web.post("/disconnect/bob").json() == 1
        with pytest.raises(WebSocketDisconnect) as closed:
            bob.receive_json()
        assert (closed.value.code, closed.value.reason) == (4500, "signed out")
        assert hub.clients() == []


@pytest.mark.anyio
@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1002, ""), (70_000, ""), (4000, "é" * 62)])
async def test_a_close_frame_that_cannot_be_sent_is_an_error(code: int, reason: str) -> None:
    with pytest.raises(ValueError, match=r"no close code|123 bytes"):
        await Hub().disconnect("bob", code, reason)


def test_clients_are_listed_the_one_connected_longest_first() -> None:
    hub = Hub()
    with (
        TestClient(application(hub)) as web,
        web.websocket_connect("/ws/bob") as bob,
        web.websocket_connect("/ws/eve") as eve,
    ):
        bob.receive_json()
        eve.receive_json()
        assert [client.id for client in hub.clients()] == ["bob", "eve"]
        first = hub.clients()[0]
        assert first.address.startswith("testclient") or ":" in first.address
        assert first.connected_at > 1_700_000_000


def test_history_is_read_from_the_newest_end_or_from_a_message_on() -> None:
    hub = Hub()
    with TestClient(application(hub)) as web:
        ids = [web.post("/publish", json={"data": n}).json()["id"] for n in range(4)]
        assert [message.data for message in hub.history()] == [0, 1, 2, 3]
        assert [message.data for message in hub.history(limit=2)] == [2, 3]
        assert [message.data for message in hub.history(limit=0)] == []
        assert [message.id for message in hub.history(since=ids[0], limit=2)] == ids[1:3]
        assert hub.history(since=ids[3]) == []
        with pytest.raises(LookupError, match="not the id of a message"):
            hub.history(since="1-1")
        with pytest.raises(LookupError):
            hub.history(since="nonsense")
        with pytest.raises(ValueError, match="0 or more"):
            hub.history(limit=-1)


def test_a_message_with_a_topic_goes_to_its_subscribers_and_is_found_again() -> None:
    hub = Hub()
    with (
        TestClient(application(hub)) as web,
        web.websocket_connect("/ws/bob?topic=quotes.>&topic=a") as bob,
        web.websocket_connect("/ws/eve?topic=quotes.us") as eve,
    ):
        bob.receive_json()
        eve.receive_json()
        receipts = [
            web.post("/publish", json={"data": n, "topic": topic}).json()
            for n, topic in enumerate(["quotes.eu", "quotes.us", "a", None])
        ]
        assert [receipt["recipients"] for receipt in receipts] == [1, 2, 1, 2]
        assert [bob.receive_json()["data"] for _ in range(4)] == [0, 1, 2, 3]
        assert [eve.receive_json()["data"] for _ in range(2)] == [1, 3]
        assert [client.id for client in hub.clients(topic="quotes.us")] == ["bob", "eve"]
        assert [client.id for client in hub.clients(topic="quotes.eu")] == ["bob"]
        assert hub.clients(topic="b") == []
        assert hub.clients()[0].topics == ("quotes.>", "a")
        assert [m.data for m in hub.history(topic="a")] == [2]
        found = hub.history(topic="quotes.*")
        assert [(m.data, m.topic) for m in found] == [(0, "quotes.eu"), (1, "quotes.us")]
        first = receipts[0]["id"]
        assert [m.data for m in hub.history(first, topic="quotes.>")] == [1]
        assert [m.data for m in hub.history(first, 1, topic=">")] == [1]
        assert [m.data for m in hub.history(limit=1, topic="quotes.us")] == [1]
        with pytest.raises(LookupError, match="not the id of a message"):
            hub.history("7-0", topic="a")


@pytest.mark.anyio
async def test_a_message_whose_key_was_seen_is_not_published_again() -> None:
    hub = Hub()
    async with hub.lifespan(FastAPI()):
        first = await hub.publish("paid", key="order-42")
        again = await hub.publish("paid", key="order-42")
        assert (again.id, again.repeated, first.repeated) == (first.id, True, None)
        assert [message.data for message in hub.history()] == ["paid"]
        with pytest.raises(ValueError, match="key"):
            await hub.publish("paid", key="")


def test_what_was_kept_of_a_topic_and_is_no_more_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSCTL_HISTORY", "2")
    hub = Hub()
    with TestClient(application(hub)) as web:
        ids = [web.post("/publish", json={"data": n, "topic": "ab"[n % 2]}).json()["id"] for n in range(7)]
        assert [m.data for m in hub.history(ids[3], topic="b")] == [5]
        with pytest.raises(LookupError):
            hub.history(ids[0], topic="a")


@pytest.mark.parametrize("topic", ["a..b", "a.>.b", ""])
def test_what_is_no_topic_is_a_value_error(topic: str) -> None:
    hub = Hub()
    with TestClient(application(hub)) as web:
        for ask in (hub.clients, lambda topic: hub.history(topic=topic)):
            with pytest.raises(ValueError, match="segment"):
                ask(topic)
        with pytest.raises(ValueError, match="segment"):
            web.post("/publish", json={"data": 1, "topic": topic})


def test_a_hook_decides_about_topics_in_the_handshake_and_by_command() -> None:
    hub = Hub()

    @hub.on_subscribe
    async def may(client: Client, topic: str) -> None:
        if topic.startswith("private.") and topic != f"private.{client.id}":
            raise Reject("not_yours", "this topic is another client's")

    with TestClient(application(hub)) as web:
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            web.websocket_connect("/ws/eve?topic=private.bob"),
        ):
            pass
        assert (refused.value.status_code, refused.value.json()["error"]["code"]) == (403, "not_yours")
        with web.websocket_connect("/ws/bob?topic=private.bob", subprotocols=["wsctl.2", "wsctl"]) as bob:
            assert bob.accepted_subprotocol == "wsctl.2"
            bob.receive_json()
            bob.send_json({"type": "subscribe", "ref": 1, "topics": ["a", "private.eve"]})
            assert (bob.receive_json()["code"], hub.clients()[0].topics) == ("not_yours", ("private.bob",))
            bob.send_json({"type": "subscribe", "ref": 2, "topics": ["a"]})
            assert bob.receive_json()["ref"] == 2
            assert hub.clients()[0].topics == ("private.bob", "a")


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ({"data": "x" * 70_000}, "may have 65536 bytes"),
        ({"data": 1, "to": ["no id!"]}, "a client id has"),
    ],
)
def test_a_message_that_cannot_be_sent_is_a_value_error(wanted: dict[str, Any], what: str) -> None:
    with TestClient(application(Hub())) as web, pytest.raises(ValueError, match=what):
        web.post("/publish", json=wanted)


def test_a_lifespan_of_ones_own_runs_within_the_hubs() -> None:
    hub, said = Hub(), []

    @asynccontextmanager
    async def mine(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        said.append((await hub.publish("up")).recipients)
        yield {"database": "here"}
        said.append((await hub.publish("down")).recipients)

    app = FastAPI(lifespan=hub.lifespan(mine))
    app.include_router(hub.router, prefix="/live")
    with TestClient(app) as web, web.websocket_connect("/live/ws/bob") as bob:
        assert bob.receive_json()["type"] == "welcome"
        assert web.app_state == {"database": "here"}
    assert said == [0, 0]


def test_an_application_can_run_again_with_a_hub_that_has_ended() -> None:
    hub = Hub()
    app = application(hub)
    for _ in range(2):
        with TestClient(app) as web, web.websocket_connect("/ws/bob") as bob:
            bob.receive_json()
            assert web.post("/publish", json={"data": 1}).json()["recipients"] == 1
            assert len(hub.history()) == 1


def test_a_hub_whose_lifespan_never_ran_refuses_and_logs_the_cure_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outer = FastAPI()
    outer.mount("/chat", application(Hub()))
    web = TestClient(outer)
    for _ in range(2):
        with pytest.raises(WebSocketDenialResponse) as refused, web.websocket_connect("/chat/ws/bob"):
            pass
        assert refused.value.status_code == 503
        assert refused.value.json()["error"]["code"] == "hub_not_started"
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "FastAPI(lifespan=hub.lifespan)" in errors[0]


@pytest.mark.anyio
async def test_nothing_works_before_the_hub_has_started() -> None:
    hub = Hub()
    for call in (hub.clients, hub.history):
        with pytest.raises(HubNotStarted, match="give its lifespan"):
            call()
    with pytest.raises(HubNotStarted):
        await hub.publish("x")
    with pytest.raises(HubNotStarted):
        await hub.disconnect("bob")


def test_a_second_hub_cannot_run_beside_the_first() -> None:
    first, second = Hub(), Hub()
    with (
        TestClient(application(first)),
        pytest.raises(CannotStart, match="two hubs in this process"),
        TestClient(application(second)),
    ):
        pass


def test_a_hub_runs_once() -> None:
    hub = Hub()
    with (
        TestClient(application(hub)),
        pytest.raises(CannotStart, match="runs already"),
        TestClient(application(hub)),
    ):
        pass


def test_a_setting_that_cannot_be_read_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WSCTL_HISTORY", "lots")
    with pytest.raises(UsageError, match="WSCTL_HISTORY"), TestClient(application(Hub())):
        pass
    assert any("WSCTL_HISTORY" in record.getMessage() for record in caplog.records)


def test_a_hook_is_given_once_and_before_the_start() -> None:
    hub = Hub()
    assert hub.on_message(_swallow) is _swallow
    with pytest.raises(RuntimeError, match="has its on_message already"):
        hub.on_message(_swallow)
    with TestClient(application(hub)), pytest.raises(RuntimeError, match="has started"):
        hub.on_connect(_swallow)


def _swallow(*_: object) -> None: ...


def test_a_client_that_the_server_does_not_find_by_its_path_is_counted_once() -> None:
    hub = Hub()
    node = Node(Settings(broadcast_interval=0), [], with_application=True)
    hub._binding.attach(node)
    node.started()
    counted = node.application
    assert counted
    app = DrainedApplication(application(hub), counted, rejects=lambda: False, delay=lambda host: 0.0)
    with TestClient(app) as web, web.websocket_connect("/ws/bob") as bob:
        assert bob.receive_json()["type"] == "welcome"
        assert counted.counts().websockets == 0
        assert [client.id for client in hub.clients()] == ["bob"]


def test_a_plain_request_where_the_websocket_is_says_so() -> None:
    with TestClient(application(Hub())) as web:
        answer = web.get("/ws/bob")
        assert answer.status_code == 426
        assert "/events/bob" in answer.json()["error"]["message"]
