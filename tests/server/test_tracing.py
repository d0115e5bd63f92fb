"""Spans of what is published, in the memory of the test."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server.websocket.test_command_handler import Speaker
from tests.support.frames import read
from tests.support.wires import MakeServer, Server, frames, turn
from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.frame import TEXT, Batch, frame
from wsctl.log.history import Entry
from wsctl.log.home import Home, Key, Refusal
from wsctl.log.message_log import MessageLog, written
from wsctl.log.transfer import draft_fields, read_draft
from wsctl.server.app import create_app
from wsctl.server.credentials.operators import OperatorTokens
from wsctl.server.listening.direct_publishing import DirectPublishing
from wsctl.server.message_publisher import MessagePublisher
from wsctl.server.tracing import create_tracing
from wsctl.tracing import TRACEPARENT

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")

pytestmark = pytest.mark.anyio

ABOVE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """What was traced; `provider` is for the part under test."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter = InMemorySpanExporter()
        self.provider = sdk.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def finished(self) -> dict[str, Any]:
        """Those that have ended, by name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


class Deferring(Home):
    """A home that says later what became of a draft."""

    def __init__(self) -> None:
        self.drafts: list[Any] = []

    def next_id(self, after: Any, ts: float) -> None:
        return None

    def publish(self, draft: Any) -> None:
        self.drafts.append(draft)


def traced(server: Server, spans: Spans, *, in_messages: bool = False) -> MessageLog:
    server.node.log.tracing = create_tracing(in_messages=in_messages, provider=spans.provider)
    return server.node.log


async def test_a_message_has_a_span_and_two_below_it_however_many_clients_there_are(
    make_server: MakeServer, spans: Spans
) -> None:
    server = make_server()
    log = traced(server, spans)
    for n in range(5):
        server.join(f"client-{n}")
    log.append("server", "hello")
    assert "publish" not in spans.finished  # its delivery is at the end of this iteration
    await turn()
    found = spans.finished
    assert set(found) == {"publish", "keep", "deliver"}
    above = found["publish"]
    assert above.attributes["messaging.message.id"] == log.newest
    assert above.attributes["wsctl.recipients"] == 5
    for name in ("keep", "deliver"):
        assert found[name].parent.span_id == above.context.span_id
    assert found["keep"].end_time <= found["deliver"].start_time


async def test_the_context_of_a_request_is_above(make_server: MakeServer, spans: Spans) -> None:
    log = traced(make_server(), spans)
    token = TRACEPARENT.set(ABOVE)
    log.append("server", "hello", topic="a.b")
    TRACEPARENT.reset(token)
    await turn()
    span = spans.finished["publish"]
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == ABOVE[3:-3]
    assert span.attributes["messaging.destination.name"] == "a.b"


@pytest.mark.parametrize("in_messages", [False, True])
async def test_messages_carry_the_context_only_where_that_is_asked_for(
    make_server: MakeServer, spans: Spans, in_messages: bool
) -> None:
    server = make_server()
    log = traced(server, spans, in_messages=in_messages)
    _, transport = server.join("bob")
    log.append("server", "hello", ("bob",))
    await turn()
    message = read(bytes(frames(transport.drain())[0][-1].data))
    span = spans.finished["publish"]
    carried = (
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{int(span.context.trace_flags):02x}"
    )
    assert message.get("traceparent") == (carried if in_messages else None)
    assert (message["data"], message["to"]) == ("hello", ["bob"])


async def test_a_home_that_answers_later_ends_the_span_then(make_server: MakeServer, spans: Spans) -> None:
    server = make_server()
    log = traced(server, spans, in_messages=True)
    home = Deferring()
    log.home = home  # type: ignore[assignment]
    log.append("server", "hello")
    (draft,) = home.drafts
    fields, (data,) = draft_fields(draft)
    assert read_draft(json.loads(json.dumps(fields)), data).traceparent == draft.traceparent
    await turn()
    assert not spans.finished
    log.refuse(draft.key, Refusal(ErrorCode.DEGRADED, "away"))
    span = spans.finished["publish"]
    assert (span.status.is_ok, span.status.description) == (False, "degraded")


async def test_what_was_under_way_when_the_log_moved_ends_its_span(
    make_server: MakeServer, spans: Spans
) -> None:
    log = traced(make_server(), spans)
    memory, log.home = log.home, Deferring()  # type: ignore[assignment]
    log.append("server", "hello")
    log.move_to(memory)
    await turn()
    assert spans.finished["publish"].status.is_ok
    assert {"keep", "deliver"} <= spans.finished.keys()


async def test_what_is_repeated_or_no_json_ends_its_span(make_server: MakeServer, spans: Spans) -> None:
    log = traced(make_server(), spans)
    told: list[str] = []
    log.append("server", 1, idempotency_key="k")
    log.append("server", 1, receipt=lambda message_id, count: told.append(message_id), idempotency_key="k")
    assert told == [log.newest]
    assert spans.finished["publish"].attributes["wsctl.repeated"] is True
    with pytest.raises(ValueError, match="JSON"):
        log.append("server", float("nan"))
    assert spans.finished["publish"].status.description == "bad_request"
    await asyncio.sleep(0)


def test_a_server_that_traces_nothing_does_not_load_opentelemetry() -> None:
    # Its interface, which is small, comes with libraries that look for it.
    code = "import sys, wsctl.main; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def above_of(span: Any) -> str:
    """The trace, and the span above one."""
    return f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" if span.parent else ""


@pytest.mark.parametrize(
    ("context", "above"),
    [
        (ABOVE, ABOVE[3:-3]),
        ("cc" + ABOVE[2:] + "-later", ABOVE[3:-3]),
        ("ff" + ABOVE[2:], ""),
        (ABOVE.upper(), ""),
        ("00-" + "0" * 32 + ABOVE[35:], ""),
        ("nonsense", ""),
        (5, ""),
        ({}, ""),
        (None, ""),
    ],
)
async def test_the_context_of_a_command_is_above_and_what_is_no_context_counts_as_none(
    make_server: MakeServer, spans: Spans, context: object, above: str
) -> None:
    server = make_server()
    traced(server, spans)
    bob = Speaker(server)
    (ok,) = await bob.ask(type="publish", ref=1, data="x", topic="a", traceparent=context)
    assert ok["type"] == "ok"
    assert above_of(spans.finished["publish"]) == above


async def test_the_context_of_a_command_goes_nowhere_where_nothing_is_traced(make_server: MakeServer) -> None:
    bob = Speaker(make_server())
    bob.say(type="publish", data="x", traceparent=ABOVE)
    (message,) = [each for each in await bob.heard() if each["type"] == "message"]
    assert "traceparent" not in message


@pytest.mark.parametrize("where", ["header", "body"])
async def test_the_context_of_a_client_that_publishes_by_requests_is_above(
    make_server: MakeServer, spans: Spans, where: str
) -> None:
    server = make_server()
    traced(server, spans)
    given = {"traceparent": ABOVE}
    transport = httpx.ASGITransport(create_app(server.node))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        server.node.started()
        answer = await client.post(
            "/publish?id=bob",
            json={"data": 1} | (given if where == "body" else {}),
            headers=given if where == "header" else {},
        )
    assert answer.status_code == 200, answer.text
    await turn()
    assert above_of(spans.finished["publish"]) == ABOVE[3:-3]


def received(log: MessageLog, traceparent: str | None, *, sender: str = "bob", **fields: Any) -> Entry:
    """The next message as another process has published it."""
    position = (log.position[0], log.position[1] + 1)
    body = messages.body(1.5, sender, '"traceparent":"x"', traceparent=traceparent, **fields)
    batch = Batch.read(frame(TEXT, messages.numbered(written(position), body)))
    return Entry(position, batch, fields.get("to"), fields.get("topic"))


@pytest.mark.parametrize(
    "how", [{}, {"topic": "a.b"}, {"to": ("eve",)}, {"to": ("eve", "bob"), "shown": True, "sender": "e:'~"}]
)
async def test_what_another_process_has_published_is_delivered_below_its_span(
    make_server: MakeServer, spans: Spans, how: dict[str, Any]
) -> None:
    server = make_server()
    log = traced(server, spans)
    server.join("eve", topics=["a.*"])
    log.take(received(log, ABOVE, **how), Key("elsewhere", 1), elsewhere=3)
    assert "deliver" not in spans.finished  # as of this process's own messages
    await turn()
    assert set(spans.finished) == {"deliver"}
    span = spans.finished["deliver"]
    assert above_of(span) == ABOVE[3:-3]
    assert span.attributes["wsctl.recipients"] == 1
    assert span.attributes["messaging.message.id"] == log.newest
    assert span.attributes.get("messaging.destination.name") == how.get("topic")


@pytest.mark.parametrize("traceparent", [None, "nonsense", "ff" + ABOVE[2:]])
async def test_a_message_of_another_process_without_a_context_has_no_span(
    make_server: MakeServer, spans: Spans, traceparent: str | None
) -> None:
    server = make_server()
    log = traced(server, spans)
    _, transport = server.join("eve")
    log.take(received(log, traceparent), None)
    await turn()
    assert not spans.finished
    assert len(frames(transport.drain())[0]) == 2


async def test_a_process_that_delivers_a_message_to_nobody_has_no_span_of_it(
    make_server: MakeServer, spans: Spans
) -> None:
    log = traced(make_server(), spans)
    log.take(received(log, ABOVE), None)
    await turn()
    assert not spans.finished


async def test_a_request_with_a_context_takes_the_road_that_reads_it_only_where_there_are_traces(
    make_server: MakeServer, spans: Spans
) -> None:
    log = make_server().node.log
    publisher = MessagePublisher(log, 0, lambda: True)
    direct = DirectPublishing(publisher, OperatorTokens(None, None), lambda: False, open_to_all=True)
    head = f"POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\ntraceparent: {ABOVE}\r\n\r\n"
    assert direct.read(head.encode(), lambda headers: True) is not None
    log.tracing = create_tracing(in_messages=False, provider=spans.provider)
    assert direct.read(head.encode(), lambda headers: True) is None
