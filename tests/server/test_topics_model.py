"""Clients of a whole server against a model of it: whatever they subscribe to, publish, resume after and
move through, each sees what the model says, in this order, and nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from websockets.frames import Opcode

from tests.support import frames
from tests.support.handover import hand_over
from tests.support.log_model import Addressees, LogModel, Recovered, Said
from tests.support.sizes import examples
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, Server, client, closing, turn
from tests.support.wires import frames as frames_of
from wsctl import messages
from wsctl.frame import TEXT, Batch
from wsctl.log.history import MessageId
from wsctl.log.message_log import read_id, written
from wsctl.server.client_acceptor import ClientAcceptor
from wsctl.server.http.proxy import TrustedProxies
from wsctl.server.websocket.command_handler import MAX_REPLAYS
from wsctl.server.websocket.opener import ClientRequest

NAMES = ("bob", "eve")
TOPICS = (None, None, "a", "a.b", "a.c", "b.c", "b.c.d")
PATTERNS = ("a", "b", "a.b", "a.*", "*.c", "b.>", ">")
NEVER_GIVEN = ("1-1", "999999999999-0", "x")
LIMIT = 5
"""Subscriptions of a connection at most, few enough that some ask for more."""

Expected = tuple[Any, ...]


class Stay:
    """A connection, and what its client must see: frames by what matters of them.

    Attributes:
        answers: ids of what it published, by the `ref` of the command.
        certain: how much of `expected` it must have seen, if it is cut off now.
    """

    def __init__(
        self, name: str, transport: HandTransport, patterns: Collection[str], commands: bool
    ) -> None:
        self.name = name
        self.transport = transport
        self.patterns = list(patterns)
        self.commands = commands
        self.expected: list[Expected] = []
        self.answers: dict[int, Expected] = {}
        self.certain = 0
        self.active = True

    def hears_of(self, message: Said) -> bool:
        return self.active and message.is_of(self.patterns) and message.is_for(self.name)

    def see(self, message: Said) -> None:
        self.expected.append(("message", written(message.id), message.data, message.topic))

    def check(self, *, cut: bool = False) -> None:
        """It has seen what it was to see; all of it, unless it was `cut` off before the last flush."""
        self.transport.room = None
        _, _, rest = self.transport.drain().partition(b"\r\n\r\n")
        found, unfinished = frames_of(ANSWER + rest)
        assert unfinished == b""
        seen, answers = [], {}
        for frame in found:
            if frame.opcode is Opcode.CLOSE:
                seen.append(("close", int.from_bytes(frame.data[:2])))
                continue
            told = frames.read(bytes(frame.data))
            if told.get("ref") in self.answers:
                answers[told["ref"]] = _what_matters(told)
            else:
                seen.append(_what_matters(told))
        if cut:
            assert len(seen) >= self.certain
            self.expected = self.expected[: len(seen)]
        assert seen == self.expected
        assert answers == self.answers

    def newest(self) -> str:
        """The id after which a client resumes that has seen all this."""
        return next(told[1] for told in reversed(self.expected) if told[0] in ("welcome", "message", "ok"))


def _what_matters(frame: dict[str, Any]) -> Expected:
    match frame["type"]:
        case "message":
            return "message", frame["id"], frame["data"], frame.get("topic")
        case "welcome":
            return "welcome", frame["id"], frame.get("recovered"), tuple(frame.get("lost", ()))
        case "ok":
            lost = tuple(frame.get("lost", ()))
            return "ok", frame.get("id"), frame["ref"], frame.get("recovered"), lost
    return frame["type"], frame.get("ref"), frame["code"]


def on_loop(step: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a step of the machine on its event loop."""

    @wraps(step)
    def run(machine: "ServerAndModel", **given: Any) -> None:
        machine.loop.run_until_complete(step(machine, **given))

    return run


class _Draft:
    """A message that is published during a handover, and its receipt."""

    def __init__(self, n: int, by_successor: bool, topic: str | None, to: Addressees) -> None:
        self.data = [n]
        self.by_successor = by_successor
        self.topic = topic
        self.to = to
        self.is_held = False
        self.receipt: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    def answered(self, message_id: str, recipients: int) -> None:
        self.receipt.set_result((message_id, recipients))

    @property
    def id(self) -> MessageId:
        at = read_id(self.receipt.result()[0])
        assert at
        return at


SETS = st.sets(st.sampled_from(PATTERNS), max_size=3).map(sorted)
SINCE = st.none() | st.integers(0, 100) | st.just("newest") | st.sampled_from(NEVER_GIVEN)
ADDRESSEES = st.sampled_from([None, None, None, ("bob",), ("eve", "bob"), ("ann",)])
WHO = st.integers(0, 100)
SIZES = st.sampled_from([0, 0, 30, 200])


