"""From a parsed request to a connection, or to the refusal of one."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.services import Services
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, client, data_of, frames
from wsctl.frame import TEXT, close_frame
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.drain_rejection import REASON
from wsctl.server.websocket.opener import ClientRequest

pytestmark = pytest.mark.anyio

HEADERS = {
    "host": "here",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(path: str, query: str = "", **headers: str) -> ClientRequest:
    return ClientRequest("GET", "1.1", path, query, HEADERS | headers)


class Accepting:
    """An acceptor with the root path `/root`, and the transports that it was given."""

    def __init__(self, **options: object) -> None:
        self.services = Services(**options)
        self.acceptor = ClientAcceptor(self.services.acceptors, TrustedProxies(None), "/root")
        self.transports: list[HandTransport] = []
        self.counts = self.services.acceptors.refusals.counts
        self.clients = self.services.connections.manager.clients

    def accept(self, path: str, early: bytes = b"", **headers: str) -> HttpRefusal | None:
        self.transports.append(HandTransport(buffer=1 << 16))
        return self.acceptor.accept(self.transports[-1], request(path, **headers), early)


@pytest.fixture
def make_accepting() -> Iterator[type[Accepting]]:
    with ExitStack() as stack:

        class Disposed(Accepting):
            def __init__(self, **options: object) -> None:
                super().__init__(**options)
                stack.callback(lambda: [transport.dispose() for transport in self.transports])

        yield Disposed


async def test_a_client_has_the_101_its_welcome_and_what_it_said_too_early(
    make_accepting: type[Accepting],
) -> None:
    accepting = make_accepting()
    assert accepting.accept("/ws/bob", early=client(TEXT, b"early")) is None
    accepting.services.flush()
    answer, _, rest = accepting.transports[0].drain().partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    found, _ = frames(ANSWER + rest)
    assert data_of(found) == ["early"]
    assert list(accepting.clients) == ["bob"]


@pytest.mark.parametrize("path", ["/ws/bob", "/root/ws/bob"])
async def test_the_root_path_may_be_there_or_taken_off_by_a_proxy(
    make_accepting: type[Accepting], path: str
) -> None:
    accepting = make_accepting()
    assert accepting.accept(path) is None
    assert list(accepting.clients) == ["bob"]


@pytest.mark.parametrize(
    ("path", "headers", "code", "counted"),
    [
        ("/elsewhere", {}, "not_found", False),
        ("/ws/bob/more", {}, "not_found", False),
        ("/ws/bob", {"sec-websocket-version": "12"}, "bad_version", False),
        ("/ws/bob", {"origin": "http://evil.example"}, "origin_not_allowed", True),
        ("/ws/-", {}, "bad_client_id", True),
    ],
)
async def test_a_refusal_leaves_the_transport_to_the_caller_and_clients_are_counted(
    make_accepting: type[Accepting], path: str, headers: dict[str, str], code: str, counted: bool
) -> None:
    accepting = make_accepting()
    refused = accepting.accept(path, **headers)
    assert refused is not None
    assert refused.code == code
    assert accepting.counts == ({code: 1} if counted else {})
    assert accepting.transports[0].protocol is None
    assert accepting.transports[0].drain() == b""


async def test_a_full_server_takes_a_client_in_place_of_its_older_connection_alone(
    make_accepting: type[Accepting],
) -> None:
    accepting = make_accepting(max_connections=1)
    assert accepting.accept("/ws/bob") is None
    refused = accepting.accept("/ws/eve")
    assert refused is not None
    assert refused.code == "full"
    assert accepting.counts == {"full": 1}
    older = accepting.clients["bob"]
    assert accepting.accept("/ws/bob") is None
    assert accepting.clients["bob"] is not older


async def test_while_the_server_drains_a_client_is_accepted_and_closed_with_1001(
    make_accepting: type[Accepting],
) -> None:
    accepting = make_accepting()
    accepting.services.drain()
    assert accepting.accept("/ws/bob") is None
    accepting.services.acceptors.drain_rejector.drop_all()
    answer, _, rest = accepting.transports[0].drain().partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert rest == close_frame(1001, REASON)
    assert accepting.counts == {"draining": 1}
    assert not accepting.clients


async def test_a_client_is_subscribed_to_its_topics_and_speaks_what_was_chosen(
    make_accepting: type[Accepting],
) -> None:
    accepting = make_accepting()
    offered = {"sec-websocket-protocol": "wsctl, wsctl.2, bearer.eA", "query": "topic=a.*&topic=b"}
    said = b'{"type":"publish","ref":1,"data":"early"}'
    assert accepting.accept("/ws/bob", early=client(TEXT, said), **offered) is None
    accepting.services.connections.log.append("server", "topical", topic="a.b")
    accepting.services.flush()
    answer, _, rest = accepting.transports[0].drain().partition(b"\r\n\r\n")
    assert b"Sec-WebSocket-Protocol: wsctl.2\r\n" in answer
    found, _ = frames(ANSWER + rest)
    assert data_of(found) == ["early", "topical"]
    assert accepting.clients["bob"].subscriptions == {"a.*": False, "b": False}
    assert accepting.accept("/ws/eve", **{"sec-websocket-protocol": "wsctl"}) is None
    assert not accepting.clients["eve"].commands
    refused = accepting.accept("/ws/dan", query="topic=a..b")
    assert refused is not None
    assert (refused.code, accepting.counts) == ("bad_topic", {"bad_topic": 1})
