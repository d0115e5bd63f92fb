"""What commands do, and what is answered."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub.test_intake import Publishing
from tests.support.connections import RecordedConnection
from tests.support.frames import Frame, read
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from tests.support.wires import MakeServer, Server, client, frames, servers, turn
from wsctl.codes import ErrorCode
from wsctl.frame import TEXT
from wsctl.hub.bucket import PATIENCE
from wsctl.log.home import Draft, Home, Refusal
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.credentials.verifier import Denied, Granted
from wsctl.server.websocket.command_handler import MAX_REPLAYS
from wsctl.server.websocket.commands import SHAPES, read_command
from wsctl.server.websocket.hooks import Client, Hooks, Incoming, Reject
from wsctl.settings import Rate

pytestmark = pytest.mark.anyio


class Speaker:
    """A client that sends commands."""

    def __init__(self, server: Server, name: str = "bob", **options: Any) -> None:
        self.server = server
        self.wire, self.transport = server.join(name, commands=True, **{"buffer": 1 << 20} | options)
        self._read = 1

    def say(self, **command: Any) -> None:
        self.say_text(json.dumps(command))

    def say_text(self, text: str) -> None:
        self.wire.data_received(client(TEXT, text.encode()))

    async def heard(self) -> list[Frame]:
        """What has come since the last time, but the welcome."""
        await turn()
        return self.heard_now()

    def heard_now(self) -> list[Frame]:
        found = [f for f in frames(self.transport.drain())[0] if f.opcode == TEXT]
        new, self._read = found[self._read :], len(found)
        return [read(bytes(frame.data)) for frame in new]

    async def ask(self, **command: Any) -> list[Frame]:
        self.say(**command)
        return await self.heard()


def brief(found: list[Frame]) -> list[Any]:
    """The answers among frames by their ref, and the data of messages."""
    return [f["data"] if f["type"] == "message" else (f["type"], f.get("ref"), f.get("code")) for f in found]


# publish


async def test_a_message_is_answered_with_its_id_and_reaches_the_subscribers_of_its_topic(
    make_server: MakeServer,
) -> None:
    server = make_server()
    bob, eve = Speaker(server), Speaker(server, "eve", topics=["a.*"])
    (ok,) = await bob.ask(type="publish", ref=7, data={"n": 1}, topic="a.b")
    (message,) = await eve.heard()
    assert ok == {"type": "ok", "ref": 7, "id": message["id"]}
    assert (message["from"], message["topic"], message["data"]) == ("bob", "a.b", {"n": 1})
    found = await bob.ask(type="publish", data="all")
    assert brief(found) == ["all", ("ok", None, None)]
    assert brief(await eve.heard()) == ["all"]
    assert server.node.intake.received == 2
    assert server.node.intake.commands == {"publish": 2}


async def test_a_plain_client_is_not_understood_as_one_that_speaks_commands(make_server: MakeServer) -> None:
    server = make_server()
    bob, eve = Speaker(server), Speaker(server, "eve")
    eve.wire.commands = False
    eve.say(type="publish", data=1)
    assert brief(await bob.heard()) == ['{"type": "publish", "data": 1}']


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("hello", "bad_command", None),
        ('{"type":"dance","ref":"r"}', "unknown_command", None),
        ('{"type":"publish","ref":"r","data":1,"topic":"a..b"}', "bad_topic", None),
        ('{"type":"publish","ref":"r","data":[1e999]}', "bad_command", "data has a number that is too large"),
        (
            '{"type":"publish","ref":"r","data":1,"to":["eve"]}',
            "direct_not_allowed",
            "you may not send messages to single clients: --client-direct allows it, or a token",
        ),
        ('{"type":"renew","ref":"r","token":"x"}', "renewal_refused", None),
    ],
)
async def test_what_cannot_be_done_is_one_error_with_its_ref_and_closes_nothing(
    make_server: MakeServer, command: str, code: str, message: str | None
) -> None:
    server = make_server()
    bob = Speaker(server)
    bob.say_text(command)
    (error,) = await bob.heard()
    assert (error["type"], error["code"]) == ("error", code)
    assert error.get("ref") == (None if command == "hello" else "r")
    assert message in (None, error["message"])
    assert bob.wire.end_reason is None
    assert server.node.intake.refused == {code: 1}
    assert server.node.log.published == 0


async def test_a_direct_message_reaches_its_addressees_where_that_is_allowed(make_server: MakeServer) -> None:
    server = make_server(client_direct=True)
    bob, eve, dan = Speaker(server), Speaker(server, "eve"), Speaker(server, "dan")
    assert brief(await bob.ask(type="publish", data=1, to=["eve"])) == [("ok", None, None)]
    assert (brief(await eve.heard()), brief(await dan.heard())) == ([1], [])


async def test_data_may_be_as_large_as_a_message_however_they_are_written(make_server: MakeServer) -> None:
    server = make_server(max_message_size=1000)
    bob = Speaker(server)
    bob.say_text('{"type":"publish","ref":1,"data":[' + ",".join(["1e15"] * 100) + "]}")
    bob.say_text('{"type":"publish","ref":2,"data":[' + ",".join(["1e15"] * 50) + "]}")
    assert brief(await bob.heard()) == [
        ("error", 1, "bad_command"),
        [1e15] * 50,
        ("ok", 2, None),
    ]


async def test_a_key_that_a_client_has_used_publishes_nothing_more_of_it(make_server: MakeServer) -> None:
    server = make_server()
    bob, eve = Speaker(server), Speaker(server, "eve")
    message, first = await bob.ask(type="publish", ref=1, data="once", key="k")
    again = await bob.ask(type="publish", ref=2, data="once", key="k")
    assert again == [{"type": "ok", "ref": 2, "id": first["id"], "repeated": True}]
    assert message["id"] == first["id"]
    assert brief(await eve.heard()) == ["once"]
    assert brief(await eve.ask(type="publish", ref=3, data="hers", key="k")) == ["hers", ("ok", 3, None)]
    assert not server.node.intake.awaiting


class Refusing(Home):
    """A home that refuses everything a little later."""

    def __init__(self, server: Server) -> None:
        self._log = server.node.log

    def publish(self, draft: Draft) -> None:
        why = Refusal(ErrorCode.UNCONFIRMED, "nobody knows")
        asyncio.get_running_loop().call_soon(self._log.refuse, draft.key, why)


async def test_what_the_home_of_the_log_refuses_is_told_with_the_ref(make_server: MakeServer) -> None:
    server = make_server()
    bob = Speaker(server)
    server.node.log.move_to(Refusing(server))
    assert brief(await bob.ask(type="publish", ref="r", data=1)) == [("error", "r", "unconfirmed")]


FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from([*SHAPES, "dance"])},
    optional={
        "ref": st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.none()),
        "data": st.none() | st.text(max_size=3) | st.lists(st.floats(), max_size=2),
        "topic": st.sampled_from(["a.b", "a.*", "c", ""]) | st.none(),
        "topics": st.lists(st.sampled_from(["a.b", "a.*", ">", "a..b"]), max_size=3),
        "since": st.sampled_from(["1-0", "x y"]),
        "events": st.booleans(),
        "to": st.lists(st.sampled_from(["bob", "server"]), max_size=2),
        "key": st.text(max_size=3),
        "token": st.text(max_size=3),
    },
)


@examples(150, deadline=None)
@given(texts=st.lists(FIELDS.map(json.dumps) | st.text(max_size=20), max_size=8), direct=st.booleans())
def test_each_text_is_answered_once_with_its_ref_whatever_it_is(texts: list[str], direct: bool) -> None:
    async def run() -> None:
        with servers() as make:
            bob = Speaker(make(client_direct=direct, max_subscriptions=3))
            for text in texts:
                bob.say_text(text.encode(errors="replace").decode())
                answers = [f for f in await bob.heard() if f["type"] in ("ok", "error")]
                assert len(answers) == 1
                assert answers[0].get("ref") == read_command(text).ref
            assert bob.wire.end_reason is None

    asyncio.run(run())


# Permissions


@pytest.mark.parametrize(
    ("options", "claimed", "topic", "code"),
    [
        ({"client_publish": ()}, None, "a", "publish_disabled"),
        ({"client_publish": ()}, Claimed(publish=("a",)), "a", None),
        ({"client_publish": ("a.*",)}, None, "a.b", None),
        ({"client_publish": ("a.*",)}, None, "b", "topic_not_allowed"),
        ({"client_publish": ("a.*",)}, None, None, "topic_not_allowed"),
        ({}, Claimed(publish=("a.*",)), "b", "topic_not_allowed"),
        ({}, Claimed(publish=("a.*",)), None, "topic_not_allowed"),
        ({}, Claimed(publish=(">",)), None, None),
        ({}, Claimed(subscribe=()), None, None),
    ],
)
async def test_a_client_publishes_where_it_may(
    make_server: MakeServer, options: dict[str, Any], claimed: Claimed | None, topic: str | None, code: str
) -> None:
    bob = Speaker(make_server(**options), claimed=claimed)
    answer, *_ = await bob.ask(type="publish", data=1, topic=topic)
    assert answer.get("code") == code


@pytest.mark.parametrize(
    ("options", "claimed", "code"),
    [
        ({}, None, None),
        ({"client_publish": ()}, None, "publish_disabled"),
        ({"client_publish": ()}, Claimed(publish=(">",)), None),
        ({"client_publish": ("a.*",)}, None, "topic_not_allowed"),
        ({}, Claimed(publish=("a.*",)), "topic_not_allowed"),
    ],
)
async def test_a_plain_client_needs_permission_for_messages_without_a_topic(
    make_server: MakeServer, options: dict[str, Any], claimed: Claimed | None, code: str | None
) -> None:
    bob = Speaker(make_server(**options), claimed=claimed)
    bob.wire.commands = False
    bob.say_text("hello")
    (frame,) = await bob.heard()
    assert frame.get("code") == code


async def test_a_client_subscribes_to_what_it_may_to_all_or_to_nothing(make_server: MakeServer) -> None:
    server = make_server(client_subscribe=("a.>",))
    bob = Speaker(server)
    assert brief(await bob.ask(type="subscribe", topics=["a.b", "a.>"])) == [("ok", None, None)]
    (error,) = await bob.ask(type="subscribe", topics=["a.c", "b"])
    assert (error["code"], error["message"]) == (
        "topic_not_allowed",
        "you may not subscribe to b: --client-subscribe allows it, or a token",
    )
    assert set(bob.wire.subscriptions) == {"a.b", "a.>"}
    (error,) = await bob.ask(type="presence", topic="b")
    assert error["code"] == "topic_not_allowed"


async def test_who_has_gone_leaves_no_permissions_behind(make_server: MakeServer) -> None:
    server = make_server()
    bob = Speaker(server, claimed=Claimed(direct=True))
    assert len(server.node.permissions) == 1
    bob.wire.eof_received()
    assert len(server.node.permissions) == 0


# subscribe, unsubscribe, presence


async def test_live_messages_begin_behind_the_id_of_the_answer(make_server: MakeServer) -> None:
    server = make_server()
    bob = Speaker(server)
    server.publish("before", topic="a")
    bob.say(type="subscribe", ref=1, topics=["a", "b.*"])
    newest = server.node.log.newest
    server.publish("behind", topic="a")
    server.publish("other", topic="c")
    found = await bob.heard()
    assert brief(found) == [("ok", 1, None), "behind"]
    assert found[0] == {"type": "ok", "ref": 1, "id": newest}
    assert brief(await bob.ask(type="unsubscribe", ref=2, topics=["a", "never"])) == [("ok", 2, None)]
    server.publish("again", topic="a")
    assert await bob.heard() == []
    assert list(bob.wire.subscriptions) == ["b.*"]


async def test_what_was_missed_of_what_is_newly_subscribed_stands_between_the_answer_and_live_messages(
    make_server: MakeServer,
) -> None:
    server = make_server()
    since = server.node.log.newest
    bob = Speaker(server, topics=["a.b"])
    for n, topic in enumerate(["a.b", "a.c", None, "d", "a.c"]):
        server.publish(n, topic=topic)
    assert brief(await bob.heard()) == [0, 2]
    bob.say(type="subscribe", ref=1, topics=["a.*"], since=since)
    server.publish("live", topic="a.c")
    found = await bob.heard()
    assert brief(found) == [("ok", 1, None), 1, 4, "live"]
    assert found[0]["recovered"] is True
    assert found[0]["id"] == found[2]["id"]


async def test_what_is_lost_is_named(make_server: MakeServer) -> None:
    server = make_server()
    bob = Speaker(server)
    (ok,) = await bob.ask(type="subscribe", topics=["a", "b.*"], since="7-0")
    assert (ok["recovered"], ok["lost"]) == (False, ["a", "b.*"])
    assert set(bob.wire.subscriptions) == {"a", "b.*"}


async def test_no_client_has_more_subscriptions_than_it_may(make_server: MakeServer) -> None:
    server = make_server(max_subscriptions=2)
    bob = Speaker(server, topics=["a"])
    (error,) = await bob.ask(type="subscribe", ref=1, topics=["b", "c"])
    assert (error["ref"], error["code"]) == (1, "too_many_subscriptions")
    assert list(bob.wire.subscriptions) == ["a"]
    assert brief(await bob.ask(type="subscribe", topics=["b"])) == [("ok", None, None)]
    assert brief(await bob.ask(type="subscribe", topics=["a", "b"], events=True)) == [("ok", None, None)]
    assert brief(await bob.ask(type="subscribe", topics=["c"])) == [("error", None, "too_many_subscriptions")]


async def test_subscribing_again_changes_only_what_is_told_of_others(make_server: MakeServer) -> None:
    bob = Speaker(make_server())
    told = []
    for fields in ({"events": True}, {}, {"events": False}):
        await bob.ask(type="subscribe", topics=["a"], **fields)
        told.append(bob.wire.subscriptions["a"])
    assert told == [True, True, False]


async def test_presence_counts_the_clients_of_a_topic_by_whatever_pattern(make_server: MakeServer) -> None:
    server = make_server(connections_per_id=2)
    bob = Speaker(server, topics=["a.*"])
    Speaker(server, "eve", topics=["a.b", ">"])
    Speaker(server, "eve", topics=["a.b"])
    Speaker(server, "dan", topics=["c"])
    (ok,) = await bob.ask(type="presence", ref=1, topic="a.b")
    clients = [{"client_id": "bob", "connections": 1}, {"client_id": "eve", "connections": 2}]
    assert ok == {"type": "ok", "ref": 1, "count": 2, "clients": clients}


async def test_too_many_replays_at_a_time_are_refused(make_server: MakeServer) -> None:
    server = make_server()
    since = server.node.log.newest
    for n in range(800):
        server.publish("." * 1000, topic=f"t{n % 8}")
    await turn()
    bob = Speaker(server, buffer=4096)
    for n in range(MAX_REPLAYS + 1):
        bob.say(type="subscribe", ref=n, topics=[f"t{n}"], since=since)
    answers = [each for each in brief(await bob.heard()) if isinstance(each, tuple)]
    assert answers == [*(("ok", n, None) for n in range(MAX_REPLAYS)), ("error", MAX_REPLAYS, "rate_limited")]
    assert brief(await bob.ask(type="subscribe", topics=["t7"], since=since))[0] == ("ok", None, None)


# The rate


async def test_each_command_takes_a_token_and_each_that_is_refused_is_told_so(
    make_server: MakeServer,
) -> None:
    server = make_server(rate=Rate(1, 3))
    bob = Speaker(server)
    for n in range(3):
        bob.say(type="presence", ref=n, topic="a")
    bob.say_text("nonsense")
    bob.say(type="publish", ref="r", data=1)
    codes = [(f.get("ref"), f.get("code")) for f in await bob.heard()]
    limited = [(None, "rate_limited"), ("r", "rate_limited")]
    assert codes == [(0, None), (1, None), (2, None), *limited]
    assert server.node.log.published == 0


async def test_who_ignores_the_rate_is_closed_with_1008(make_server: MakeServer) -> None:
    bob = Speaker(make_server(rate=Rate(1, 2)))
    for n in range(2 + 2 * PATIENCE):
        bob.say(type="presence", ref=n, topic="a")
    assert bob.wire.end_reason is None
    bob.say(type="presence", ref="last", topic="a")
    assert bob.wire.code == 1008
    assert "last" not in [f.get("ref") for f in await bob.heard()]


# renew


class Tokens:
    """A verifier of tokens that are what they grant."""

    keys = None

    def __init__(self, **granted: Granted) -> None:
        self._granted = granted

    def verify(self, token: str) -> Granted | Denied:
        return self._granted.get(token) or Denied("this is none")

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        return self.verify(token)


def with_tokens(server: Server, **granted: Granted) -> Server:
    server.node.renewal._verifier = Tokens(**granted)
    return server


@pytest.mark.parametrize("commands", [True, False])
async def test_new_credentials_that_permit_less_end_subscriptions(
    make_server: MakeServer, commands: bool
) -> None:
    later = Granted(2e10, permissions=Claimed(subscribe=("a.*",)))
    server = with_tokens(make_server(), less=later, more=Granted(2e10))
    bob = Speaker(server, topics=["a.b", "b.>", "c"])
    bob.wire.commands = commands
    answer, error = await bob.ask(type="renew", token="less")
    assert answer["type"] == ("ok" if commands else "renewed")
    assert answer["expires_in_s"] > 1e9
    assert (error["code"], error["topics"]) == ("topic_not_allowed", ["b.>", "c"])
    assert list(bob.wire.subscriptions) == ["a.b"]
    server.publish(1, topic="c")
    assert await bob.heard() == []
    assert len(await bob.ask(type="renew", token="more")) == 1
    assert len(server.node.permissions) == 0


async def test_credentials_that_are_refused_change_nothing(make_server: MakeServer) -> None:
    server = with_tokens(make_server())
    bob = Speaker(server, topics=["a"], claimed=Claimed(subscribe=("a",)))
    (error,) = await bob.ask(type="renew", ref=1, token="wrong")
    assert (error["ref"], error["code"], error["message"]) == (1, "renewal_refused", "this is none")
    assert len(server.node.permissions) == 1


# Hooks


async def test_a_hook_sees_the_topic_and_what_it_returns_goes_there(make_server: MakeServer) -> None:
    seen: list[Incoming] = []

    def said(who: Client, message: Incoming) -> object:
        seen.append(message)
        return {"by": who.id, "topics": list(who.topics)} if message.data else None

    bob = Speaker(make_server(hooks=Hooks(on_message=said)), topics=["a"])
    found = await bob.ask(type="publish", ref=1, data=[1], topic="a", key="k")
    assert seen == [Incoming([1], "a", "k")]
    assert brief(found) == [{"by": "bob", "topics": ["a"]}, ("ok", 1, None)]
    assert await bob.ask(type="publish", ref=2, data=0) == [{"type": "ok", "ref": 2}]


async def test_a_hook_rejects_a_message_or_a_topic_with_the_ref_of_the_command(
    make_server: MakeServer,
) -> None:
    def refuse(*_: object) -> None:
        raise Reject("not_yours", "leave it")

    def fail(*_: object) -> None:
        raise RuntimeError("hook")

    for hook, code in ((refuse, "not_yours"), (fail, "hook_failed")):
        bob = Speaker(make_server(hooks=Hooks(on_message=hook, on_subscribe=hook)))
        assert brief(await bob.ask(type="publish", ref=1, data=1)) == [("error", 1, code)]
        assert brief(await bob.ask(type="subscribe", ref=2, topics=["a"])) == [("error", 2, code)]
        assert not bob.wire.subscriptions
    counted = bob.server.node.intake.refused
    assert counted == {"hook_failed": 2}


async def test_a_hook_is_asked_of_new_topics_alone_and_behind_the_permissions(
    make_server: MakeServer,
) -> None:
    asked: list[str] = []
    server = make_server(hooks=Hooks(on_subscribe=lambda _, topic: asked.append(topic)))
    bob = Speaker(server, topics=["a"], claimed=Claimed(subscribe=("a.>", "a", "b")))
    await bob.ask(type="subscribe", topics=["a", "b", "a.c"])
    await bob.ask(type="subscribe", topics=["d"])
    assert asked == ["b", "a.c"]


async def test_commands_keep_their_order_behind_a_hook_that_takes_its_time(make_server: MakeServer) -> None:
    gate = asyncio.Event()

    async def wait(*_: object) -> object:
        await gate.wait()
        return "published"

    server = make_server(hooks=Hooks(on_subscribe=wait, on_message=wait))
    bob = Speaker(server)
    bob.say(type="subscribe", ref=1, topics=["a"])
    bob.say(type="unsubscribe", ref=2, topics=["a"])
    bob.say(type="publish", ref=3, data=1)
    bob.say(type="presence", ref=4, topic="a")
    assert await bob.heard() == []
    assert not bob.wire.can_move
    gate.set()
    answers: list[Frame] = []
    async with asyncio.timeout(DEADLINE):
        while len(answers) < 5:
            answers += await bob.heard()
    assert [f["ref"] for f in answers if "ref" in f] == [1, 2, 3, 4]
    assert not bob.wire.subscriptions


async def test_a_client_that_left_meanwhile_is_subscribed_to_nothing(make_server: MakeServer) -> None:
    gate = asyncio.Event()

    async def wait(*_: object) -> None:
        await gate.wait()

    server = make_server(hooks=Hooks(on_subscribe=wait))
    bob = Speaker(server)
    bob.say(type="subscribe", topics=["a"])
    bob.wire.eof_received()
    gate.set()
    await turn()
    await turn()
    assert len(server.node.manager.subscriptions) == 0


def test_what_is_counted_of_errors_does_not_grow_with_an_application_s_codes() -> None:
    p = Publishing()
    for n in range(5):
        p.intake.tell(RecordedConnection("eve"), f"code_{n}", "x")
    assert p.intake.refused == {"application": 5}
