"""Who is where, as all nodes know it."""

import time

import pytest

from tests.conftest import StartStore
from tests.log.redis.test_session import peers
from tests.support.peer import Peer
from tests.support.store import StoreProcess
from wsctl.log.home import RemoteConnection
from wsctl.log.redis.scripts import PRESENCE

pytestmark = pytest.mark.anyio


async def known(node: Peer, *others: Peer) -> None:
    """Wait until everybody's clients are known."""
    for one in (node, *others):
        await node.knows(one.session.node, *one.clients)


async def test_a_receipt_counts_the_clients_of_all_nodes(store: StoreProcess) -> None:
    async with peers(store, 3) as (one, two, three):
        one.join("ann")
        two.join("bob", "eve")
        three.join("joe")
        one.session.lease.renew_soon()
        await known(one, two, three)
        one.say("all")
        one.say("some", ("ann", "bob", "joe", "nobody"))
        one.say("elsewhere", ("eve",))
        one.say("nobody", ())
        await one.settle()
        counts = {data: count for data, (_, count) in one.receipts.items()}
        assert counts == {"all": 4, "some": 3, "elsewhere": 1, "nobody": 0}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 1, 0), (1, 0, 1), (0, 1, 0, 1, 2, 1)])
async def test_of_several_connections_of_a_client_the_newest_is_left(
    order: tuple[int, ...], store: StoreProcess
) -> None:
    async with peers(store, 3) as nodes:
        for place in order:
            await joined_at_last(nodes[place])
            nodes[place].join("bob")
        last = nodes[order[-1]]
        await last.until_true(lambda: [node for node in nodes if node.clients] == [last])
        for node in nodes:
            await last.knows(node.session.node, *node.clients)


async def joined_at_last(node: Peer) -> None:
    """Connections that are made at once are as old as each other: clocks are compared over the network."""
    start = time.monotonic()
    while time.monotonic() < start + 0.05:
        await node.session.redis.ask("PING")


async def test_who_came_while_redis_hung_is_replaced_by_who_came_later(start_store: StartStore) -> None:
    """Whichever node's call is read first when it goes on."""
    store = start_store()
    async with peers(store, 2) as (one, two):
        store.stop_process()
        two.join("bob")
        start = time.monotonic()
        await two.until_true(lambda: time.monotonic() > start + 0.05)
        one.join("bob")
        two.join("eve")
        store.go_on()
        await one.knows(one.session.node, "bob")
        await one.knows(two.session.node, "eve")
        assert (one.clients, two.clients) == ({"bob"}, {"eve"})


async def test_clients_of_a_node_whose_lease_has_ended_do_not_count(store: StoreProcess) -> None:
    async with peers(store, 2) as (dead, one):
        dead.join("bob")
        await one.knows(dead.session.node, "bob")
        await dead.session.suspend()
        base = dead.session._keys.base
        store.command("ZADD", f"{base}:lease", 1, dead.session.node)
        one.say("first")
        await one.settle()
        assert one.receipts["first"][1] == 0
        one.session.lease.renew_soon()
        while store.command("EXISTS", f"{base}:at:{dead.session.node}"):
            await one.session.redis.ask("PING")
        assert store.command("HKEYS", f"{base}:nodes") == [one.session.node.encode()]


