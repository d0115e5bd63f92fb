"""The connections to a Redis, wherever its URL says, with every wait bounded and every failure the same."""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from wsctl.errors import CannotStart, package
from wsctl.log.home import Away
from wsctl.log.redis.reasons import ANSWER_TIMEOUT, LEAST_VERSION, trouble
from wsctl.redis_url import PROTOCOL, RedisUrl, parse, without_secrets


class Unusable(CannotStart):
    """The error raised when there is no Redis to start with, or none that can be used.

    Attributes:
        what: what is wrong, with the URL.
        cure: what to do about it.
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}; {cure}")
        self.what = what
        self.cure = cure


class RedisClient:
    """The client of one Redis, single or a cluster.

    Attributes:
        name: its URL without user, password and options, for people.
    """

    def __init__(self, url: str, password: str | None) -> None:
        self.name = without_secrets(url)
        try:
            self._client, self._failures = _connect(parse(url), password)
        except ImportError:
            raise CannotStart(f"--redis needs {package('redis', 'redis')}") from None
        except (ValueError, TypeError) as error:
            raise CannotStart(f"--redis {self.name}: {error}") from None
        for command in ("XREAD", "XREVRANGE"):
            self._client.set_response_callback(command, lambda answer, **_: answer)

    async def ask(self, *command: object) -> Any:
        """Return the answer to one command.

        Raises:
            Away: there is none.
        """
        try:
            with _cancellable():
                return await self._client.execute_command(*command)
        except self._failures as error:
            raise Away(*trouble(error, self.name)) from None

    async def run(self, script: "Script", keys: Sequence[str], *arguments: object) -> Any:
        """Run a script, and return its answer. The keys are of one slot, as all keys here.

        Raises:
            Away: the script did not run, or nobody knows whether it did.
        """
        words = (len(keys), *keys, *arguments)
        try:
            return await self.ask("EVALSHA", script.sha, *words)
        except Away as error:
            if "NOSCRIPT" not in str(error) and "No matching script" not in str(error):
                raise
        return await self.ask("EVAL", script.text, *words)

    async def check(self) -> None:
        """Check that this is a Redis that can be used.

        Raises:
            Unusable: it is none, is not reached, lets nobody in, or is too old.
        """
        try:
            answer = await self.ask("INFO", "server")
        except Away as error:
            raise self.unusable(error) from None
        version = str(_version(answer))
        if int(version.partition(".")[0] or 0) < LEAST_VERSION:
            what = f"--redis {self.name} is version {version}: {LEAST_VERSION} is the oldest"
            raise Unusable(what, "start a newer one, or correct --redis")

    def unusable(self, error: Away) -> Unusable:
        """Make the error for a server that cannot start with it."""
        return Unusable(f"--redis {self.name}: {error}", error.cure)

    async def drop(self) -> None:
        """Close all connections; the next command makes new ones."""
        with contextlib.suppress(*self._failures), _cancellable():
            await self._client.aclose()
            # Connections to sentinels are clients of their own.
            manager = getattr(getattr(self._client, "connection_pool", None), "sentinel_manager", None)
            for sentinel in manager.sentinels if manager else ():
                await sentinel.aclose()


def pairs(answer: Any) -> Iterable[tuple[bytes, bytes]]:
    """Return the fields of a hash, whichever of the protocol's versions told them."""
    return answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)


CLOCK_STEP = 2.0
"""Seconds of difference above which Redis's clock was set, or this process's: no answer takes so long."""

CLOCK_DRIFT = 0.001
"""Seconds by which the two clocks may drift apart between two beats: twice of what NTP lets a clock run
slow."""


class RedisClock:
    """Redis's clock, as far as its answers tell it; `here` is this process's, in seconds."""

    def __init__(self, here: Callable[[], float]) -> None:
        self.here = here
        self._offset = 0.0

    def at(self, moment: float) -> float:
        """Return what Redis's clock shows, in seconds, when this process's shows `moment`."""
        return moment + self._offset

    def set(self, redis_ms: int) -> None:
        """Take note of what Redis's clock showed a moment ago, in milliseconds."""
        offset = redis_ms / 1000 - self.here()
        # An answer that is heard late makes it too small, never too large: the largest one is right, but for
        # clocks that drift.
        is_step = abs(offset - self._offset) > CLOCK_STEP
        self._offset = offset if is_step else max(offset, self._offset - CLOCK_DRIFT)


class Script:
    """A Lua script, which Redis runs without other clients' commands in between."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    """Raise the cancellation of a task that was cancelled within. Python's `wait_for`, which the client uses,
    loses it before 3.12 when what is awaited ends at the same moment: then the task would go on for ever."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _connect(url: RedisUrl, password: str | None) -> tuple[Any, tuple[type[BaseException], ...]]:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisClusterException, RedisError

    failures = (RedisError, RedisClusterException, OSError, TimeoutError, asyncio.IncompleteReadError)
    options = {**_ALWAYS, **_login(url, password), **url.tls}
    retry = Retry(NoBackoff(), 0)
    if url.way == "sentinel":
        return _behind_sentinels(url, options | {"retry": retry}), failures
    if url.way == "cluster":
        return RedisCluster.from_url(_place(url), **options, retry=Retry(NoBackoff(), 1)), failures
    return Redis.from_url(_place(url), db=url.db, **options, retry=retry), failures


_ALWAYS: Mapping[str, Any] = {
    "socket_timeout": ANSWER_TIMEOUT,
    "socket_connect_timeout": ANSWER_TIMEOUT,
    "protocol": PROTOCOL,
    "driver_info": None,  # not told, so that no user needs a right for it
}


def _login(url: RedisUrl, password: str | None) -> dict[str, Any]:
    """Return the user and the password; a password that is given apart goes before that of the URL."""
    secret = url.password if password is None else password
    return ({"username": url.user} if url.user else {}) | ({} if secret is None else {"password": secret})


def _place(url: RedisUrl) -> str:
    """Return the URL of the address alone: whatever else a URL says goes before options."""
    if url.scheme == "unix":
        return f"unix://{quote(url.path)}"
    host, port = url.hosts[0]
    return f"{url.scheme}://{f'[{host}]' if ':' in host else quote(host)}:{port}"


def _behind_sentinels(url: RedisUrl, options: dict[str, Any]) -> Any:
    from redis.asyncio.sentinel import Sentinel

    theirs = {"username": None, "password": None} | dict(url.sentinel)
    sentinels: Any = Sentinel(list(url.hosts), sentinel_kwargs=options | theirs)  # type: ignore[no-untyped-call]
    return sentinels.master_for(url.service, db=url.db, **options)


def _version(answer: Any) -> str:
    """Return the version in the answer to INFO, which the client may have parsed already."""
    found = (
        next(iter(answer.values())) if isinstance(answer, dict) and "redis_version" not in answer else answer
    )
    return str(found.get("redis_version", "0")) if isinstance(found, dict) else "0"
