"""A Redis, wherever its URL says, with every wait bounded and every failure the same."""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wsctl.errors import CannotStart, package

ANSWER_TIMEOUT = 1.5
"""Seconds for one answer: more than a busy Redis needs, and soon enough to notice one that hangs."""

LEAST_VERSION = 7
"""The oldest Redis whose scripts and streams can what is needed; Valkey began with 7.2."""

PORT, SENTINEL_PORT = 6379, 26379
"""Where Redis and its sentinels listen unless the URL says otherwise."""


class Away(Exception):
    """Redis did not do what it was asked; the text says why, in one line and without a secret."""


class Store:
    """One Redis, single or a cluster.

    Attributes:
        name: its URL without user, password and options, for people.
    """

    def __init__(self, url: str, password: str | None) -> None:
        self.name = without_secrets(url)
        try:
            self._client, self._failures = _connect(url, password)
        except ImportError:
            raise CannotStart(f"--redis needs {package('redis', 'redis')}") from None
        except (ValueError, TypeError) as error:
            raise CannotStart(f"--redis {self.name}: {error}") from None
        for command in ("XREAD", "XREVRANGE"):
            self._client.set_response_callback(command, lambda answer, **_: answer)

    async def ask(self, *command: object) -> Any:
        """The answer to one command.

        Raises:
            Away: there is none.
        """
        try:
            with _cancellable():
                return await self._client.execute_command(*command)
        except self._failures as error:
            raise Away(self._why(error)) from None

    async def run(self, script: "Script", keys: Sequence[str], *arguments: object) -> Any:
        """What a script returns. The keys are of one slot, as all keys here.

        Raises:
            Away: it did not run, or nobody knows whether it did.
        """
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.ask("EVALSHA", script.sha, *rest)
        except Away as error:
            if "NOSCRIPT" not in str(error) and "No matching script" not in str(error):
                raise
        return await self.ask("EVAL", script.text, *rest)

    async def check(self) -> None:
        """Whether this is a Redis that can be used.

        Raises:
            CannotStart: it is none, is not reached, lets nobody in, or is too old.
        """
        try:
            told = await self.ask("INFO", "server")
        except Away as error:
            raise CannotStart(f"--redis {self.name}: {error}") from None
        version = str(_version(told))
        if int(version.partition(".")[0] or 0) < LEAST_VERSION:
            raise CannotStart(f"--redis {self.name} is version {version}: {LEAST_VERSION} is the oldest")

    async def drop(self) -> None:
        """Close all connections; the next command makes new ones."""
        with contextlib.suppress(*self._failures), _cancellable():
            await self._client.aclose()
            # Connections to sentinels are clients of their own.
            manager = getattr(getattr(self._client, "connection_pool", None), "sentinel_manager", None)
            for sentinel in manager.sentinels if manager else ():
                await sentinel.aclose()

    def _why(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
            return f"no answer within {ANSWER_TIMEOUT:g} s"
        if type(error).__name__ == "MasterNotFoundError":  # says how the client was made
            return "no sentinel knows a primary of this service"
        text = " ".join(str(error).split()) or type(error).__name__
        return text if text.isprintable() else ascii(text)


class Script:
    """Lua that Redis runs at once, without anybody else's commands between."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def without_secrets(url: str) -> str:
    """The URL less user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextlib.contextmanager
def _cancellable() -> Iterator[None]:
    """Who is cancelled within, is. Python's `wait_for`, which the client uses, forgets it before 3.12 when
    what is waited for ends at the same moment: then a task would go on for ever."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _connect(url: str, password: str | None) -> tuple[Any, tuple[type[BaseException], ...]]:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisClusterException, RedisError

    options: dict[str, Any] = {
        "socket_timeout": ANSWER_TIMEOUT,
        "socket_connect_timeout": ANSWER_TIMEOUT,
        "protocol": 2,
    }
    if password is not None:
        options["password"] = password
        url = _without_password(url)
    failures = (RedisError, RedisClusterException, OSError, TimeoutError, asyncio.IncompleteReadError)
    scheme, _, rest = url.partition("://")
    kind, _, way = scheme.partition("+")
    retry = Retry(NoBackoff(), 0)
    if way == "sentinel":
        return _behind_sentinels(url, options | {"retry": retry}), failures
    if way == "cluster":
        return RedisCluster.from_url(f"{kind}://{rest}", **options, retry=Retry(NoBackoff(), 1)), failures
    return Redis.from_url(url, **options, retry=retry), failures


def _without_password(url: str) -> str:
    # What a URL says goes before options.
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    rest = f"{parts.path}?{parts.query}" if parts.query else parts.path
    # Not put together by urllib, which leaves out the // of a URL without a host.
    return f"{parts.scheme}://{user}@{place}{rest}" if user else f"{parts.scheme}://{place}{rest}"


def _behind_sentinels(url: str, options: dict[str, Any]) -> Any:
    """From `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB`; what the sentinels themselves
    want is in the options `sentinel_username` and `sentinel_password`."""
    from redis.asyncio.sentinel import Sentinel

    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, secret = map(unquote, login.partition(":"))
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("name the service: redis+sentinel://HOST:PORT/SERVICE")
    ours = ({"username": user} if user else {}) | ({"password": secret} if secret else {})
    asked = parse_qs(parts.query)
    names = [name for name in ("username", "password") if f"sentinel_{name}" in asked]
    theirs = {"password": None} | {name: asked[f"sentinel_{name}"][0] for name in names}
    places = [_place(host) for host in hosts.split(",")]
    sentinels: Any = Sentinel(places, sentinel_kwargs=options | theirs)  # type: ignore[no-untyped-call]
    return sentinels.master_for(service, db=int(db or 0), **ours | options)


def _place(host: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    return (name.strip("[]"), int(port)) if colon and port.isdecimal() else (host, SENTINEL_PORT)


def _version(told: Any) -> str:
    """Out of the answer to INFO, which a client may have read already."""
    found = next(iter(told.values())) if isinstance(told, dict) and "redis_version" not in told else told
    return str(found.get("redis_version", "0")) if isinstance(found, dict) else "0"
