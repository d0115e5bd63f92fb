"""A deployment as its files need it: the place where the server will run, and its settings as flags,
variables, files, limits and timeouts."""

import math
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, fields
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wsctl.cli.recipes.template import check_writable
from wsctl.errors import UsageError
from wsctl.server.diagnostics.stop_time import recommended_stop_time
from wsctl.server.listening.limits import RESERVED_FILES
from wsctl.settings import EVERY_TOPIC, FLAGS, Rate, Settings, flag, variable

OPEN_FILES = 65536
"""Descriptors that a file asks for where nobody said how many clients there will be."""

NO_LIMIT = 1 << 20
"""Descriptors for any number of clients: the most that Linux grants unless told otherwise (fs.nr_open)."""

FILES = ("ssl_certfile", "ssl_keyfile", "jwt_key")
"""The settings that name a file, which is somewhere else where the server runs."""

_APART = ("redis", "stop_timeout")
"""The settings that are no flags in a file: others can read a command line, and the platform says how long it
waits."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place where the server will run.

    Attributes:
        made_by: the command that made the file, less what is secret.
        program: absolute path of wsctl there.
        in_home: True if that is in somebody's home, which a service's user may not be able to enter.
        upstreams: the servers behind a proxy, `HOST:PORT` or `unix:PATH`; none: the one of the settings.
    """

    made_by: str
    program: str
    in_home: bool = False
    upstreams: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_writable("--program", self.program)
        for each in self.upstreams:
            check_writable("--upstream", each)
        check_writable("the command line", self.made_by)
        if not self.program.startswith("/"):
            raise UsageError("--program: a service needs the absolute path")


def need_port(settings: Settings, kind: str, *, uds: bool = True) -> None:
    """Check that a file can say what others connect to; raises `UsageError` where it could not."""
    if settings.fd is not None:
        raise UsageError(
            f"--fd: a descriptor has a meaning only in the process that starts wsctl, not in {kind}"
        )
    if settings.uds is not None and not uds:
        raise UsageError(f"--uds: {kind} reaches a server by its port")
    if settings.uds is None and settings.port == 0:
        raise UsageError(f"--port 0: {kind} must name the port, choose one")
    if settings.admin_port == 0:
        raise UsageError(f"--admin-port 0: {kind} must name the port, choose one")


def command_words(settings: Settings) -> list[str]:
    """Return the words with which a person asks for these settings, secrets left out."""
    url, wait = redis_without_password(settings), settings.stop_timeout
    return [
        *flags(settings),
        *([f"--redis={url}"] if url else []),
        *([f"--stop-timeout={_number(wait)}"] if wait is not None else []),
    ]


def flags(settings: Settings) -> list[str]:
    """Return one word for each setting that differs from its default. The URL of a Redis is not among them:
    see `environment`; nor is `--stop-timeout`: see `stop_time`.

    Raises:
        UsageError: a value cannot be written into any of the files.
    """
    words = [word for field in FLAGS if field.name not in _APART for word in _words(settings, field)]
    for word in words:
        check_writable(word.partition("=")[0], word)
    return words


def _words(settings: Settings, field: "Field[Any]") -> Iterable[str]:
    value, name = getattr(settings, field.name), flag(field.name)
    if value == field.default:
        return []
    if isinstance(value, bool):
        return [name if value else "--no-" + name.removeprefix("--")]
    if field.metadata.get("argument"):
        return [str(value)]
    several = value if field.default == () else [value]
    return [f"{name}={_text(each)}" for each in several]


def _text(value: Any) -> str:
    if isinstance(value, Rate):
        return f"{_number(value.per_second)}/s:{value.burst}"
    if type(value) is tuple:
        return "on" if value == EVERY_TOPIC else ",".join(value) or "off"
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    """Format a number without an exponent, which no setting is spelled with."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that are no secrets."""
    url = redis_without_password(settings)
    return {variable("redis"): url} if url else {}


def redis_without_password(settings: Settings) -> str | None:
    """Return the URL of the Redis, if there is one.

    Raises:
        UsageError: it has a password that can be given in no other way.
    """
    if not settings.redis:
        return None
    check_writable("--redis", settings.redis)
    parts = urlsplit(settings.redis)
    options = parse_qsl(parts.query, keep_blank_values=True)
    if any(name == "sentinel_password" for name, _ in options):
        raise UsageError(
            "--redis: a file would show its sentinel_password: leave that out, and set WSCTL_REDIS there"
        )
    kept = [(name, value) for name, value in options if name != "password"]
    login, _, place = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    if kept == options and not colon:
        return settings.redis
    rest = urlunsplit(("", "", parts.path, urlencode(kept), parts.fragment))
    # By hand, for urlunsplit() would leave out the // of a unix:///PATH.
    return f"{parts.scheme}://{f'{user}@' if user else ''}{place}{rest}"


OPTIONAL_SECRETS = ("token", "publish_token")
"""The secrets that any server may have: a file says where they go, also where they were not given."""


def secret_names(settings: Settings) -> list[str]:
    """Return the settings, by name, that were given and are secrets: a file names where they go, and no
    more."""
    given = {f.name for f in fields(Settings) if "parse" not in f.metadata and getattr(settings, f.name)}
    if settings.redis and redis_without_password(settings) != settings.redis:
        given.add("redis_password")
    if settings.auth == "token":
        given.add("client_token")
    return [f.name for f in fields(Settings) if f.name in given]


def named_files(settings: Settings) -> dict[str, str]:
    """Return the path of each file that the settings name.

    Raises:
        UsageError: a path cannot be written into any of the files.
    """
    found = {name: path for name in FILES if (path := getattr(settings, name))}
    for name, path in found.items():
        check_writable(flag(name), path)
    return found


def flags_with_files(settings: Settings, path_of: Callable[[str], str]) -> list[str]:
    """Return `flags`, with each file at the path that `path_of` gives for the name of its setting."""
    moved = {name: f"{flag(name)}={path_of(name)}" for name in named_files(settings)}
    kept = [word for word in flags(settings) if not word.startswith(tuple(f"{flag(n)}=" for n in FILES))]
    return [*kept, *moved.values()]


def stop_time(settings: Settings) -> int:
    """Return the seconds from the signal after which a platform may kill: as long as it was said to wait, or
    else when nobody can still be draining."""
    if settings.stop_timeout is not None:
        return math.ceil(settings.stop_timeout)
    return recommended_stop_time(settings)


def open_files(settings: Settings) -> int:
    """Return the number of descriptors that a process needs for all its clients."""
    if settings.max_connections is None:
        return OPEN_FILES
    return settings.max_connections + RESERVED_FILES if settings.max_connections else NO_LIMIT


def idle_timeout(settings: Settings) -> int | None:
    """Return the seconds of silence after which a proxy may take a connection for dead; None where nobody
    pings.

    A ping comes after each `--ping-interval` of silence, and its answer at once; 60 is the least, which is
    what proxies have unless they are told otherwise.
    """
    if not settings.ping_interval:
        return None
    return max(60, math.ceil(settings.ping_interval + settings.ping_timeout + 10))


def extras(settings: Settings) -> str:
    """Return the extras that pip is to install with the program for these settings, as they stand behind a
    path."""
    found = [name for name, needed in (("jwt", settings.auth == "jwt"), ("redis", settings.redis)) if needed]
    return f"[{','.join(found)}]" if found else ""
