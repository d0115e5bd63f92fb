"""The calls of hooks: one client's in order, each with a deadline, none at another's cost."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.datastructures import Headers, QueryParams

from tests.support.server import DEADLINE
from tests.support.services import Services
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, frames
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.hook_calls import MAX_WAITING, HookCalls, Identified
from wsctl.server.websocket.hooks import Client, Handshake, Hooks, Incoming, Refuse, Reject
from wsctl.server.websocket.wire import Wire

pytestmark = pytest.mark.anyio

REQUEST = Handshake("bob", Headers({}), QueryParams(""), {}, (), "192.0.2.1:5")


class Calling:
    """The hooks of a server with connections, and what these were sent."""

    def __init__(self, timeout: float = DEADLINE, **hooks: Callable[..., Any]) -> None:
        self.services = Services()
        connections = self.services.connections
        self.calls = HookCalls(
            Hooks(**hooks), connections.intake, connections.identities, connections.clock, timeout
        )
        connections.manager.retired.append(self.calls.disconnected)
        self._transports: dict[Wire, HandTransport] = {}

    def join(self, name: str) -> Wire:
        transport = HandTransport(buffer=1 << 20)
        wire = Wire(self.services.connections, transport, name, "192.0.2.1:5", False)
        wire.begin(ANSWER, None, b"")
        self._transports[wire] = transport
        return wire

    def sent(self, wire: Wire) -> list[Any]:
        """The data of the messages, and the codes of the errors, that a connection was sent."""
        self.services.flush()
        found, _ = frames(self._transports[wire].drain())
        decoded = [json.loads(bytes(frame.data)) for frame in found]
        return [frame.get("data", frame.get("code")) for frame in decoded[1:]]

    def dispose(self) -> None:
        for transport in self._transports.values():
            transport.dispose()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_what_a_function_returns_is_published_at_once() -> None:
    calling = Calling(on_message=lambda client, message: {"said": message.data, "by": client.id})
    bob = calling.join("bob")
    assert calling.calls.message(bob, "hi")
    assert not calling.calls.is_busy(bob)
    assert calling.sent(bob) == [{"said": "hi", "by": "bob"}]
    calling.dispose()


async def test_what_a_coroutine_returns_is_published_in_the_order_of_the_messages() -> None:
    gates = {"first": asyncio.Event(), "second": asyncio.Event(), "other": asyncio.Event()}

    async def said(client: Client, message: Incoming) -> object:
        await gates[message.data].wait()
        return message.data

    calling = Calling(on_message=said)
    bob, eve = calling.join("bob"), calling.join("eve")
    calling.calls.message(bob, "first")
    calling.calls.message(bob, "second")
    calling.calls.message(eve, "other")
    for name in ("second", "other"):
        gates[name].set()
    await until(lambda: not calling.calls.is_busy(eve))
    assert calling.calls.is_busy(bob)
    gates["first"].set()
    await until(lambda: not calling.calls.is_busy(bob))
    assert calling.sent(bob) == ["other", "first", "second"]
    calling.dispose()


async def test_none_swallows_a_message() -> None:
    calling = Calling(on_message=lambda client, message: None)
    bob = calling.join("bob")
    calling.calls.message(bob, "hi")
    assert calling.sent(bob) == []
    calling.dispose()


async def test_a_rejected_message_is_answered_with_the_code_of_the_application() -> None:
    def said(client: Client, message: Incoming) -> object:
        raise Reject("too_rude", "mind your words")

    calling = Calling(on_message=said)
    bob = calling.join("bob")
    calling.calls.message(bob, "hi")
    assert calling.sent(bob) == ["too_rude"]
    calling.dispose()


async def test_a_hook_that_raises_is_logged_by_its_name_and_answered_with_one_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def said(client: Client, message: Incoming) -> object:
        if message.data == "bad":
            raise KeyError("price")
        return message.data

    calling = Calling(on_message=said)
    bob, eve = calling.join("bob"), calling.join("eve")
    for text in ("bad", "bad", "good"):
        calling.calls.message(bob, text)
    await until(lambda: not calling.calls.is_busy(bob))
    assert calling.sent(bob) == ["hook_failed", "hook_failed", "good"]
    assert calling.sent(eve) == ["good"]
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "said failed: KeyError: 'price'" in logged.getMessage()
    assert logged.exc_info
    calling.dispose()


async def test_data_that_are_not_json_count_as_a_failure() -> None:
    calling = Calling(on_message=lambda client, message: float("nan"))
    bob = calling.join("bob")
    calling.calls.message(bob, "hi")
    assert calling.sent(bob) == ["hook_failed"]
    calling.dispose()


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_hook_that_takes_too_long_counts_as_one_that_raised(
    stubborn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def said(client: Client, message: Incoming) -> object:
        if message.data == "quick":
            return "quick"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not stubborn:
                raise
        await ended.wait()
        return "late"

    calling = Calling(timeout=0.01, on_message=said)
    bob = calling.join("bob")
    calling.calls.message(bob, "slow")
    calling.calls.message(bob, "quick")
    await until(lambda: not calling.calls.is_busy(bob))
    assert calling.sent(bob) == ["hook_failed", "quick"]
    assert any("--hook-timeout" in record.getMessage() for record in caplog.records)
    ended.set()
    await asyncio.sleep(0)
    calling.dispose()


async def test_messages_beyond_those_that_may_wait_are_refused() -> None:
    gate = asyncio.Event()

    async def said(client: Client, message: Incoming) -> object:
        await gate.wait()
        return message.data

    calling = Calling(on_message=said)
    bob = calling.join("bob")
    for n in range(MAX_WAITING + 2):  # one is at work, and one is too many
        calling.calls.message(bob, str(n))
    gate.set()
    await until(lambda: not calling.calls.is_busy(bob))
    assert calling.sent(bob) == ["rate_limited", *(str(n) for n in range(MAX_WAITING + 1))]
    calling.dispose()


async def test_a_client_that_is_gone_is_told_of_after_what_it_sent() -> None:
    said, gate = [], asyncio.Event()

    async def on_message(client: Client, message: Incoming) -> object:
        await gate.wait()
        said.append(message.data)
        return None

    def on_disconnect(client: Client, code: int, reason: str) -> None:
        said.append((client.id, client.identity, code, reason))

    calling = Calling(on_message=on_message, on_disconnect=on_disconnect)
    bob = calling.join("bob")
    calling.services.connections.identities.set(bob, {"role": "admin"})
    calling.calls.message(bob, "last words")
    bob.connection_lost(None)
    gate.set()
    await until(lambda: len(said) == 2)
    assert said == ["last words", ("bob", {"role": "admin"}, 1006, "the connection was lost")]
    assert len(calling.services.connections.identities) == 0
    calling.dispose()


async def test_at_the_end_calls_under_way_have_their_time() -> None:
    said, gate = [], asyncio.Event()

    async def gone(client: Client, code: int, reason: str) -> None:
        await gate.wait()
        said.append(client.id)

    calling = Calling(on_disconnect=gone)
    calling.join("bob").connection_lost(None)
    end = asyncio.ensure_future(calling.calls.finish())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not end.done()
    gate.set()
    await end
    assert said == ["bob"]
    calling.dispose()


async def test_at_the_end_a_call_that_hangs_is_cancelled() -> None:
    async def gone(client: Client, code: int, reason: str) -> None:
        await asyncio.Event().wait()

    calling = Calling(timeout=0.01, on_disconnect=gone)
    calling.join("bob").connection_lost(None)
    async with asyncio.timeout(DEADLINE):
        await calling.calls.finish()
    calling.dispose()


# on_connect


async def verdict(hook: Callable[..., Any], limit: float = DEADLINE) -> Identified | HttpRefusal:
    found = Calling(timeout=limit, on_connect=hook).calls.connect(REQUEST)
    return found if isinstance(found, Identified | HttpRefusal) else await found


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, Identified("bob")),
        ("eve", Identified("eve")),
        (("eve", {"role": "admin"}), Identified("eve", {"role": "admin"})),
    ],
)
async def test_a_client_has_the_id_and_the_identity_that_are_returned(
    returned: object, expected: Identified
) -> None:
    async def later(request: Handshake) -> object:
        return returned

    assert await verdict(lambda request: returned) == expected
    assert await verdict(later) == expected


async def test_a_refusal_has_the_status_and_the_text_of_the_application() -> None:
    def who(request: Handshake) -> str:
        raise Refuse(402, "pay first")

    refused = await verdict(who)
    assert isinstance(refused, HttpRefusal)
    assert (refused.status, refused.code, refused.message) == (402, "payment_required", "pay first")


@pytest.mark.parametrize(
    "returned", [7, "server", "no id!", ("eve", object()), ("eve", float("inf")), (1, 2)]
)
async def test_what_is_no_identity_is_answered_with_500(
    returned: object, caplog: pytest.LogCaptureFixture
) -> None:
    refused = await verdict(lambda request: returned)
    assert isinstance(refused, HttpRefusal)
    assert (refused.status, refused.code) == (500, "hook_failed")
    assert any("<lambda> failed" in record.getMessage() for record in caplog.records)


async def test_a_hook_that_hangs_or_fails_is_answered_with_500() -> None:
    async def hangs(request: Handshake) -> None:
        await asyncio.Event().wait()

    async def gives_up(request: Handshake) -> None:
        raise asyncio.CancelledError

    def raises(request: Handshake) -> None:
        raise ZeroDivisionError

    for hook in (hangs, gives_up, raises):
        refused = await verdict(hook, limit=0.01)
        assert isinstance(refused, HttpRefusal)
        assert refused.status == 500


@pytest.mark.parametrize("status", [200, 399, 600])
def test_a_refusal_has_a_status_of_an_error(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        Refuse(status, "x")


@pytest.mark.parametrize("code", ["", "Upper", "a b", "x" * 65])
def test_a_rejection_has_a_code_that_programs_can_read(code: str) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        Reject(code, "x")


async def test_each_topic_of_a_handshake_is_asked_about_with_the_identity() -> None:
    asked: list[tuple[str, object, str]] = []
    calling = Calling(
        on_connect=lambda handshake: ("eve", {"n": 1}),
        on_subscribe=lambda client, topic: asked.append((client.id, client.identity, topic)),
    )
    assert calling.calls.connect(REQUEST, ("a", "b.>")) == Identified("eve", {"n": 1})
    assert asked == [("eve", {"n": 1}, "a"), ("eve", {"n": 1}, "b.>")]
    assert (calling.calls.decides(()), Calling(on_subscribe=print).calls.decides(())) == (True, False)


async def test_a_topic_that_a_hook_rejects_refuses_the_handshake() -> None:
    def refuse(client: Client, topic: str) -> None:
        if topic == "b":
            raise Reject("members_only", "join first")

    async def refuse_later(client: Client, topic: str) -> None:
        await asyncio.sleep(0)
        refuse(client, topic)

    async def connect_later(handshake: Handshake) -> str:
        await asyncio.sleep(0)
        return "bob"

    for subscribe in (refuse, refuse_later):
        for connect in (None, connect_later):
            calls = Calling(on_subscribe=subscribe, on_connect=connect).calls  # type: ignore[arg-type]
            for topics, status in ((("a", "b"), 403), (("a",), None)):
                found = calls.connect(REQUEST, topics)
                verdict = found if isinstance(found, Identified | HttpRefusal) else await found
                if status is None:
                    assert verdict == Identified("bob")
                else:
                    assert isinstance(verdict, HttpRefusal)
                    assert (verdict.status, verdict.code) == (403, "members_only")


async def test_a_hook_that_fails_on_a_topic_is_a_500() -> None:
    def fail(client: Client, topic: str) -> None:
        raise LookupError

    verdict = Calling(on_subscribe=fail).calls.connect(REQUEST, ("a",))
    assert isinstance(verdict, HttpRefusal)
    assert (verdict.status, verdict.code) == (500, "hook_failed")
