"""The check whether the Redis that servers are to share is there, and keeps what it is given."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsctl.errors import CannotStart
from wsctl.log.home import Away
from wsctl.log.redis.client import RedisClient, Unusable
from wsctl.log.redis.reasons import CHECK_REDIS
from wsctl.server.diagnostics.finding import Finding, error, ok, unknown, warning
from wsctl.settings import Settings

NAME = "redis"

APART = 2.0
"""The most seconds between Redis's clock and this machine's: NTP keeps any two far closer."""


@dataclass(frozen=True, slots=True)
class RedisAnswers:
    """The answers of a Redis: `facts` are what INFO says, of a cluster what each node says; `answer_s` is how
    long one question took, and `ahead_s` how far its clock is ahead of ours, None where that was not told."""

    facts: tuple[Mapping[str, Any], ...]
    answer_s: float
    ahead_s: float | None


def check_redis(settings: Settings) -> list[Finding]:
    """Ask the Redis of the settings, and assess its answers."""
    return asyncio.run(_query_and_assess(settings))


async def _query_and_assess(settings: Settings) -> list[Finding]:
    redis = None
    try:
        redis = RedisClient(settings.redis or "", settings.redis_password)
        await redis.check()
        return assess(redis.name, await _query(redis))
    except Unusable as failure:
        return [error(NAME, failure.what, failure.cure)]
    except CannotStart as failure:
        return [error(NAME, str(failure), CHECK_REDIS)]
    except Away as failure:
        return [unknown(NAME, f"it is there, but INFO failed: {failure}")]
    finally:
        if redis:
            await redis.drop()


def assess(name: str, answers: RedisAnswers) -> list[Finding]:
    """Assess the answers of a Redis; `name` is its URL without secrets."""
    first = answers.facts[0]
    version = first.get("valkey_version") or first.get("redis_version", "?")
    found = [ok(NAME, f"{name} is version {version} and answers in {answers.answer_s * 1000:.1f} ms")]
    for rule in (_check_role, _check_eviction, _check_saving):
        found += [finding for finding in map(rule, answers.facts) if finding][:1]
    if not any(facts.get("aof_enabled") for facts in answers.facts):
        found.append(ok("redis data", "no append-only file: a crash loses what came after the last snapshot"))
    return found + ([_check_clock(answers.ahead_s)] if answers.ahead_s is not None else [])


def _check_role(facts: Mapping[str, Any]) -> Finding | None:
    if facts.get("role") != "slave" or facts.get("cluster_enabled"):
        return None
    return error("redis role", "it is a replica, which takes no messages", "give the URL of the primary")


def _check_eviction(facts: Mapping[str, Any]) -> Finding | None:
    policy, most = str(facts.get("maxmemory_policy", "")), int(facts.get("maxmemory", 0))
    if not most or policy in ("", "noeviction"):
        return None
    what = "the message log itself" if policy.startswith("allkeys") else "who is connected where"
    text = f"maxmemory-policy is {policy}: when its {most >> 20} MiB are full, it drops {what}"
    return warning("redis memory", text, "CONFIG SET maxmemory-policy noeviction, or a Redis of its own")


def _check_saving(facts: Mapping[str, Any]) -> Finding | None:
    states = {name: facts.get(name, "ok") for name in ("rdb_last_bgsave_status", "aof_last_write_status")}
    failed = [name for name, state in states.items() if state != "ok"]
    if not failed:
        return None
    text = f"its last save failed ({failed[0]}), upon which Redis takes no more writes"
    return warning("redis data", text, "see its log; mostly the disk is full, or its folder is not its own")


def _check_clock(ahead_s: float) -> Finding:
    apart = f"{abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    if abs(ahead_s) <= APART:
        return ok("redis clock", apart)
    text = f"{apart}: messages have its time, logs have ours"
    return warning("redis clock", text, "run NTP on both machines")


async def _query(redis: RedisClient) -> RedisAnswers:
    told = await redis.ask("INFO")
    before, began = time.time(), time.perf_counter()
    now = await _server_time(redis)
    took = time.perf_counter() - began
    each = told.values() if "redis_version" not in told else [told]
    return RedisAnswers(tuple(each), took, None if now is None else now - (before + took / 2))


async def _server_time(redis: RedisClient) -> float | None:
    """Ask Redis for its time in Unix seconds; None from a cluster, which has no one clock."""
    answer = await redis.ask("TIME")
    if isinstance(answer, tuple | list) and len(answer) == 2:
        return int(answer[0]) + int(answer[1]) / 1e6
    return None