class ServerAndModel(RuleBasedStateMachine):
    """A server and its model, which are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.servers: list[Server] = []
        self.stays: list[Stay] = []
        self.ref = 0
        self.now = 1000.0

    @initialize(
        most=st.sampled_from([0, 2, 100]),
        most_bytes=st.sampled_from([0, 1000, 1 << 20]),
        ttl=st.sampled_from([0, 0, 10]),
        per_id=st.sampled_from([0, 1, 2]),
    )
    @on_loop
    async def begin(self, most: int, most_bytes: int, ttl: int, per_id: int) -> None:
        self.options = {
            "history": most,
            "history_bytes": most_bytes,
            "history_ttl": ttl,
            "connections_per_id": per_id,
            "max_subscriptions": LIMIT,
            "client_direct": True,
            "max_queue": 0,
            "ping_interval": 0,
        }
        self.per_id = per_id
        self._start()
        self.model = LogModel(self.server.node.log.position, most, most_bytes, ttl)

    @rule(topic=st.sampled_from(TOPICS), to=ADDRESSEES, size=SIZES)
    @on_loop
    async def publish(self, topic: str | None, to: Addressees, size: int) -> None:
        data, receipts = [len(self.model.said), "x" * size], []
        self.server.node.log.append("server", data, to, lambda *told: receipts.append(told), topic=topic)
        message = self._said("server", data, topic, to)
        heard = sum(stay.hears_of(message) for stay in self.stays)
        assert receipts == [(written(message.id), heard)]

    @rule(name=st.sampled_from(NAMES), patterns=SETS, since=SINCE, commands=st.booleans())
    @on_loop
    async def join(self, name: str, patterns: list[str], since: int | str | None, commands: bool) -> None:
        last = self._id(since, [stay for stay in self.stays if stay.name == name])
        query = [("since", last)] * (last is not None) + [("topic", pattern) for pattern in patterns]
        transport = self._connect(name, urlencode(query), commands)
        here = [stay for stay in self._active if stay.name == name]
        if self.per_id and len(here) >= self.per_id:
            here[0].expected.append(("close", 4501))
            here[0].active = False
        stay = Stay(name, transport, patterns, commands)
        newest = written(self.model.newest)
        found = None if last is None else self.model.recover(last, name, patterns)
        stay.expected.append(
            ("welcome", newest, found.recovered if found else None, found.lost if found else ())
        )
        self._replay(stay, found)
        self.stays.append(stay)
        self._flushed()

    @precondition(lambda self: self._active)
    @rule(who=WHO, topic=st.sampled_from(TOPICS), to=ADDRESSEES)
    @on_loop
    async def say(self, who: int, topic: str | None, to: Addressees) -> None:
        """A client publishes: a plain one to everybody."""
        stay = self._one(who)
        if not stay.commands:
            text = f"text {len(self.model.said)}"
            self._send(stay, text)
            self._said(stay.name, text, None, None)
            return
        data = [len(self.model.said)]
        ref = self._command(stay, "publish", data=data, topic=topic, to=to)
        message = self._said(stay.name, data, topic, to)
        stay.answers[ref] = ("ok", written(message.id), ref, None, ())

    @precondition(lambda self: self._commanding)
    @rule(who=WHO, patterns=SETS.filter(bool), since=SINCE)
    @on_loop
    async def subscribe(self, who: int, patterns: list[str], since: int | str | None) -> None:
        stay = self._one(who, self._commanding)
        if stay.transport.protocol.replays >= MAX_REPLAYS:
            since = None  # it would be refused
        last = self._id(since, [stay])
        before = stay.patterns
        ref = self._command(stay, "subscribe", topics=patterns, since=last)
        if len({*before, *patterns}) > LIMIT:
            stay.expected.append(("error", ref, "too_many_subscriptions"))
            return
        stay.patterns = sorted({*before, *patterns})
        found = None if last is None else self.model.recover(last, stay.name, patterns, before)
        told = (found.recovered, found.lost) if found else (None, ())
        stay.expected.append(("ok", written(self.model.newest), ref, *told))
        self._replay(stay, found)
        self._flushed()

    @precondition(lambda self: self._commanding)
    @rule(who=WHO, patterns=SETS.filter(bool))
    @on_loop
    async def unsubscribe(self, who: int, patterns: list[str]) -> None:
        stay = self._one(who, self._commanding)
        ref = self._command(stay, "unsubscribe", topics=patterns)
        stay.patterns = [pattern for pattern in stay.patterns if pattern not in patterns]
        stay.expected.append(("ok", None, ref, None, ()))
        self._flushed()

    @precondition(lambda self: self._active)
    @rule(who=WHO)
    @on_loop
    async def leave(self, who: int) -> None:
        stay = self._one(who)
        stay.check(cut=True)
        stay.expected.append(("close", 1000))
        stay.active = False
        self._receive(stay, closing())
        await turn()

    @precondition(lambda self: self._active)
    @rule(who=WHO, room=st.sampled_from([0, 10, 300]))
    @on_loop
    async def stall(self, who: int, room: int) -> None:
        """The client's socket takes no more than so many bytes from here on."""
        self._one(who).transport.room = room

    @precondition(lambda self: self._active)
    @rule(who=WHO)
    @on_loop
    async def read_all(self, who: int) -> None:
        transport = self._one(who).transport
        transport.room = None
        transport.drain()

    @rule()
    @on_loop
    async def iterate(self) -> None:
        await turn()
        self._flushed()

    @rule(seconds=st.sampled_from([0.001, 1.0, 6.0]))
    @on_loop
    async def later(self, seconds: float) -> None:
        self.now += seconds
        self.server.node.log.expire()
        self.model.trim(self.now)

    @rule(said=st.lists(st.tuples(st.booleans(), st.sampled_from(TOPICS), ADDRESSEES), max_size=6))
    @on_loop
    async def upgrade(self, said: list[tuple[bool, str | None, Addressees]]) -> None:
        """Every connection goes on in another process, while both are told to publish."""
        old, transports = self.server, {stay: stay.transport for stay in self._active}
        self._start()
        new, drafts = self.server, [_Draft(len(self.model.said) + n, *each) for n, each in enumerate(said)]

        async def publish(has_begun: Callable[[], bool]) -> None:
            for draft in drafts:
                here = new if draft.by_successor and has_begun() else old
                here.node.log.append("server", draft.data, draft.to, draft.answered, topic=draft.topic)
                draft.is_held = here is new or not draft.receipt.done()
                await turn()
            for draft in drafts:
                await draft.receipt

        await hand_over(old, new, publish)
        for stay, transport in transports.items():
            (stay.transport,) = (each for each in new.transports if each.peer is transport.peer)
        for draft in sorted(drafts, key=lambda draft: draft.id):
            # What the successor keeps is bounded when all have arrived.
            self.model.held = draft.is_held
            message = self._note(draft.id, "server", draft.data, draft.topic, draft.to)
            assert draft.receipt.result() == (
                written(message.id),
                sum(s.hears_of(message) for s in self.stays),
            )
        self.model.held = False
        self.model.trim(self.now)
        self._flushed()

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self._check())
        finally:
            for server in self.servers:
                server.dispose()
            self.loop.close()

    async def _check(self) -> None:
        await turn()
        for stay in self.stays:
            stay.check()

    # The parts of these

    @property
    def server(self) -> Server:
        return self.servers[-1]

    @property
    def _active(self) -> list[Stay]:
        return [stay for stay in self.stays if stay.active]

    @property
    def _commanding(self) -> list[Stay]:
        return [stay for stay in self._active if stay.commands]

    def _one(self, who: int, of: list[Stay] | None = None) -> Stay:
        found = self._active if of is None else of
        return found[who % len(found)]

    def _start(self) -> None:
        server = Server(wall=lambda: self.now, **self.options)
        server.node.started()
        self.servers.append(server)

    def _connect(self, name: str, query: str, commands: bool) -> HandTransport:
        transport = HandTransport(buffer=1 << 16)
        self.server.transports.append(transport)
        headers = {
            "host": "127.0.0.1",
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        } | ({"sec-websocket-protocol": "wsctl.2"} if commands else {})
        acceptor = ClientAcceptor(self.server.node.acceptor_services, TrustedProxies(None), "")
        request = ClientRequest("GET", "1.1", f"/ws/{name}", query, headers)
        assert acceptor.accept(transport, request, b"") is None
        return transport

    def _id(self, since: int | str | None, stays: list[Stay]) -> str | None:
        """A message's id: the `since`th from the newest, or the newest that one of these has seen."""
        if isinstance(since, int):
            ids = self.model.ids
            return written(ids[-1 - since % len(ids)])
        if since == "newest":
            return stays[-1].newest() if stays else None
        return since

    def _command(self, stay: Stay, kind: str, **fields: Any) -> int:
        self.ref += 1
        present = {name: value for name, value in fields.items() if value is not None}
        self._send(stay, json.dumps({"type": kind, "ref": self.ref, **present}))
        return self.ref

    def _send(self, stay: Stay, text: str) -> None:
        self._receive(stay, client(TEXT, text.encode()))

    def _receive(self, stay: Stay, data: bytes) -> None:
        stay.transport.protocol.data_received(data)

    def _said(self, sender: str, data: Any, topic: str | None, to: Addressees) -> Said:
        """Note a message that was just published."""
        return self._note(self.server.node.log.position, sender, data, topic, to)

    def _note(self, at: MessageId, sender: str, data: Any, topic: str | None, to: Addressees) -> Said:
        frame = messages.Message(written(at), self.now, sender, data, to, topic=topic)
        size = len(Batch((messages.message(frame),)).wire)
        message = Said(at, data, topic, to, size)
        self.model.add(message, self.now)
        for stay in self.stays:
            if stay.hears_of(message):
                stay.see(message)
        return message

    def _replay(self, stay: Stay, found: Recovered | None) -> None:
        for message in found.messages if found else ():
            stay.see(message)

    def _flushed(self) -> None:
        """Everything up to now was sent."""
        for stay in self._active:
            stay.certain = len(stay.expected)


TestTheServer = ServerAndModel.TestCase
TestTheServer.settings = examples(60, stateful_step_count=40)
