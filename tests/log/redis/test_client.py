"""One Redis, and what may be wrong with it."""

import asyncio

import pytest

from tests.conftest import StartStore
from tests.support.store import StoreCluster, StoreProcess, Watched
from wsctl.errors import CannotStart
from wsctl.log.redis.client import CLOCK_DRIFT, CLOCK_STEP, RedisClient, RedisClock, Script

pytestmark = pytest.mark.anyio


async def test_whoever_is_cancelled_while_it_asks_does_not_go_on(store: StoreProcess) -> None:
    """At whatever moment, the one at which the answer comes too."""
    asked = RedisClient(store.url, None)
    for turns in range(60):
        await asked.ask("PING")  # a connection is there: only its use is cut short
        task = asyncio.create_task(asked.ask("PING"))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        before = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert before or task.cancelled()
    await asked.drop()


LOGINS = [("default", "p@ss:w/rd%"), ("ann", "s3cret")]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_it_lets_in_who_knows_the_password(
    kind: str, login: tuple[str, str], start_store: StartStore
) -> None:
    store = start_store(kind=kind, login=login)
    await used(RedisClient(store.url, None))
    user = "" if login[0] == "default" else f"{login[0]}@"
    await used(RedisClient(f"redis://{user}127.0.0.1:{store.port}/0", login[1]))
    # The one that is given apart beats the one in the URL.
    await used(RedisClient(f"redis://{login[0]}:tiger@127.0.0.1:{store.port}/0", login[1]))
    await refused(RedisClient(store.url, "tiger"))


@pytest.mark.parametrize("login", LOGINS)
async def test_a_wrong_password_is_told_without_it(login: tuple[str, str], start_store: StartStore) -> None:
    store = start_store(login=login)
    place = f"127.0.0.1:{store.port}/0"
    for url, password in [(f"redis://{login[0]}@{place}", "tiger"), (f"redis://tom:tiger@{place}", None)]:
        text = await refused(RedisClient(url, password))
        assert f"redis://127.0.0.1:{store.port}/0" in text
        assert not [secret for secret in (*login, "tiger", "p%40") if secret in text and secret != "default"]
    assert "uthentication" in await refused(RedisClient(f"redis://127.0.0.1:{store.port}/0", None))


async def test_it_is_reached_over_a_unix_socket(start_store: StartStore) -> None:
    await used(RedisClient(start_store(unix=True).url, None))


@pytest.mark.parametrize("login", LOGINS)
async def test_a_unix_socket_may_want_a_password_too(login: tuple[str, str], start_store: StartStore) -> None:
    store = start_store(unix=True, login=login)
    path = store.url.partition("://")[2].rpartition("@")[2]
    user = "" if login[0] == "default" else f"{login[0]}@"
    await used(RedisClient(f"unix://{user}{path}", login[1]))
    text = await refused(RedisClient(f"unix://{user}{path}", "tiger"))
    assert "unix:///" in text
    assert "tiger" not in text


async def test_it_is_reached_over_tls(certificate: tuple[str, str], start_store: StartStore) -> None:
    store = start_store(kind="redis", certificate=certificate)
    await used(RedisClient(f"{store.url}?ssl_ca_certs={certificate[0]}", None))
    assert "certificate" in (await refused(RedisClient(store.url, None))).lower()


async def test_it_may_be_a_cluster(start_store: StartStore) -> None:
    await used(RedisClient(start_store(what=StoreCluster, size=1).url, None))


async def test_it_may_be_watched_by_a_sentinel(start_store: StartStore) -> None:
    await used(RedisClient(start_store(what=Watched).url, None))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""),
        (b"", ""),
        (b"$24\r\nredis_version:6.2.14\r\n  \r\n", "is version 6.2.14: 7 is the oldest"),
    ],
)
async def test_what_is_no_redis_of_today_is_not_used(said: bytes, why: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if b"SETINFO" in data:
                writer.write(b"+OK\r\n" * data.count(b"SETINFO") if why else said)
            elif said:
                writer.write(said)
            if not why:
                break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert why in await refused(RedisClient(f"redis://127.0.0.1:{port}/0", None))


async def test_a_certificate_need_not_be_looked_at(
    certificate: tuple[str, str], start_store: StartStore
) -> None:
    store = start_store(kind="redis", certificate=certificate)
    await used(RedisClient(f"{store.url}?ssl_cert_reqs=none", None))


async def test_a_database_is_the_one_of_the_url(start_store: StartStore) -> None:
    store = start_store()
    asked = RedisClient(f"redis://127.0.0.1:{store.port}?db=3", None)
    await asked.ask("SET", "here", "yes")
    await asked.drop()
    assert b"db3:keys=1" in store.command("INFO", "keyspace")


async def used(store: RedisClient) -> None:
    await store.check()
    assert await store.run(Script("return redis.call('SET', KEYS[1], ARGV[1])"), ["{a}:b"], "c") == b"OK"
    assert await store.ask("GET", "{a}:b") == b"c"
    await store.drop()


async def refused(store: RedisClient) -> str:
    with pytest.raises(CannotStart) as told:
        await store.check()
    await store.drop()
    text = str(told.value)
    assert "\n" not in text
    return text


def test_of_two_answers_the_one_that_was_heard_sooner_tells_the_clock() -> None:
    clock = RedisClock(lambda: 100.0)
    clock.set(250_000)
    assert clock.at(101.0) == 251.0
    clock.set(249_500)  # on its way for half a second
    assert clock.at(101.0) == pytest.approx(251.0 - CLOCK_DRIFT)
    clock.set(250_200)
    assert clock.at(101.0) == pytest.approx(251.2)


@pytest.mark.parametrize("step", [-CLOCK_STEP - 1, CLOCK_STEP + 1])
def test_a_clock_that_was_set_is_believed(step: float) -> None:
    clock = RedisClock(lambda: 100.0)
    clock.set(250_000)
    clock.set(250_000 + int(step * 1000))
    assert clock.at(100.0) == pytest.approx(250.0 + step)
