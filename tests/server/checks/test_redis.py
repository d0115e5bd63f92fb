"""What of a Redis bites."""

import pytest

from tests.conftest import StartStore
from tests.support.store import StoreCluster, StoreProcess
from wsctl.server.checks.redis import APART, RedisAnswers, assess, check_redis
from wsctl.server.diagnostics.finding import Level
from wsctl.settings import Settings

HEALTHY = {"redis_version": "7.4.0", "role": "master", "aof_enabled": 1, "maxmemory": 1 << 30}


def levels(ahead_s: float | None = 0.0, **facts: object) -> dict[str, str]:
    """What is told of a Redis with these facts."""
    found = assess("redis://x", RedisAnswers((HEALTHY | facts,), 0.001, ahead_s))
    return {finding.name: finding.level for finding in found if finding.level is not Level.OK}


def test_a_healthy_one_gives_no_cause() -> None:
    assert levels() == {}
    assert levels(maxmemory_policy="noeviction", rdb_last_bgsave_status="ok") == {}


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_one_that_drops_keys_bites_when_it_has_a_limit(policy: str) -> None:
    assert levels(maxmemory_policy=policy) == {"redis memory": "warning"}
    assert levels(maxmemory_policy=policy, maxmemory=0) == {}


def test_only_one_that_drops_any_key_drops_the_log() -> None:
    def says(policy: str) -> str:
        found = assess("x", RedisAnswers((HEALTHY | {"maxmemory_policy": policy},), 0.001, None))
        return next(finding.text for finding in found if finding.name == "redis memory")

    assert "drops the message log" in says("allkeys-random")
    assert "drops who is connected where" in says("volatile-lru")


@pytest.mark.parametrize("name", ["rdb_last_bgsave_status", "aof_last_write_status"])
def test_one_that_cannot_save_takes_no_writes(name: str) -> None:
    assert levels(**{name: "err"}) == {"redis data": "warning"}


def test_a_replica_takes_none_either() -> None:
    assert levels(role="slave") == {"redis role": "error"}


@pytest.mark.parametrize(("apart", "level"), [(APART, None), (APART + 0.1, "warning")])
def test_clocks_may_be_so_far_apart(apart: float, level: str | None) -> None:
    for ahead_s in (apart, -apart):
        assert levels(ahead_s).get("redis clock") == level


def test_a_real_one_is_asked(store: StoreProcess) -> None:
    found = check_redis(Settings(redis=store.url))
    assert {finding.level for finding in found} == {Level.OK}
    assert "version" in found[0].text
    assert any(finding.name == "redis clock" for finding in found)


def test_a_real_one_that_drops_keys_and_keeps_nothing_is_told(start_store: StartStore) -> None:
    limits = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    found = check_redis(Settings(redis=start_store(*limits).url))
    told = {finding.name: finding for finding in found}
    assert told["redis memory"].level is Level.WARNING
    assert "its 64 MiB" in told["redis memory"].text
    assert "no append-only file" in told["redis data"].text


def test_a_cluster_is_asked_node_by_node(start_store: StartStore) -> None:
    found = check_redis(Settings(redis=start_store(what=StoreCluster, size=1).url))
    assert {finding.level for finding in found} == {Level.OK}


def test_a_dead_one_is_an_error_without_its_password(start_store: StartStore) -> None:
    store = start_store(login=("ann", "s3cret"))
    store.kill()
    (found,) = check_redis(Settings(redis=store.url))
    assert found.level is Level.ERROR
    assert "s3cret" not in found.text
    assert str(store.port) in found.text


def test_one_that_hangs_is_given_up(start_store: StartStore) -> None:
    store = start_store()
    store.stop_process()
    (found,) = check_redis(Settings(redis=store.url))
    assert found.level is Level.ERROR
    store.go_on()
