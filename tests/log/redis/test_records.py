"""What others have written into Redis and nobody can read: it is skipped, counted, and told once."""

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.redis.test_session import log_of, peers
from tests.support.peer import Peer
from tests.support.store import StoreProcess
from wsctl.log.redis.records import (
    MOST_DIGITS,
    MOST_KNOWN,
    Unreadable,
    read_account,
    read_client,
    read_json,
    read_message,
    read_presence,
)

pytestmark = pytest.mark.anyio

Words = Sequence[str | bytes | int]

DEEP = "[" * 100_000

BODY = '{"ts":1,"from":"x","data":"poison"}'

MOST = "18446744073709551615"

TOLD = "something in Redis cannot be read: it is skipped"

GOOD: dict[bytes, bytes] = {
    b"p": b"1-0",
    b"w": b"w",
    b"n": b"1",
    b"r": b"0",
    b"t": b"",
    b"m": BODY.encode(),
}

TOPICAL = b'{"ts":1,"from":"x","topic":"a","data":"poison"}'

ACCOUNT: dict[str, Any] = {
    "host": "h",
    "pid": 1,
    "url": None,
    "version": "1",
    "generation": 1,
    "phase": "serving",
    "connections": 3,
    "started": 1.5,
}


def entry(**fields: str | bytes) -> Callable[[Peer], Words]:
    """A message with these fields in place of good ones."""
    words = {name.decode(): value for name, value in GOOD.items()} | fields
    return lambda peer: ("XADD", log_of(peer), "*", *(word for pair in words.items() for word in pair))


def topical(**fields: str | bytes) -> Callable[[Peer], Words]:
    """A message with a topic."""
    words = {name.decode(): value for name, value in GOOD.items() if name != b"m"}
    words |= {"c": "a", "b": TOPICAL, **fields}
    return lambda peer: ("XADD", log_of(peer), "*", *(word for pair in words.items() for word in pair))


def at(key: str, command: str, *words: str | bytes | int) -> Callable[[Peer], Words]:
    """A command on one of the keys; `NODE` in its name is the node's."""
    return lambda peer: (
        command,
        f"{peer.session._keys.base}:{key.replace('NODE', peer.session.node)}",
        *words,
    )


def of_another_type(key: str) -> Callable[[Peer], Words]:
    return at(key, "SET", "what")


POISONS: dict[str, Callable[[Peer], Words]] = {
    "what it follows is no id": entry(p="garbage"),
    "it follows what comes later": entry(p="99999999999999-0"),
    "no text": entry(p=b"\xff"),
    "a deep body": entry(m=f'{{"ts":1,"from":"x","data":{DEEP}'),
    "a body that is no JSON": entry(m='{"ts":'),
    "a body that is no UTF-8": entry(m=b'{"ts":1,"from":"x","data":"\xff"}'),
    "a body with a type": entry(m='{"ts":1,"from":"x","data":1,"type":"shutdown"}'),
    "deep addressees": entry(t=DEEP),
    "addressees that are none": entry(t='{"bob": 1}'),
    "a number that is none": entry(n="9" * 5000),
    "a topic that is none": topical(c="no topic"),
    "a topic that is no text": topical(c=b"\xff"),
    "a body with another topic": topical(c="b"),
    "a body with a topic in a message without one": entry(m=TOPICAL.decode()),
    "a topic without a body": entry(c="a"),
    "a stranger": lambda peer: ("XADD", log_of(peer), "*", "a", b"\xff"),
    "an id at the maximum": lambda peer: ("XADD", log_of(peer), f"{MOST}-{MOST}", "a", "b"),
    "an account that is no JSON": at("nodes", "HSET", "x", "what"),
    "a deep account": at("nodes", "HSET", "x", DEEP),
    "an account without figures": at("nodes", "HSET", "x", "{}"),
    "an account with an infinity": at("nodes", "HSET", "x", json.dumps(ACCOUNT | {"started": 1e999})),
    "a node whose name is no text": at("nodes", "HSET", b"\xff", json.dumps(ACCOUNT)),
    "a client since never": at("at:NODE", "HSET", "bob", "what"),
    "a client since a time to come": at("at:NODE", "HSET", "bob", "9" * 400 + " 1"),
    "several connections that are none": at("at:NODE", "HSET", "bob", "1 1||what"),
    "a client whose name is no text": at("at:NODE", "HSET", b"\xff", "1 1"),
    "a notice that is no text": at("inbox:NODE", "XADD", "*", "id", b"\xff"),
    "a change of no node": at("presence", "XADD", "*", "a", b"\xff"),
    "a change behind no id": at("presence", "XADD", "*", "p", "what", "n", "x", "1", '["bob", ["a"]]'),
    "a change of no number": at("presence", "XADD", "*", "p", "0-0", "n", "x", "one", '["bob", ["a"]]'),
    "a change that is no JSON": at("presence", "XADD", "*", "p", "0-0", "n", "x", "1", DEEP),
    "a change without a client": at("presence", "XADD", "*", "p", "0-0", "n", "x", "1", '[1, ["a"]]'),
    "a change with a bad pattern": at("presence", "XADD", "*", "p", "0-0", "n", "x", "1", '["bob", ["a b"]]'),
    "a change beyond all clocks": at("presence", "XADD", f"{MOST}-{MOST}", "a", "b"),
    "a subscriber that is no JSON": at("subs:NODE", "HSET", "1", "what"),
    "a subscriber without a number": at("subs:NODE", "HSET", b"\xff", '["bob", ["a"]]'),
    "subscribers of another type": of_another_type("subs:NODE"),
    "changes of another type": of_another_type("presence"),
    "a count of another type": at("more:NODE", "LPUSH", "what"),
    "a log of another type": of_another_type("log"),
    "leases of another type": of_another_type("lease"),
    "accounts of another type": of_another_type("nodes"),
    "turns of another type": of_another_type("turns"),
    "clients of another type": of_another_type("at:NODE"),
    "notices of another type": of_another_type("inbox:NODE"),
}

