"""What each application has to stand with its own client, which knows nothing of wsctl."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from tests.apps.cases import Case
from tests.apps.clients import Client
from tests.apps.served.stamps import ENDED
from tests.conftest import environ_of
from tests.support.generations import Generations
from tests.support.server import ServerProcess
from wsctl.codes import ExitCode

OpenClient = Callable[[], Awaitable[Client]]


@contextmanager
def running(case: Case) -> Iterator[Generations]:
    """The application under `wsctl serve`; none of its processes is left at the end."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        environ = environ_of(Path(folder))
        server = Generations(ServerProcess.start(f"tests.apps.served.{case.app}:app", environ=environ))
        try:
            yield server
        finally:
            server.kill()


async def drain(case: Case) -> None:
    """SIGTERM: clients stay and talk on. One leaves by itself, one is ended at the deadline."""
    with running(case) as server:
        process = server.first
        async with _clients(case, process) as open_client:
            leaving, staying = await open_client(), await open_client()
            process.signal()
            await asyncio.to_thread(process.wait_for_line, "draining")
            assert [await client.talk() for client in (leaving, staying)] == [process.pid, process.pid]
            await leaving.leave()
            assert await staying.talk() == process.pid
            status, answer = await asyncio.to_thread(process.api, "POST", "/api/drain", {"timeout": 0})
            assert status == 200, answer
            assert await staying.ended() == case.end
            assert await asyncio.to_thread(process.wait) == ExitCode.FORCED
            assert (f"{ENDED} {process.pid}" in process.lines) is case.lifespan


async def upgrade(case: Case) -> None:
    """A client stays with the old process and talks on, a new one reaches the new process. When the old one's
    clients have left by themselves, it ends with exit code 0."""
    with running(case) as server:
        process = server.first
        async with _clients(case, process) as open_client:
            old = await open_client()
            assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
            new = await open_client()
            assert [await old.talk(), await new.talk()] == [process.pid, server.pid]
            await old.leave()
            assert await asyncio.to_thread(server.first_ended) == ExitCode.DONE
            assert await new.talk() == server.pid
        if case.lifespan:
            await asyncio.to_thread(process.wait_for_line, f"{ENDED} {process.pid}")


@asynccontextmanager
async def _clients(case: Case, server: ServerProcess) -> AsyncIterator[OpenClient]:
    """Opens clients that have talked with their application; those that are left leave at the end."""
    async with AsyncExitStack() as stack:

        async def open_client() -> Client:
            client = case.client(server.url)
            stack.push_async_callback(client.leave)
            await client.open()
            await client.talk()
            return client

        yield open_client
