"""Spans of what is published, in the memory of the test."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.frames import read
from tests.support.wires import MakeServer, Server, frames, turn
from wsctl.codes import ErrorCode
from wsctl.log.home import Home, Refusal
from wsctl.log.message_log import MessageLog
from wsctl.log.transfer import draft_fields, read_draft
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
    frame = read(bytes(frames(transport.drain())[0][-1].data))
    span = spans.finished["publish"]
    carried = (
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{int(span.context.trace_flags):02x}"
    )
    assert frame.get("traceparent") == (carried if in_messages else None)
    assert (frame["data"], frame["to"]) == ("hello", ["bob"])


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
