"""A service with a hub that writes its spans to the file that TRACES names, one JSON a line: for workers that
are tested."""

import json
import os
from collections.abc import Sequence

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from wsctl import Hub


class _Lines(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with open(os.environ["TRACES"], "a", encoding="utf-8") as file:
            for span in spans:
                above, context = span.parent, span.context
                assert context
                told = {
                    "name": span.name,
                    "pid": os.getpid(),
                    "trace": f"{context.trace_id:032x}",
                    "id": f"{context.span_id:016x}",
                    "above": above and f"{above.span_id:016x}",
                }
                file.write(json.dumps(told) + "\n")
        return SpanExportResult.SUCCESS


_provider = TracerProvider(shutdown_on_exit=False)
_provider.add_span_processor(SimpleSpanProcessor(_Lines()))
trace.set_tracer_provider(_provider)

hub = Hub()
app = FastAPI(lifespan=hub.lifespan)
app.include_router(hub.router)
