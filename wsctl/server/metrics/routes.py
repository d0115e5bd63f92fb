"""The routes that Prometheus, and other workers, ask for metrics."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response

from wsctl.server.api import OPERATORS, HasNode
from wsctl.server.metrics import OWN, PUBLIC, scrape
from wsctl.server.metrics.facts import MetricSources, families
from wsctl.server.metrics.family import Family, encode_families
from wsctl.server.node import Node
from wsctl.server.openapi import CONTROL

router = APIRouter(dependencies=OPERATORS, responses={**CONTROL})

_FORMATS = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")}


def sources_of(node: Node) -> MetricSources:
    """Return the parts of a server that its metrics are made from."""
    return MetricSources(
        reporter=node.reporter,
        manager=node.manager,
        intake=node.intake,
        log=node.log,
        refusals=node.refusals,
        shared=node.shared,
        lateness=node.ticker.lateness,
        max_queue=node.settings.max_queue,
        failed_handovers=lambda: node.handover.failures if node.handover else 0,
    )


async def own(node: Node) -> list[Family]:
    """Return the metrics of this process."""
    return [*families(sources_of(node)), *await scrape.process()]


async def answer(found: Iterable[Family], request: Request) -> Response:
    """Return the text in the format that is asked for."""
    body, kind = await scrape.text(found, request.headers.get("accept", ""))
    return Response(body, media_type=kind, headers={"vary": "accept"})


@router.get(
    PUBLIC,
    response_class=Response,  # a text one would make its refusals text, too
    responses={200: {"content": _FORMATS}},
    summary="Metrics for Prometheus",
)
async def metrics(request: Request, node: HasNode) -> Response:
    return await answer(await own(node), request)


@router.get(OWN, include_in_schema=False)
async def own_metrics(node: HasNode) -> dict[str, Any]:
    return encode_families(await own(node))