async def test_a_node_that_redis_has_forgotten_tells_it_everything_again(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        node.join("bob", "eve")
        await known(node)
        base = node.session._keys.base
        store.command("DEL", f"{base}:at:{node.session.node}")
        store.command("ZADD", f"{base}:lease", 1, node.session.node)
        node.session.lease.renew_soon()
        await known(node)


async def test_what_redis_forgets_while_it_is_away_is_told_again(store: StoreProcess) -> None:
    """Even if the node's lease has not ended, or the answer which says that it had was lost."""
    async with peers(store, 1) as (node,):
        node.join("bob", "eve")
        await known(node)
        store.kill()
        await node.hears("away")
        node.leave("eve")
        node.join("ann")
        store.restart()
        store.command("DEL", f"{node.session._keys.base}:at:{node.session.node}")
        await node.hears("back")
        await known(node)
        assert node.clients == {"bob", "ann"}


async def test_a_node_that_has_ended_leaves_nothing_behind(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        node.join("bob")
        await known(node)
        await node.session.end()
        assert store.command("KEYS", f"{node.session._keys.base}:*") == []
        # Who leaves meanwhile, or what was under way.
        told = (node.session._keys.base, node.session.node, 1, 0, 1, "bob", "1 1")
        await node.session.redis.run(PRESENCE, [node.session._keys.log], *told)
        assert store.command("KEYS", f"{node.session._keys.base}:*") == []
        await node.session.redis.drop()


async def test_a_client_may_have_so_many_connections_to_all_nodes(store: StoreProcess) -> None:
    """The oldest one beyond that ends, wherever it is."""
    async with peers(store, 2, per_id=2) as (one, other):
        for node in (one, one, other):
            await joined_at_last(node)
            node.join("bob")
        await one.until_true(lambda: len(one.connections["bob"]) == 1)
        kept = one.connections["bob"][0]
        await joined_at_last(other)
        other.join("bob")
        await one.until_true(lambda: "bob" not in one.connections)
        assert len(other.connections["bob"]) == 2
        assert one.told.count(("replaced", "bob")) == 2
        assert ("replaced", "bob") not in other.told
        assert kept not in other.connections["bob"]


async def test_with_any_number_none_is_closed_and_all_are_counted(store: StoreProcess) -> None:
    async with peers(store, 3, per_id=0) as (one, two, three):
        for node in (one, two, two, two, three):
            node.join("bob")
        three.join("eve")
        await known(one, two, three)
        base = one.session._keys.base
        await one.until_true(lambda: store.command("GET", f"{base}:more:{two.session.node}") == b"2")
        # What is here is counted by the one who delivers it, which in this test is by client.
        one.say("all")
        one.say("some", ("bob", "nobody"))
        two.say("from two", ("bob", "eve"))
        for node in (one, two):
            await node.settle()
        counts = {data: count for node in (one, two) for data, (_, count) in node.receipts.items()}
        assert counts == {"all": 1 + 5, "some": 1 + 4, "from two": 1 + 3}
        assert not [what for node in (one, two, three) for what in node.told if what == ("replaced", "bob")]
        two.leave("bob", "bob")
        await one.until_true(lambda: store.command("EXISTS", f"{base}:more:{two.session.node}") == 0)
        found = await one.session.presence.everywhere([two.session.node, three.session.node])
        assert [[name for name, _ in rows] for rows in found.values()] == [["bob"], ["bob", "eve"]]


async def test_a_node_that_is_told_again_of_connections_keeps_since_when_they_are_there(
    store: StoreProcess,
) -> None:
    async with peers(store, 1, per_id=3) as (node,):
        node.join("bob", "bob", "eve")
        await known(node)
        at = f"{node.session._keys.base}:at:{node.session.node}"
        await node.until_true(lambda: store.command("HGET", at, "bob").count(b"|") == 1)
        before = store.command("HGET", at, "bob")
        node.session.presence.adopt(
            [RemoteConnection(name, serial) for name, each in node.connections.items() for serial in each]
        )
        node.session.presence.again()
        node.join("last")
        await node.knows(node.session.node, "bob", "eve", "last")
        assert store.command("HGET", at, "bob") == before


async def test_connections_of_an_older_process_are_taken_over_in_its_form(store: StoreProcess) -> None:
    """A release without several connections gave them numbers of its own."""
    async with peers(store, 1) as (node,):
        at = f"{node.session._keys.base}:at:{node.session.node}"
        store.command("HSET", at, "bob", "1234567890123 a1b2c3.7")
        node.session.presence.adopt([RemoteConnection("bob", 5)])
        await node.until_true(lambda: store.command("HGET", at, "bob") == b"1234567890123 5")


async def test_a_node_of_an_older_release_reads_of_several_connections_the_first(store: StoreProcess) -> None:
    """It takes digits up to the first space for the moment, and the number of fields for that of clients."""
    async with peers(store, 1, per_id=2) as (node,):
        node.join("bob", "bob")
        await known(node)
        at = f"{node.session._keys.base}:at:{node.session.node}"
        await node.until_true(lambda: store.command("HGET", at, "bob").count(b"|") == 1)
        assert store.command("HGET", at, "bob").partition(b" ")[0].isdigit()
        assert store.command("HLEN", at) == 1
