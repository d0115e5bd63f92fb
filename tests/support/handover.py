"""Both sides of a handover in one process: one of them is the real one, and a test speaks for the other.

`Old` is a server that hands over to successors whose words a test says; `Takeover` has a successor that hears
what a test says for its predecessor. `tests.support.generations` is the same with real processes.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from tests.support import frames
from tests.support.other_end import OtherEnd
from tests.support.server import DEADLINE
from tests.support.transport import HandTransport
from tests.support.wires import Server, turn
from wsctl import messages
from wsctl.drain.progress import HandoverProgress
from wsctl.frame import Batch
from wsctl.log.history import Entry
from wsctl.server.condition import Condition
from wsctl.server.handover.predecessor import Predecessor
from wsctl.server.handover.successor import Successor
from wsctl.server.websocket.snapshot import DetachedTransport, encode_snapshots

WRITER = "the predecessor's log"


class ProcessStandIn:
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

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a successor", timeout)
        return self.code


class Successors:
    """Starts successors that do nothing by themselves.

    Attributes:
        processes, ends: of the successors that were started, in order.
        error: what goes wrong with the next one's start.
        code: the exit code with which the next one has ended already.
    """

    def __init__(self) -> None:
        self.processes: list[ProcessStandIn] = []
        self.ends: list[OtherEnd] = []
        self.error: OSError | None = None
        self.code: int | None = None
        self._news = asyncio.Event()

    def spawn(self, channel: int) -> "subprocess.Popen[bytes]":
        if self.error:
            raise self.error
        end = OtherEnd(socket.socket(fileno=os.dup(channel)))
        process = ProcessStandIn(end, self.code)
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


class Listeners:
    """One listening socket, and what is on it that is no client yet.

    Attributes:
        listening: whether connections are accepted; None when that was given up.
        heads: how many requests have arrived in part.
        owed: whether an answer is owed to somebody.
        unheard: descriptors of connections that have said nothing yet.
    """

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listening: bool | None = True
        self.changed = Condition()
        self.heads = 0
        self.owed = False
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

    def partial_heads(self) -> int:
        return self.heads

    def awaited(self) -> bool:
        return self.owed

    def visit(self) -> socket.socket:
        """Somebody connects and says nothing; this is the peer."""
        ours, peer = socket.socketpair()
        self.unheard.append(ours.detach())
        return peer

    def admin(self) -> list[socket.socket]:
        return []

    def detach_idle(self, *, admin: bool = False) -> list[int]:
        return []

    def detach_silent(self, *, admin: bool = False) -> list[int]:
        if admin:
            return []
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
        self.listeners = Listeners()
        self.successors = Successors()
        self.obstacle: str | None = None
        self.told: list[HandoverProgress] = []
        self._ending: asyncio.Future[None]
        self.predecessor = Predecessor(
            self.server.services,
            self.node.driver,
            self.listeners,
            self.successors.spawn,
            observers=[self.told.append],
            obstacle=lambda: self.obstacle,
            patience=patience,
        )

    @property
    def states(self) -> list[str]:
        return [progress.state.value for progress in self.told]

    async def ask(self) -> None:
        """Ask for a handover as an operator does, who waits for its end from before on."""
        self._ending = asyncio.ensure_future(self.predecessor.wait_until_over())
        await asyncio.sleep(0)
        self.predecessor.begin()

    async def begin(self, number: int = 1) -> OtherEnd:
        """Begin a handover, to that successor."""
        await self.ask()
        successor = await self.successors.successor(number)
        await successor.hear("hello")
        return successor

    async def begin_move(self, number: int = 1, *, topics: bool = False) -> OtherEnd:
        """Begin a handover, and let the successor be ready for it; it knows of topics, or is of an earlier
        release."""
        successor = await self.begin(number)
        successor.say("ready", **({"topics": True} if topics else {}))
        await successor.hear("begin")
        return successor

    async def hand_over(self, moves: int = 0) -> OtherEnd:
        """A whole one, in so many packets of connections."""
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
        self.successors.dispose()
        self.listeners.listener.close()
        self.server.dispose()


async def take_over(successor: OtherEnd, moves: int = 0, silence: float = 0.0) -> None:
    """Take so many packets of connections, and what comes after them."""
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


class _SuccessorHere(Successor):
    """A successor whose connections go on over transports by hand. `transports` are those before it."""

    def __init__(self, server: Server, channel: socket.socket, transports: list[HandTransport]) -> None:
        super().__init__(server.services, channel, asyncio.Protocol)
        self._server = server
        self._transports = transports

    async def _connect(self, protocol: asyncio.Protocol, fd: int) -> None:
        inode = os.fstat(fd).st_ino
        os.close(fd)
        (before,) = (each for each in self._transports if os.fstat(each.sock.fileno()).st_ino == inode)
        transport = HandTransport(over=before, room=before.room)
        self._server.transports.append(transport)
        protocol.connection_made(transport)


async def hand_over(
    old: Server, new: Server, meanwhile: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    """Hand over from one server to the other, with both sides as they are. At the same time `meanwhile` runs,
    which can ask whether the new one gives the ids; at the end it has ended."""
    spawned: asyncio.Future[Successor] = asyncio.get_running_loop().create_future()

    def spawn(channel: int) -> "subprocess.Popen[bytes]":
        spawned.set_result(_SuccessorHere(new, socket.socket(fileno=os.dup(channel)), old.transports))
        return cast("subprocess.Popen[bytes]", _Unending())

    listeners = Listeners()
    predecessor = Predecessor(old.services, old.node.driver, listeners, spawn)
    ending = asyncio.ensure_future(predecessor.wait_until_over())
    await asyncio.sleep(0)
    predecessor.begin()
    running = asyncio.create_task(meanwhile(lambda: spawned.done() and spawned.result().begun.is_set()))
    successor = await spawned
    successor.ready()
    await successor.may_listen.wait()
    successor.listening()
    await successor.settled.wait()
    await running
    await ending
    assert predecessor.failures == 0, predecessor.progress()
    await predecessor.finish()
    await successor.predecessor_gone.wait()
    listeners.listener.close()


class _Unending:
    """What the process of a successor is to its predecessor, if it never ends."""

    def poll(self) -> None:
        return None


class Takeover:
    """The clients of `old` are to go on in `new`. To be made on a running loop.

    Attributes:
        predecessor: where the old process's words come from.
        heard: what was said on connections that had said nothing.
    """

    def __init__(self, **options: Any) -> None:
        self.old = Server(**({"history": 1000} | options))
        self.new = Server(**({"history": 1000} | options))
        self.log = self.new.node.log
        self.published = 0
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        ours, theirs = socket.socketpair()
        self.predecessor = OtherEnd(theirs)
        self.successor = Successor(self.new.services, ours, lambda: _Listener(self.heard))

    async def begin(self, *here: str) -> None:
        """Tell all that the successor must know to give ids, with others there than those of `old`."""
        log = self.old.node.log
        entries = log.history.entries()
        for some in (entries[:1], entries[1:]):
            self.remember(some)
        there = [*self.old.node.manager.clients, *here]
        self.predecessor.say("begin", position=log.position, floor=log.history.floor, here=there)
        async with asyncio.timeout(DEADLINE):
            await self.successor.begun.wait()

    def remember(self, entries: Sequence[Entry]) -> None:
        """Tell what was said before."""
        rows = [[*entry.id, entry.to] for entry in entries]
        self.predecessor.say("history", [entry.batch.wire for entry in entries], entries=rows)

    async def detach(self, *names: str) -> list[DetachedTransport]:
        """Detach clients of `old`."""
        wires: list[Any] = [self.old.node.manager.clients[name] for name in names]
        self.old.node.manager.flush()
        detached: list[DetachedTransport] = [wire.detach() for wire in wires]
        for transport in detached:
            await transport.ended
        return detached

    def send(self, detached: Sequence[DetachedTransport], replaced: Sequence[str] = ()) -> None:
        """Send on their way who is detached; of some ids a newer connection is there already."""
        rows, blobs = encode_snapshots([transport.snapshot for transport in detached])
        fds = [transport.fd for transport in detached]
        self.predecessor.say("move", blobs, fds, rows=rows, at=self.old.now, replaced=list(replaced))

    async def move(self, *names: str) -> dict[str, Any]:
        """Clients of `old` depart and arrive; what the predecessor is told of it."""
        self.send(await self.detach(*names))
        return (await self.predecessor.hear("moved")).fields

    def publish(self, data: object, to: list[str] | None = None, sender: str = "server") -> None:
        """Something is published at the predecessor."""
        self.published += 1
        key = [WRITER, self.published]
        self.predecessor.say("publish", [messages.encode({"data": data})], key=key, sender=sender, to=to)

    async def message(self) -> tuple[Any, int, int | None]:
        """What the predecessor is told next: the data of a message, for how many it is, and which of
        its own, if it is one."""
        packet = await self.predecessor.hear("message")
        (payload,) = Batch.read(packet.blobs[0]).payloads
        frame = frames.read(payload)
        key = packet.fields["key"]
        assert key is None or key[0] == WRITER
        assert packet.fields["entry"] == [*map(int, frame["id"].split("-")), frame.get("to")]
        return frame["data"], packet.fields["recipients"], key and key[1]

    def dispose(self) -> None:
        for connection in list(self.new.node.manager.active_connections.values()):
            connection.abort("the test is over")
        self.new.node.manager.abort_closing()
        self.predecessor.dispose()
        self.old.dispose()
        self.new.dispose()


MakeTakeover = Callable[..., Takeover]


@asynccontextmanager
async def takeovers() -> AsyncIterator[MakeTakeover]:
    """Make such pairs, of which nothing is left at the end."""
    made: list[Takeover] = []

    def make(**options: Any) -> Takeover:
        made.append(Takeover(**options))
        return made[-1]

    yield make
    for pair in made:
        pair.dispose()
    for _ in range(5):  # the loop closes sockets a turn later
        await asyncio.sleep(0)


class _Listener(asyncio.Protocol):
    """Takes what is said on such a connection, once, and closes it."""

    def __init__(self, heard: "asyncio.Queue[bytes]") -> None:
        self._heard = heard
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard.put_nowait(data)
        self._transport.close()