SILENT = {"a client since a time to come", "a count of another type"}
"""Nobody reads it, so nobody tells of it: it is overwritten."""


@pytest.mark.parametrize("poison", POISONS)
async def test_all_go_on_beside_it_and_those_who_come(
    poison: str, store: StoreProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wsctl.shared"):
        async with peers(store, 2) as (one, other):
            one.join("ann", patterns=["a"])
            one.say("before")
            await other.read(1)
            words = POISONS[poison](one)
            if words[0] == "SET":
                store.command("DEL", words[1])
            store.command(*words)
            if poison != "a log of another type":  # with that one goes what was in the log, and on its way
                other.say("after")
                await other.settle()
                assert other.refusals == {}
            await one.hears(await accepted(other))
            async with Peer(store.url, one.session._keys.prefix).running() as late:
                for n, node in enumerate((one, other, late)):
                    node.say(n)
                    await late.until(lambda n=n: n in [message.data for message in late.got])  # type: ignore[misc]
                    await node.settle()
                    assert n in node.receipts
                    assert await node.session.presence.everywhere(node.session.lease.peers)
            one.join("bob")
            await other.until_true(
                lambda: other.session.lease.peers.keys() == {one.session.node, other.session.node}
            )
            await other.knows(one.session.node, "ann", "bob")
            counts = [node.session.unreadable.count for node in (one, other, late)]
            assert poison in SILENT or sum(counts) > 0, counts
            assert max(counts) <= 2, "what is read again and again is counted once"
            assert not [what for what in one.told if what == "away"]
            assert one.session.why is other.session.why is None
    assert [record for record in caplog.records if record.exc_info] == []
    assert len([record for record in caplog.records if record.message == TOLD]) <= len(counts)


async def accepted(node: Peer) -> str:
    """The first message that the node publishes."""
    for text in map(str, itertools.count()):
        node.say(text)
        await node.settle()
        if text in node.receipts:
            return text
    raise AssertionError("unreachable")


async def test_an_entry_beyond_all_clocks_costs_no_other_one(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        for n in range(5):
            node.say(n)
        await node.read(5)
        store.command("XADD", log_of(node), f"{MOST}-{MOST}", "a", "b")
        node.say("after")
        assert await node.read(6) == [*range(5), "after"]
        assert store.command("XLEN", log_of(node)) == 6
        assert "lost" not in node.told


async def test_an_error_that_comes_again_and_again_is_logged_once_and_counted(
    store: StoreProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with peers(store, 1) as (node,):
        read, failures = node.session._tail.read, []

        async def broken(*_: Any) -> None:
            failures.append(1)
            raise LookupError("nobody thought of it")

        node.session._tail.read = broken  # type: ignore[method-assign]
        node.session.lease.renew_soon()
        await node.until_true(lambda: len(failures) > 3)
        node.session._tail.read = read  # type: ignore[method-assign]
        await node.until_true(lambda: node.session.why is None)
        assert len([record for record in caplog.records if record.exc_info]) == 1
        assert node.reasons[:1] == ["what Redis says makes no sense"]


async def test_one_that_starts_says_in_one_line_that_nothing_makes_sense(store: StoreProcess) -> None:
    from wsctl.log.redis.client import Unusable

    peer = Peer(store.url, "odd")
    peer.session.redis.run = _nothing  # type: ignore[method-assign]
    with pytest.raises(Unusable, match="what Redis says makes no sense"):
        await peer.session.begin()


async def _nothing(*_: Any) -> Any:
    await asyncio.sleep(0)


def test_what_is_found_again_is_counted_once_and_no_more_are_remembered_than_may_be() -> None:
    unreadable = Unreadable()
    for _ in range(3):
        unreadable.note("node", "x", "why")
    assert unreadable.count == 1
    for n in range(2 * MOST_KNOWN):
        unreadable.note("entry", f"{n}", "why")
    assert unreadable.count == 1 + 2 * MOST_KNOWN
    assert len(unreadable._known) == MOST_KNOWN


_odd = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode(errors="replace")),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ).map(lambda value: json.dumps(value).encode()),
    st.integers().map(lambda n: f"{n}".encode()),
    st.tuples(st.integers(), st.integers()).map(lambda pair: b"%d-%d" % pair),
    st.sampled_from([BODY.encode(), BODY.replace("{", '{"id":1,').encode(), DEEP.encode(), b"9" * 5000]),
)


