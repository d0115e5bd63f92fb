"""Traces of publishing with OpenTelemetry: a span for a message, and below it one until the log has it, and
one of each process that delivers it until it was offered to all recipients there. Only this module imports
OpenTelemetry, when tracing is on."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from wsctl.errors import CannotStart, package
from wsctl.tracing import TRACEPARENT, DeliveryTrace, PublishTrace, Tracing

FLUSH_TIMEOUT = 2.0
"""Seconds that the end of a process waits for its last spans to be sent."""

SERVICE_NAME = "wsctl"
"""The name of the service unless OTEL_SERVICE_NAME is set."""


def create_tracing(*, in_messages: bool, provider: Any = None) -> Tracing:
    """Return the maker of traces. They go to `provider`; without one to that which the application has set,
    or else by OTLP over HTTP to where the `OTEL_*` variables say. With `in_messages` the trace context goes
    with each message.

    Raises:
        CannotStart: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace

        owned = provider is None and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        provider = _create_provider() if owned else provider or trace.get_tracer_provider()
    except ImportError:
        raise CannotStart(f"--tracing needs {package('opentelemetry-sdk', 'tracing')}") from None
    return _OpenTelemetry(provider, in_messages, owned=owned)


def _create_provider() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": SERVICE_NAME}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _OpenTelemetry:
    """Makes spans by a provider, which is `owned` if nobody else ends it."""

    def __init__(self, provider: Any, in_messages: bool, *, owned: bool) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._owned = owned
        self._in_messages = in_messages
        self._tracer = provider.get_tracer("wsctl")
        self._propagator = TraceContextTextMapPropagator()
        self._below: Callable[[Any], Any] = trace.set_span_in_context
        self._span_of: Callable[[Any], Any] = trace.get_current_span
        self._kinds = trace.SpanKind

    def begin(self, sender: str, topic: str | None, above: str | None) -> PublishTrace:
        given = above or TRACEPARENT.get()
        context = self._propagator.extract({"traceparent": given}) if given else None
        facts = _facts(topic) | {"messaging.operation.type": "send", "wsctl.sender": sender}
        span = self._tracer.start_span("publish", context, self._kinds.PRODUCER, facts)
        return _MessageTrace(self, span)

    def follow(self, traceparent: str, topic: str | None) -> DeliveryTrace | None:
        context = self._propagator.extract({"traceparent": traceparent})
        known = self._span_of(context).get_span_context().is_valid
        return _FollowedTrace(self, context, _facts(topic)) if known else None

    def delivery(self, context: Any, facts: dict[str, Any], began: int) -> Any:
        """Return a span of what this process delivers of another one's message, which began at that
        nanosecond."""
        return self._tracer.start_span("deliver", context, self._kinds.CONSUMER, facts, start_time=began)

    def child(self, span: Any, name: str) -> Any:
        """Return a span below another one, which begins now."""
        return self._tracer.start_span(name, self._below(span))

    def carried(self, span: Any) -> str | None:
        """Return the context that goes with the message of a span."""
        if not self._in_messages:
            return None
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._below(span))
        return carrier.get("traceparent")

    async def close(self) -> None:
        if not self._owned:
            return
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(sent.set)

        # A collector that hangs holds up no process: nobody waits for a daemon thread.
        threading.Thread(target=send, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await sent.wait()


class _MessageTrace:
    """The spans of one message."""

    __slots__ = ("_maker", "_part", "_span", "traceparent")

    def __init__(self, maker: _OpenTelemetry, span: Any) -> None:
        self._maker = maker
        self._span = span
        self._part = maker.child(span, "keep")
        self.traceparent = maker.carried(span)

    def kept(self, message_id: str) -> None:
        self._part.end()
        self._span.set_attribute("messaging.message.id", message_id)
        self._part = self._maker.child(self._span, "deliver")

    def delivered(self, recipients: int, elsewhere: int) -> None:
        self._span.set_attribute("wsctl.recipients", recipients + elsewhere)
        self._part.set_attribute("wsctl.recipients", recipients)
        # What one iteration of the loop publishes is written at its end.
        asyncio.get_running_loop().call_soon(self._end)

    def refused(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, code))
        self._end()

    def repeated(self, message_id: str) -> None:
        self._span.set_attribute("messaging.message.id", message_id)
        self._span.set_attribute("wsctl.repeated", True)
        self._end()

    def _end(self) -> None:
        self._part.end()
        self._span.end()


class _FollowedTrace:
    """The span of one message that another process has published, if it has recipients here."""

    __slots__ = ("_began", "_context", "_facts", "_maker")

    def __init__(self, maker: _OpenTelemetry, context: Any, facts: dict[str, Any]) -> None:
        self._maker = maker
        self._context = context
        self._facts = facts
        self._began = 0

    def kept(self, message_id: str) -> None:
        self._facts["messaging.message.id"] = message_id
        self._began = time.time_ns()

    def delivered(self, recipients: int, elsewhere: int) -> None:
        if recipients:
            facts = self._facts | {"wsctl.recipients": recipients}
            span = self._maker.delivery(self._context, facts, self._began)
            asyncio.get_running_loop().call_soon(span.end)


def _facts(topic: str | None) -> dict[str, Any]:
    """Return the attributes that all spans of a message begin with."""
    topics = {} if topic is None else {"messaging.destination.name": topic}
    return {"messaging.system": "wsctl"} | topics
