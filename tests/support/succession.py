"""A server about to hand over, and successors whose words a test says."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from tests.support.other_end import OtherEnd
from tests.support.server import DEADLINE
from tests.support.wires import Server, turn
from wsctl.lifecycle.handover import HandoverProgress
from wsctl.server.handover.predecessor import Predecessor


class StandIn:
    """What a process is to whoever starts it, without one. Its end of the channel closes when it is killed.

    Attributes:
        code: its exit code, once it has ended.
        killed: whether it was killed.
    """

    def __init__(self, end: OtherEnd, code: int | None = None) -> None:
        self._end = end
        self.code = code
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True
        self.code = -signal.SIGKILL if self.code is None else self.code
        self._end.hang_up()

    def wait(self) -> int:
        assert self.code is not None
        return self.code


class Stage:
    """Starts successors that do nothing by themselves.

    Attributes:
        processes, ends: of the successors that were started, in order.
        error: what goes wrong with the next one's start.
        code: the exit code with which the next one has ended already.
    """

    def __init__(self) -> None:
        self.processes: list[StandIn] = []
        self.ends: list[OtherEnd] = []
        self.error: OSError | None = None
        self.code: int | None = None
        self._news = asyncio.Event()

    def spawn(self, channel: int) -> "subprocess.Popen[bytes]":
        if self.error:
            raise self.error
        end = OtherEnd(socket.socket(fileno=os.dup(channel)))
        process = StandIn(end, self.code)
        self.processes.append(process)
        self.ends.append(end)
        self._news.set()
        return cast("subprocess.Popen[bytes]", process)

    async def successor(self, number: int = 1) -> OtherEnd:
        """The other end of the channel to that successor, waited for."""
        async with asyncio.timeout(DEADLINE):
            while len(self.ends) < number:
                self._news.clear()
                await self._news.wait()
        return self.ends[number - 1]

    def dispose(self) -> None:
        """Hang up on whoever is still there."""
        for end in self.ends:
            end.dispose()


class House:
    """One listening socket, and what is on it that is no client yet.

    Attributes:
        listening: whether connections are accepted; None when that was given up.
        heads: how many requests have arrived in part.
        unheard: descriptors of connections that have said nothing yet.
    """

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listening: bool | None = True
        self.heads = 0
        self.unheard: list[int] = []

    def public(self) -> list[socket.socket]:
        return [self.listener]

    def stop_listening(self) -> None:
        assert self.listening
        self.listening = False

    async def listen_again(self) -> None:
        assert not self.listening
        self.listening = True

    def give_up_listening(self) -> None:
        assert self.listening is False
        self.listening = None

    def half_heard(self) -> int:
        return self.heads

    def visit(self) -> socket.socket:
        """Somebody connects and says nothing; this is the peer."""
        ours, peer = socket.socketpair()
        self.unheard.append(ours.detach())
        return peer

    def take_unheard(self) -> list[int]:
        taken, self.unheard = self.unheard, []
        return taken


class Old:
    """A server that serves, to be replaced. To be made on a running loop.

    Attributes:
        obstacle: why there can be no handover.
        told: what observers were told.
    """

    def __init__(self, patience: float | None = None, **options: Any) -> None:
        self.server = Server(**({"history": 1000} | options))
        self.node = self.server.node
        self.node.life.started()
        self.house = House()
        self.stage = Stage()
        self.obstacle: str | None = None
        self.told: list[HandoverProgress] = []
        self._ending: asyncio.Future[None]
        self.predecessor = Predecessor(
            self.node,
            self.house,
            self.stage.spawn,
            observers=[self.told.append],
            obstacle=lambda: self.obstacle,
            patience=patience,
        )

    @property
    def states(self) -> list[str]:
        return [progress.state.value for progress in self.told]

    async def ask(self) -> None:
        """Ask for a handover as an operator does, who waits for its end from before on."""
        self._ending = asyncio.ensure_future(self.predecessor.ending())
        await asyncio.sleep(0)
        self.predecessor.begin()

    async def begin(self, number: int = 1) -> OtherEnd:
        """Begin a handover, to that successor."""
        await self.ask()
        successor = await self.stage.successor(number)
        await successor.hear("hello")
        return successor

    async def begin_move(self, number: int = 1) -> OtherEnd:
        """Begin a handover, and let the successor be ready for it."""
        successor = await self.begin(number)
        successor.say("ready")
        await successor.hear("begin")
        return successor

    async def hand_over(self, moves: int = 0) -> OtherEnd:
        """A whole one, in so many parcels of connections."""
        successor = await self.begin_move()
        await take_over(successor, moves)
        await self.ended()
        return successor

    async def ended(self) -> HandoverProgress:
        """How the handover ended, waited for as an operator does."""
        async with asyncio.timeout(DEADLINE):
            await self._ending
        await turn()
        told = self.predecessor.progress()
        assert told is not None
        return told

    async def dispose(self) -> None:
        """Let go of everybody."""
        await self.predecessor.finish()
        self.stage.dispose()
        self.house.listener.close()
        self.server.dispose()


async def take_over(successor: OtherEnd, moves: int = 0, silence: float = 0.0) -> None:
    """Take so many parcels of connections, and what comes after them."""
    for _ in range(moves):
        rows = (await successor.hear("move")).fields["rows"]
        successor.say("moved", moved=len(rows), lost=0, silence_s=silence)
    await successor.hear("over")
    successor.say("listening")


MakeOld = Callable[..., Old]


@asynccontextmanager
async def olds() -> AsyncIterator[MakeOld]:
    """Make servers of which nothing is left at the end."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> Old:
            old = Old(**options)
            stack.push_async_callback(old.dispose)
            return old

        yield make