GOOD_TOPICAL = {name: value for name, value in GOOD.items() if name != b"m"} | {b"c": b"a", b"b": TOPICAL}


@given(
    st.sampled_from([GOOD, GOOD_TOPICAL]).flatmap(
        lambda good: st.fixed_dictionaries({name: st.just(value) | _odd for name, value in good.items()})
    )
)
def test_whatever_the_fields_hold_they_are_a_message_or_a_value_error(fields: dict[bytes, bytes]) -> None:
    words = [word for pair in fields.items() for word in pair]
    try:
        taken = read_message((b"5-0", words))
    except ValueError:
        return
    (payload,) = taken.entry.batch.payloads
    frame = json.loads(payload.decode())
    assert (frame["type"], frame["id"]) == ("message", "5-0")
    assert isinstance(frame["from"], str)
    assert frame.get("to") == (None if taken.entry.to is None else list(taken.entry.to))
    assert frame.get("topic") == taken.entry.topic
    assert taken.entry.topic == (fields[b"c"].decode() if b"c" in fields else None)
    assert 0 <= taken.elsewhere < 10**MOST_DIGITS


@given(st.lists(_odd, max_size=14))
def test_whatever_the_names_are_they_are_a_message_or_a_value_error(words: list[bytes]) -> None:
    try:
        read_message((b"5-0", words))
    except ValueError:
        return
    raise AssertionError(words)


@given(st.dictionaries(st.sampled_from(sorted(ACCOUNT)), _odd, max_size=3) | _odd)
def test_whatever_a_node_tells_it_is_an_account_or_a_value_error(told: Any) -> None:
    if isinstance(told, dict):
        odd = {name: _value(text) for name, text in told.items()}
        told = json.dumps(ACCOUNT | odd).encode()
    try:
        found = read_account(told)
    except ValueError:
        return
    assert isinstance(found["connections"], int)
    json.dumps(found, allow_nan=False)


def _value(text: bytes) -> Any:
    try:
        return read_json(text.decode())
    except ValueError:
        return text.decode("latin-1")


@given(_odd, _odd)
def test_whatever_a_client_is_it_is_one_or_a_value_error(name: bytes, told: bytes) -> None:
    try:
        client_id, since = read_client(name, told)
    except ValueError:
        return
    assert client_id
    assert min(since) >= 0


@given(
    st.lists(st.tuples(st.sampled_from([b"p", b"n", b"1", b"2"]) | _odd, st.just(b"1-1") | _odd), max_size=5)
)
def test_whatever_a_change_of_subscriptions_is_it_is_one_or_a_value_error(
    fields: list[tuple[bytes, bytes]],
) -> None:
    try:
        change = read_presence((b"5-0", [word for pair in fields for word in pair]))
    except ValueError:
        return
    for client_id, _, patterns in change.there:
        assert client_id
        assert patterns
