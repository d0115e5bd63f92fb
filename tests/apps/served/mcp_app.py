"""mcp: a tool that answers at once, and one that tells of its progress for ever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from tests.apps.served.stamps import report_end, stamp, stamps

server = MCPServer("of a test", log_level="WARNING")


@server.tool()
async def say() -> str:
    return stamp()


@server.tool()
async def work(context: Context) -> str:
    done = 0
    async for text in stamps():
        done += 1
        await context.report_progress(done, message=text)
    return "done"


app = server.streamable_http_app()
_lifespan = app.router.lifespan_context


@asynccontextmanager
async def _with_report(given: Any) -> AsyncIterator[Any]:
    async with _lifespan(given) as state:
        yield state
    report_end()


app.router.lifespan_context = _with_report
