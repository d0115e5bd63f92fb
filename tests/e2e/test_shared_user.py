"""A Redis user with the rights that the manual names, and no other."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.clients import receive_type
from tests.support.cluster import Cluster, publish, wait_for
from tests.support.manual import pages
from tests.support.server import wsctl
from tests.support.store import StoreCluster, StoreProcess
from wsctl.log.redis import client as home
from wsctl.log.redis.client import RedisClient, Script

pytestmark = pytest.mark.anyio

RULES = re.findall(r"\S+", pages()["deploy"].partition("ACL SETUSER wsctl ")[2].partition("```")[0])

IN_A_CLUSTER = re.findall(
    r"`(\+[^`]+)`", pages()["deploy"].partition("in a cluster also")[2].partition("\n\n")[0]
)

UNSPELLED = {"select"}
"""What the client itself asks for, where the URL names a database."""


def test_the_rights_are_those_for_the_commands_that_are_spelled() -> None:
    checks = Path(home.__file__).parents[2] / "server/checks/redis.py"
    sources = [*Path(home.__file__).parent.glob("*.py"), checks]
    text = "\n".join(path.read_text() for path in sources)
    spelled = re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '(STREAM)')?|\bask\(\s*\"([A-Z]+)\"", text)
    wanted = {"|".join(filter(None, words)).lower() for words in spelled} | UNSPELLED
    assert {rule[1:] for rule in RULES if rule[0] == "+"} == wanted


async def test_servers_share_with_such_a_user_and_are_denied_nothing(
    start_server: StartServer, store: StoreProcess
) -> None:
    assert RULES[:2] == ["on", ">PASSWORD"]
    assert "~{wsctl}:v1:*" in RULES
    store.command("ACL", "SETUSER", "wsctl", "reset", *RULES)
    url = f"redis://wsctl:PASSWORD@127.0.0.1:{store.port}/1"
    async with Cluster(start_server, url, "--max-draining", "1") as cluster:
        one, two = cluster.grow(2)
        bob, eve = await cluster.join(one, "bob"), await cluster.join(two, "eve")
        wait_for(one, lambda facts: facts["cluster"]["connections"] == 2)
        sent = publish(one, "hello")
        publish(two, "for bob", "bob")
        assert [(await receive_type(bob, "message"))["data"] for _ in range(2)] == ["hello", "for bob"]
        assert (await receive_type(eve, "message"))["data"] == "hello"
        await bob.close()
        again = await cluster.join(two, "bob", sent["id"])
        assert (await receive_type(again, "message"))["data"] == "for bob"
        moved = await cluster.join(one, "eve")  # elsewhere too: the older one is told to go
        done = wsctl("check", "--port", "0", environ=one.environ | {"WSCTL_REDIS": url})
        assert "does not tell" not in done.stdout
        for node in (one, two):
            node.signal()
        for client in (again, moved):
            await client.close()
        for node in (one, two):
            assert await asyncio.to_thread(node.wait) == 0
    assert store.command("ACL", "LOG") == []


async def test_in_a_cluster_it_needs_the_rights_named_there_too(tmp_path: Path) -> None:
    assert len(IN_A_CLUSTER) == 3
    cluster = StoreCluster.start("valkey", tmp_path, size=1)
    try:
        (node,) = cluster.nodes
        node.command("ACL", "SETUSER", "wsctl", "reset", *RULES, *IN_A_CLUSTER)
        asked = RedisClient(cluster.url.replace("://", "://wsctl:PASSWORD@"), None)
        await asked.check()
        key = "{wsctl}:v1:last:x"
        assert await asked.run(Script("return redis.call('SET', KEYS[1], '1')"), [key]) == b"OK"
        await asked.drop()
        assert node.command("ACL", "LOG") == []
    finally:
        cluster.close()
