"""Requests for event streams, and their answers."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.event_streams import Read, body_of, dechunked, read_events
from tests.support.services import Services
from tests.support.transport import HandTransport
from tests.support.wires import servers, turn
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.hooks import Handshake, Hooks, Refuse
from wsctl.server.websocket.opener import ClientRequest

pytestmark = pytest.mark.anyio


class Accepting:
    """An acceptor, and the transports that it was given."""

    def __init__(self, **options: object) -> None:
        self.services = Services(**options)
        self.acceptor = ClientAcceptor(self.services.acceptors, TrustedProxies(None), "/root")
        self.transports: list[HandTransport] = []
        self.counts = self.services.acceptors.refusals.counts
        self.clients = self.services.connections.manager.clients

    def accept(
        self, path: str = "/events/bob", query: str = "", version: str = "1.1", **headers: str
    ) -> HttpRefusal | None:
        self.transports.append(HandTransport(buffer=1 << 16))
        given = {"host": "here"} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = ClientRequest("GET", version, path, query, given)
        return self.acceptor.accept_stream(self.transports[-1], request, b"")

    @property
    def head(self) -> dict[str, str]:
        """The headers of the last answer."""
        head, _, _ = self.transports[-1].drain().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "HTTP/1.1 200 OK"
        return dict(line.split(": ", 1) for line in lines)

    def read(self) -> Read:
        self.services.flush()
        return read_events(body_of(self.transports[-1].drain()))


@pytest.fixture
def make() -> Iterator[type[Accepting]]:
    with ExitStack() as stack:

        class Disposed(Accepting):
            def __init__(self, **options: object) -> None:
                super().__init__(**options)
                stack.callback(lambda: [transport.dispose() for transport in self.transports])

        yield Disposed


@pytest.mark.parametrize("path", ["/events/bob", "/root/events/bob"])
async def test_a_stream_begins_with_the_time_to_connect_again_and_the_welcome(
    make: type[Accepting], path: str
) -> None:
    accepting = make()
    assert accepting.accept(path) is None
    read = accepting.read()
    assert read.retry is not None
    assert 1000 <= read.retry <= 3000
    assert [event.type for event in read.events] == ["welcome"]
    assert list(accepting.clients) == ["bob"]
    assert accepting.clients["bob"].keepalive == 15


async def test_no_proxy_and_no_cache_keeps_events_back(make: type[Accepting]) -> None:
    accepting = make()
    accepting.accept()
    head = accepting.head
    assert head.pop("date").endswith("GMT")
    assert head == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        "transfer-encoding": "chunked",
        "connection": "close",
    }


async def test_http_1_0_has_no_chunks(make: type[Accepting]) -> None:
    accepting = make()
    accepting.accept(version="1.0")
    assert "transfer-encoding" not in accepting.head
    _, _, body = accepting.transports[0].drain().partition(b"\r\n\r\n")
    assert [event.type for event in read_events(body).events] == ["welcome"]


async def test_a_client_may_ask_for_more_signs_of_life(make: type[Accepting]) -> None:
    accepting = make()
    accepting.accept(query="keepalive=5&topic=a.b")
    assert accepting.clients["bob"].keepalive == 5
    assert dict(accepting.clients["bob"].subscriptions) == {"a.b": False}


@pytest.mark.parametrize(("seen", "recovered"), [(True, True), (False, False)])
@pytest.mark.parametrize("where", ["header", "query", "both"])
async def test_a_client_resumes_by_header_or_query_and_the_header_is_the_newer_one(
    make: type[Accepting], seen: bool, recovered: bool, where: str
) -> None:
    accepting = make(history=10)
    log = accepting.services.connections.log
    log.append("server", "old")
    accepting.services.flush()
    newest = log.newest if seen else "7-7"
    query = f"since={newest}" if where == "query" else "since=3-3" if where == "both" else ""
    headers = {} if where == "query" else {"last_event_id": newest}
    assert accepting.accept(query=query, **headers) is None
    welcome = json.loads(accepting.read().events[0].data)
    assert welcome["recovered"] is recovered


async def test_an_id_that_is_none_of_ours_is_no_reason_to_refuse_but_a_bad_since_is(
    make: type[Accepting],
) -> None:
    accepting = make()
    assert accepting.accept(last_event_id="what is this? " * 20) is None
    assert json.loads(accepting.read().events[0].data)["recovered"] is False
    refused = accepting.accept(query="since=what%20is%20this")
    assert refused is not None
    assert refused.code == "bad_since"


async def test_a_client_that_was_told_to_stay_away_is_told_again_in_words_of_browsers(
    make: type[Accepting],
) -> None:
    refused = make().accept(last_event_id="final")
    assert refused is not None
    assert refused.status == 204


async def test_a_page_of_an_allowed_origin_may_read_the_answer(make: type[Accepting]) -> None:
    accepting = make(allow_origin=("https://app.example",))
    accepting.accept(origin="https://app.example")
    head = accepting.head
    assert (head["access-control-allow-origin"], head["vary"]) == ("https://app.example", "origin")
    refused = accepting.accept(query="since=%20", origin="https://app.example")
    assert refused is not None
    assert dict(refused.headers)["access-control-allow-origin"] == "https://app.example"


async def test_a_page_of_another_origin_is_refused_and_may_not_read_why(make: type[Accepting]) -> None:
    accepting = make()
    refused = accepting.accept(origin="https://evil.example")
    assert refused is not None
    assert refused.code == "origin_not_allowed"
    assert "access-control-allow-origin" not in dict(refused.headers)
    assert accepting.counts == {"origin_not_allowed": 1}


async def test_while_the_server_drains_a_stream_ends_at_once_and_says_when_to_come_back(
    make: type[Accepting],
) -> None:
    accepting = make()
    accepting.services.drain()
    assert accepting.accept() is None
    (rejected,) = accepting.services.acceptors.drain_rejector.waiting
    rejected.send_last(1.0)
    read = accepting.read()
    assert [event.type for event in read.events] == ["shutdown", "close"]
    assert json.loads(read.events[1].data)["code"] == 1001
    assert read.retry is not None
    assert 500 <= read.retry <= 1500
    _, _, body = accepting.transports[0].drain().partition(b"\r\n\r\n")
    assert dechunked(body)[1] == b""
    assert accepting.transports[0].eof
    assert accepting.clients == {}
    assert accepting.counts == {"draining": 1}


async def test_a_browser_waits_where_a_full_server_refuses_programs(make: type[Accepting]) -> None:
    accepting = make(max_connections=1)
    assert accepting.accept("/events/eve") is None
    refused = accepting.accept()
    assert refused is not None
    assert (refused.code, dict(refused.headers)["retry-after"]) == ("full", "5")
    assert accepting.accept(accept="text/event-stream") is None
    (rejected,) = accepting.services.acceptors.drain_rejector.waiting
    rejected.send_last(1.0)
    read = accepting.read()
    assert [event.type for event in read.events] == ["error", "close"]
    assert (json.loads(read.events[0].data)["code"], read.retry) == ("full", 5000)
    assert accepting.counts == {"full": 2}


async def test_the_application_decides_about_streams_too_and_is_told_of_no_subprotocols() -> None:
    seen: list[Handshake] = []

    async def decide(handshake: Handshake) -> str:
        seen.append(handshake)
        await asyncio.sleep(0)
        if handshake.client_id == "eve":
            raise Refuse(403, "not you")
        return "robert"

    with servers() as make_server:
        server = make_server(hooks=Hooks(on_connect=decide), allow_origin=("https://app.example",))
        acceptor = ClientAcceptor(server.node.acceptor_services, TrustedProxies(None), "")
        answers = []
        for name in ("bob", "eve"):
            transport = HandTransport(buffer=1 << 16)
            server.transports.append(transport)
            headers = {"host": "here", "origin": "https://app.example"}
            request = ClientRequest("GET", "1.1", f"/events/{name}", "x=1", headers)
            assert acceptor.accept_stream(transport, request, b"") is None
            for _ in range(5):
                await turn()
            answers.append(transport.drain())
        assert list(server.node.manager.clients) == ["robert"]
        (welcome,) = read_events(body_of(answers[0])).events
        assert json.loads(welcome.data)["client_id"] == "robert"
        assert answers[1].startswith(b"HTTP/1.1 403 ")
        assert b"access-control-allow-origin: https://app.example" in answers[1]
        assert [(handshake.client_id, handshake.subprotocols) for handshake in seen] == [
            ("bob", ()),
            ("eve", ()),
        ]
        assert seen[0].query["x"] == "1"
