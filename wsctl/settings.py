"""The settings of a server: one frozen object, and how each value is spelled in text.

A field's metadata carries its parser and help, so that the command line, the environment and the
documentation are made from the same table. The variable of `shutdown_timeout` is
`WSCTL_SHUTDOWN_TIMEOUT`, its flag `--shutdown-timeout`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import ip_network
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wsctl.addresses import browser_host
from wsctl.errors import UsageError
from wsctl.origins import origin
from wsctl.redis_url import parse as parse_redis
from wsctl.topics import topic_pattern

ENV_PREFIX = "WSCTL_"

LONGEST = 100 * 365 * 86_400.0
"""The longest duration, in seconds: a hundred years. Much more overflows the arithmetic of clocks."""

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/s)?(?:(?::| burst )(\d{1,9}))?")


class Rate(NamedTuple):
    """A token bucket: `per_second` refills it, `burst` is its size. Zero per second: no limit."""

    per_second: float
    burst: int


class PolicyAction(StrEnum):
    """The actions of a drain on a connection of an application: wait for it until the deadline, give it some
    time from the notice on, or close it."""

    FINISH = "finish"
    NOTIFY = "notify"
    CLOSE = "close"


class DrainPolicy(NamedTuple):
    """The action for the connections whose path matches `pattern`, in which `*` is any text; `seconds` are
    those of `NOTIFY`."""

    pattern: str
    action: PolicyAction
    seconds: float = 0.0

    def __str__(self) -> str:
        limit = f":{self.seconds:.12g}s" if self.action is PolicyAction.NOTIFY else ""
        return f"{self.pattern}={self.action}{limit}"


def duration(text: str) -> float:
    """Parse `90`, `1.5`, `30s`, `5m`, `2h` or `250ms` into seconds."""
    found = _AMOUNT.fullmatch(text.strip().lower())
    if not found or found[2] not in _SECONDS:
        raise ValueError(f"{text!r} is not a duration: write seconds or 30s, 5m, 2h")
    if (seconds := float(found[1]) * _SECONDS[found[2]]) > LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def size(text: str) -> int:
    """Parse `65536`, `64k` or `1m` (powers of 1024) into bytes."""
    found = _AMOUNT.fullmatch(text.strip().lower())
    unit = found[2].removesuffix("ib").removesuffix("b") if found else "?"
    if not found or unit not in _BYTES or not isfinite(amount := float(found[1]) * _BYTES[unit]):
        raise ValueError(f"{text!r} is not a size: write bytes or 64k, 1m")
    return int(amount)


def rate(text: str) -> Rate:
    """Parse `20`, `20/s`, `20/s:40` or `20/s burst 40`; a burst is two seconds' worth unless given."""
    found = _RATE.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"{text!r} is not a rate: write 20, 20/s or 20/s:40 (40 at once)")
    per_second = float(found[1])
    burst = int(found[2]) if found[2] else max(1, round(2 * per_second))
    if burst < 1:
        raise ValueError(f"{text!r} lets no message through: the burst is at least 1")
    return Rate(per_second, burst)


def whole_number(text: str, least: int, digits: int) -> int:
    """Parse a whole number from `least` on, which has so many `digits` at most."""
    if not re.fullmatch(rf"\d{{1,{digits}}}", text.strip()) or int(text) < least:
        raise ValueError(f"{text!r} is not a whole number from {least} to {10**digits - 1}")
    return int(text)


def count(text: str) -> int:
    """Parse a whole number, zero or more."""
    return whole_number(text, 0, 18)  # more overflows what the kernel counts with


def port_number(text: str) -> int:
    """Parse a TCP port, 0 to let the kernel pick one."""
    if text.startswith("tcp://"):
        cause = "Kubernetes tells so of a Service named wsctl: set enableServiceLinks: false in the pod"
        raise ValueError(f"{text!r} is not a port; {cause}")
    if not re.fullmatch(r"\d{1,9}", text.strip()) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port: write 0 to 65535")
    return int(text)


def boolean(text: str) -> bool:
    """Parse a switch as the environment spells it."""
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on", "y", "t"}:
        return True
    if word in {"0", "false", "no", "off", "n", "f", ""}:
        return False
    raise ValueError(f"{text!r} is neither yes nor no: write 1 or 0")


EVERY_TOPIC = (">",)
"""The patterns of whoever may use every topic, and messages without one."""


def topic_patterns(text: str) -> tuple[str, ...]:
    """Parse patterns of topics, separated by commas or spaces, or a switch: `on` is every topic, and messages
    without one; `off` is none."""
    try:
        return EVERY_TOPIC if boolean(text) else ()
    except ValueError:
        words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    try:
        return tuple(dict.fromkeys(topic_pattern(word) for word in words))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; write on, off, or patterns as in chat.*,orders.>") from None


def choice(*words: str) -> Callable[[str], str]:
    """Return a parser that takes one of some words."""

    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def algorithm(text: str) -> str:
    """Parse the name of an algorithm of JSON Web Tokens, as RFC 7518 and RFC 8037 spell it."""
    found = next((name for name in ALGORITHMS if name.lower() == text.strip().lower()), None)
    if found is None:
        raise ValueError(f"{text!r} is not one of {', '.join(ALGORITHMS)}")
    return found


def origins(text: str) -> tuple[str, ...]:
    """Parse origins (`https://example.org`, `https://*.example.org`, `null`) or `*`, separated by commas or
    spaces, into the form that browsers send."""
    return tuple(dict.fromkeys(origin(word) for word in re.split(r"[,\s]+", text.strip()) if word))


def application_name(text: str) -> str:
    """Check the name of an application, `module:attribute`."""
    module, _, attribute = text.strip().partition(":")
    if not all(part.isidentifier() for name in (module, attribute) for part in name.split(".")):
        raise ValueError(f"{text!r} names no application: write module:attribute, as in main:app")
    return text.strip()


def listening_host(text: str) -> str:
    """Check an address or a name to listen on. An empty one would mean every address, without saying so."""
    if not text or not text.isprintable() or re.search(r"\s", text):
        raise ValueError(f"{text!r} is no address: write 127.0.0.1, or 0.0.0.0 or :: for all of this machine")
    return text


def path_prefix(text: str) -> str:
    """Parse the path under which a proxy serves a server: none, or one from the root on."""
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no path of a proxy: begin it with /, as in /chat")
    return text.rstrip("/")


def host_names(text: str) -> tuple[str, ...]:
    """Parse names of this server, or `*` for all, separated by commas or spaces, into the form that browsers
    send."""
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    return tuple(dict.fromkeys(_host_name(word) for word in words))


def _host_name(word: str) -> str:
    try:
        return word if word == "*" else browser_host(word.removesuffix("."))
    except ValueError as error:
        hint = "write chat.example.org, without scheme and port, or * for all"
        raise ValueError(f"{word!r} is no name of a host: {error}; {hint}") from None


EVERY_PROXY = "*"
"""The word for every address: whoever connects is a proxy. Meant for servers that nobody else reaches."""


def proxies(text: str) -> str:
    """Check addresses and networks, or `*`, separated by commas or spaces; an empty text is nobody."""
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    if EVERY_PROXY in words and len(words) > 1:
        raise ValueError(f"{text!r}: * is everybody, leave out the others")
    for word in words:
        try:
            _ = word == EVERY_PROXY or ip_network(word)
        except ValueError:
            hint = "write 10.0.0.1, 10.0.0.0/8, or * for all"
            raise ValueError(f"{word!r} is no address and no network; {hint}") from None
    return ",".join(words)


def redis_url(text: str) -> str:
    """Check a Redis URL with `redis_url.parse`, and return it as it was given."""
    parse_redis(text)
    return text.strip()


def key_prefix(text: str) -> str:
    """Check the prefix of the names of keys; no braces, for the names need their own."""
    if not text or len(text) > 64 or not text.isprintable() or set(text) & set("{} "):
        raise ValueError(f"{text!r} is not a prefix: write 1 to 64 characters without spaces and braces")
    return text


def drain_policies(text: str) -> tuple[DrainPolicy, ...]:
    """Parse `/events=close`, `/ws/voice/*=finish` or `*=notify:30s`, or several separated by spaces."""
    return tuple(_drain_policy(word) for word in text.split())


def _drain_policy(text: str) -> DrainPolicy:
    pattern, _, what = text.rpartition("=")
    action, colon, seconds = what.partition(":")
    if not pattern.startswith(("/", "*")):
        raise ValueError(f"{text!r} is no policy: write a path, = and finish, close or notify:30s")
    if action not in set(PolicyAction) or bool(colon) != (action == PolicyAction.NOTIFY):
        raise ValueError(f"{what!r} is no policy for {pattern}: write finish, close or notify:30s")
    return DrainPolicy(pattern, PolicyAction(action), duration(seconds) if colon else 0.0)


def folders(text: str) -> tuple[str, ...]:
    """Parse a folder, or several separated by colons, as in `PATH`."""
    if not all(found := text.split(":")):
        raise ValueError(f"{text!r} names no folder: write one, as in src")
    return tuple(found)


def _setting(default: Any, parse: Callable[[str], Any], metavar: str, text: str) -> Any:
    return field(default=default, metadata={"parse": parse, "metavar": metavar, "help": text})


ALGORITHMS = ("HS256", "RS256", "EdDSA")
"""The algorithms with which tokens can be signed."""

Auth = Literal["none", "token", "jwt"]
JournalSync = Literal["full", "normal"]
Traces = Literal["off", "on", "messages"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of `serve`. Durations are in seconds, sizes in bytes; 0 lifts a limit."""

    app: str | None = field(
        default=None,
        metadata={
            "parse": application_name,
            "metavar": "MODULE:ATTRIBUTE",
            "help": "ASGI application to serve, as in main:app; without it, wsctl's own.",
            "argument": True,
        },
    )
    app_dir: str = _setting("", str, "FOLDER", "Folder to import the application from, beside this one.")
    factory: bool = _setting(False, boolean, "", "The attribute is a function that makes the application.")
    env_file: str | None = _setting(
        None, str, "FILE", "File of variables that are set before the application is imported."
    )
    # As long as systemd waits for a service to start is 90 seconds; a load balancer gives up before.
    startup_timeout: float = _setting(
        60.0, duration, "DURATION", "Time that the application has for its start (lifespan); 0 for no limit."
    )
    # Longer than a look into a database takes, shorter than people wait for an answer.
    hook_timeout: float = _setting(
        5.0, duration, "DURATION", "Time that a hook of an application's hub has; 0 for no limit."
    )
    reload: bool = _setting(
        False, boolean, "", "Serve changed code at once, in a fresh process; for development."
    )
    reload_dir: tuple[str, ...] = _setting(
        (),
        folders,
        "FOLDER",
        "Folder whose Python files are watched for that (repeat); this one and --app-dir unless given.",
    )
    host: str = _setting("127.0.0.1", listening_host, "ADDRESS", "Address to listen on.")
    port: int = _setting(8000, port_number, "PORT", "Port to listen on; 0 picks one and prints it.")
    uds: str | None = _setting(None, str, "PATH", "Listen on a Unix socket instead.")
    fd: int | None = _setting(None, count, "FD", "Listen on a socket inherited as this descriptor.")
    admin_host: str = _setting("127.0.0.1", listening_host, "ADDRESS", "Address of --admin-port.")
    admin_port: int | None = _setting(
        None,
        port_number,
        "PORT",
        "Port of its own for health, metrics, /api and /docs; metrics and /api are then nowhere else. 0 picks"
        " one and prints it.",
    )
    # 2048 is uvicorn's default.
    backlog: int = _setting(2048, count, "COUNT", "Connections that may wait in the kernel to be accepted.")
    # Half an hour is what long-lived sockets behind a deploy are commonly given to leave by themselves.
    shutdown_timeout: float = _setting(
        1800.0, duration, "DURATION", "Longest drain; remaining clients are then closed by force."
    )
    drain_delay: float = _setting(
        0.0,
        duration,
        "DURATION",
        "Time before a drain: not ready any more, but new clients are still accepted.",
    )
    drain_spread: float = _setting(
        0.0,
        duration,
        "DURATION",
        "Time before the deadline over which remaining clients are closed one by one.",
    )
    reconnect_window: float = _setting(
        0.0, duration, "DURATION", "Time over which clients are asked to reconnect, each at its own moment."
    )
    drain_policy: tuple[DrainPolicy, ...] = _setting(
        (),
        drain_policies,
        "PATH=ACTION",
        "What a drain does to an application's connections at a path: finish, close or notify:30s (repeat; "
        "the first match counts).",
    )
    stop_timeout: float | None = _setting(
        None, duration, "DURATION", "Time that the platform leaves between SIGTERM and SIGKILL."
    )
    broadcast_interval: float = _setting(
        10.0, duration, "DURATION", "Time between two periodic test messages; 0 turns them off."
    )
    # 10,000 messages are a minute and a half of a hundred a second: longer than a restart takes.
    history: int = _setting(10_000, count, "COUNT", "Messages kept for clients that resume; 0 keeps none.")
    history_bytes: int = _setting(
        64 << 20, size, "SIZE", "Bytes of messages kept for clients that resume, at most."
    )
    history_ttl: float = _setting(
        0.0, duration, "DURATION", "Age at which a kept message is dropped; 0 for none."
    )
    journal: str | None = _setting(
        None, str, "FILE", "File that keeps the messages over a crash and a restart."
    )
    journal_sync: JournalSync = _setting(
        "full",
        choice("full", "normal"),
        "KIND",
        "What a message in the journal survives: full, a power cut too; normal, a crash.",
    )
    redis: str | None = field(
        default=None,
        repr=False,
        metadata={
            "parse": redis_url,
            "metavar": "URL",
            "help": "Redis through which servers share messages, history and presence.",
        },
    )
    redis_prefix: str = _setting("wsctl", key_prefix, "TEXT", "Prefix of all keys in Redis.")
    max_draining: int = _setting(
        0, count, "COUNT", "Servers of one Redis that may drain at a time; the others wait. 0: all."
    )
    max_connections: int | None = _setting(
        None, count, "COUNT", "Clients at a time; unless given, what the limit of open files allows."
    )
    max_connection_age: float = _setting(
        0.0,
        duration,
        "DURATION",
        "Age at which a client is asked to reconnect, each a little sooner or later.",
    )
    # One is what presence and direct messages are read by; a user with several tabs needs more.
    connections_per_id: int = _setting(
        1, count, "COUNT", "Connections that one client id may have; one more closes the oldest. 0: any."
    )
    # As many as a person follows; each costs memory at every server.
    max_subscriptions: int = _setting(100, count, "COUNT", "Subscriptions that a client may have.")
    # 64 KiB: a chat message or an event, not a file.
    max_message_size: int = _setting(65536, size, "SIZE", "Longest message a client may send.")
    # A mebibyte is a minute of 128-byte messages at 130 a second.
    max_queue: int = _setting(1 << 20, size, "SIZE", "Bytes that may wait to be sent to one client.")
    rate: Rate = _setting(
        Rate(20, 40), rate, "RATE", "Messages a client may send: 20/s:40 is 20 a second, 40 at once."
    )
    allow_origin: tuple[str, ...] = _setting(
        (),
        origins,
        "ORIGIN",
        "Let web pages of this origin connect (repeat; https://*.example.org for subdomains, * for all).",
    )
    allow_host: tuple[str, ...] = _setting(
        (), host_names, "NAME", "Host name of a server on loopback, beside localhost (repeat; * for all)."
    )
    client_publish: tuple[str, ...] = _setting(
        EVERY_TOPIC,
        topic_patterns,
        "TOPICS",
        "Topics to which clients may publish: on (and without one), off, or patterns (chat.*,orders.>).",
    )
    client_subscribe: tuple[str, ...] = _setting(
        EVERY_TOPIC, topic_patterns, "TOPICS", "Topics that clients may subscribe to: on, off, or patterns."
    )
    # Off: without --auth jwt an id belongs to nobody.
    client_direct: bool = _setting(False, boolean, "", "Let clients send direct messages.")
    auth: Auth = _setting(
        "none",
        choice("none", "token", "jwt"),
        "KIND",
        "Credentials a client must show to connect: none, token or jwt.",
    )
    jwt_key: str | None = _setting(
        None, str, "FILE", "Key that checks JWTs: a public key (PEM), a JWKS, or a shared secret."
    )
    # Not needed where the file leaves no doubt.
    jwt_algorithm: str | None = _setting(
        None, algorithm, "NAME", "Algorithm of --jwt-key: HS256 (a secret), RS256 or EdDSA."
    )
    jwt_audience: str | None = _setting(None, str, "TEXT", "Audience that a JWT must name in aud.")
    # Off, because addresses end up in logs, in browsers' histories and in what proxies keep.
    auth_query: bool = _setting(False, boolean, "", "Accept a client's token in ?access_token= too.")
    workers: int = _setting(1, count, "COUNT", "Worker processes that serve on the same address.")
    ssl_certfile: str | None = _setting(None, str, "FILE", "Certificate chain, PEM.")
    ssl_keyfile: str | None = _setting(None, str, "FILE", "Private key, PEM.")
    proxy_headers: bool = _setting(
        True, boolean, "", "Trust X-Forwarded-* headers from --forwarded-allow-ips."
    )
    forwarded_allow_ips: str | None = _setting(
        None, proxies, "ADDRESSES", "Addresses or networks of trusted proxies; loopback unless given."
    )
    root_path: str = _setting("", path_prefix, "PREFIX", "Path under which a proxy serves this server.")
    log_level: LogLevel = _setting(
        "info",
        choice("debug", "info", "warning", "error"),
        "LEVEL",
        "Least level that is logged: debug, info, warning or error.",
    )
    log_format: LogFormat = _setting(
        "auto",
        choice("auto", "text", "json"),
        "FORMAT",
        "Format of log lines: auto (which is text), text or json.",
    )
    tracing: Traces = _setting(
        "off",
        choice("off", "on", "messages"),
        "KIND",
        "OpenTelemetry traces of publishing: off, on, or messages, which carry the trace context then.",
    )
    access_log: bool = _setting(False, boolean, "", "Log each HTTP request.")
    # 20 s and 20 s are uvicorn's and websockets' defaults; load balancers cut at 60 s and more.
    ping_interval: float = _setting(20.0, duration, "DURATION", "Silence after which a client is pinged.")
    ping_timeout: float = _setting(20.0, duration, "DURATION", "Time a client has to answer a ping.")

    token: str | None = field(default=None, repr=False)
    """The bearer token of the control routes; from `WSCTL_TOKEN` or `WSCTL_TOKEN_FILE`, never a flag."""
    publish_token: str | None = field(default=None, repr=False)
    """The bearer token with which programs may publish, and nothing else; from `WSCTL_PUBLISH_TOKEN` or
    `WSCTL_PUBLISH_TOKEN_FILE`."""
    redis_password: str | None = field(default=None, repr=False)
    """The password of the Redis; from `WSCTL_REDIS_PASSWORD` or `WSCTL_REDIS_PASSWORD_FILE`; beats one in the
    URL."""
    client_token: str | None = field(default=None, repr=False)
    """The token that clients show under `--auth token`; from `WSCTL_CLIENT_TOKEN` or
    `WSCTL_CLIENT_TOKEN_FILE`."""

    def __post_init__(self) -> None:
        if self.ssl_keyfile and not self.ssl_certfile:
            raise UsageError("--ssl-keyfile needs --ssl-certfile: give both")
        if self.uds is not None and self.fd is not None:
            raise UsageError("--uds and --fd are two places to listen: give one")
        if self.uds is not None and self.ssl_certfile:
            raise UsageError("--uds and --ssl-certfile: a Unix socket has no TLS, give one")
        self._check_admin()
        self._check_journal()
        if self.max_draining and not self.redis:
            raise UsageError("--max-draining needs --redis: servers take turns through it")
        self._check_auth()
        if not 1 <= self.backlog < 1 << 31:
            raise UsageError(f"--backlog {self.backlog} is out of range: write 1 to {(1 << 31) - 1}")
        self._check_application()
        if self.publish_token is not None and self.publish_token == self.token:
            text = "WSCTL_PUBLISH_TOKEN is WSCTL_TOKEN too, with which one may do everything"
            raise UsageError(f"{text}: give publishers another one")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers} is out of range: write 1 or more")

    def _check_admin(self) -> None:
        """Check that the admin address is complete, and another one than that of clients."""
        if self.admin_port is None and self.admin_host != "127.0.0.1":
            raise UsageError("--admin-host needs --admin-port: give both")
        on_port = self.uds is None and self.fd is None and self.port
        if on_port and self.admin_port == self.port:
            raise UsageError(f"--admin-port {self.port} is --port too: give it another one, or 0")

    def _check_journal(self) -> None:
        if self.journal == "":
            raise UsageError("--journal is empty: name a file, or leave it out")
        if self.journal and self.redis:
            raise UsageError("--journal and --redis: messages are kept in one of them, give one")
        if self.journal_sync != "full" and not self.journal:
            raise UsageError("--journal-sync needs --journal: give both")

    def _check_application(self) -> None:
        """Check that what is meant for an application of one's own has one."""
        names = ("app_dir", "factory", "env_file", "reload", "reload_dir", "drain_policy")
        unused = next((name for name in names if getattr(self, name)), None)
        if unused and self.app is None:
            raise UsageError(f"{flag(unused)} needs an application: wsctl serve main:app {flag(unused)} ...")
        if self.reload_dir and not self.reload:
            raise UsageError("--reload-dir needs --reload: give both")
        if self.reload and self.workers > 1:
            raise UsageError("--reload serves with one process: leave out --workers while you develop")

    def _check_auth(self) -> None:
        """Check that the settings of `--auth` fit together. A key that is not used is an error: whoever gives
        one believes that credentials are asked for."""
        if self.auth == "jwt" and not self.jwt_key:
            raise UsageError("--auth jwt needs --jwt-key FILE, with which tokens are checked")
        if self.jwt_key and self.auth != "jwt":
            raise UsageError("--jwt-key needs --auth jwt: give both")
        if self.jwt_algorithm is not None and self.auth != "jwt":
            raise UsageError("--jwt-algorithm needs --auth jwt: give both")
        if self.jwt_audience is not None and self.auth != "jwt":
            raise UsageError("--jwt-audience needs --auth jwt: give both")
        if self.jwt_audience == "":
            raise UsageError("--jwt-audience is empty: name one, or leave it out")
        if self.auth_query and self.auth == "none":
            raise UsageError("--auth-query needs --auth token or --auth jwt: there is nothing to take")


FLAGS = tuple(f for f in fields(Settings) if "parse" in f.metadata)
"""The fields that are flags and variables, in the order help shows them."""


SECRETS = tuple(f.name for f in fields(Settings) if "parse" not in f.metadata)
"""The fields that are variables and never flags, because everybody can read a command line."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Read settings from `WSCTL_*` alone, for a server that has no command line of ours.

    Raises:
        UsageError: a variable's value cannot be read; the text names the variable.
    """
    given = {
        f.name: _read(environ, f.name, f.metadata["parse"]) for f in FLAGS if variable(f.name) in environ
    }
    return Settings(**given, **secrets(environ, given.get("auth")))


def _read(environ: Mapping[str, str], name: str, parse: Callable[[str], object]) -> Any:
    try:
        return parse(environ[variable(name)])
    except ValueError as error:
        raise UsageError(f"{variable(name)}: {error}") from None


def secrets(environ: Mapping[str, str], auth: str | None = None) -> dict[str, Any]:
    """Read the settings that are never flags. The clients' token is read only for `--auth token`: else it is
    there for a client.

    Raises:
        UsageError: one of them cannot be read.
    """
    found = {
        "token": read_token(environ),
        "publish_token": read_publish_token(environ),
        "redis_password": _secret(environ, "WSCTL_REDIS_PASSWORD"),
    }
    return found | ({"client_token": read_client_token(environ)} if auth == "token" else {})


def read_token(environ: Mapping[str, str]) -> str | None:
    """Read the control token from `WSCTL_TOKEN`, or from the file that `WSCTL_TOKEN_FILE` names.

    Raises:
        UsageError: the file cannot be read, or the token is empty or no visible ASCII (RFC 6750).
    """
    return _bearer(environ, "WSCTL_TOKEN", "the control token")


def read_publish_token(environ: Mapping[str, str]) -> str | None:
    """Read the token of publishers from `WSCTL_PUBLISH_TOKEN`, or from the file that
    `WSCTL_PUBLISH_TOKEN_FILE` names.

    Raises:
        UsageError: as for `read_token`.
    """
    return _bearer(environ, "WSCTL_PUBLISH_TOKEN", "the token of publishers")


def read_client_token(environ: Mapping[str, str]) -> str | None:
    """Read the token that a client shows to connect from `WSCTL_CLIENT_TOKEN`, or from the file that
    `WSCTL_CLIENT_TOKEN_FILE` names.

    Raises:
        UsageError: as for `read_token`.
    """
    return _bearer(environ, "WSCTL_CLIENT_TOKEN", "the client token")


def _bearer(environ: Mapping[str, str], name: str, meaning: str) -> str | None:
    token = _secret(environ, name)
    return None if token is None else bearer_token(token, meaning)


def bearer_token(text: str, meaning: str) -> str:
    """Return a text that can be shown as a token; `meaning` names it in the error.

    Raises:
        UsageError: it is empty, or no visible ASCII (RFC 6750), or what a command printed in its place.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise UsageError(f"{meaning} is empty or has characters that a header cannot carry")
    if other := _no_token(text):
        raise UsageError(f"{meaning} looks like {other}, which others know: write the token alone")
    return text


def _no_token(text: str) -> str | None:
    """Name what a text is that was written in place of a token, as by a command that got an error in answer;
    None when it may be a token."""
    if re.match(r"<[!?/a-zA-Z].*>$", text):
        return "markup"
    try:
        return "JSON" if isinstance(json.loads(text), dict | list) else None
    except (ValueError, RecursionError):
        return None


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    """Read a secret from the variable itself, or from the file that `NAME_FILE` names."""
    secret, path = environ.get(name), environ.get(f"{name}_FILE")
    if secret is not None or path is None:
        return secret
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"{name}_FILE: cannot read {path}: {why}; correct it") from None
    except ValueError:  # a name that no file has, or bytes that are no text
        raise UsageError(f"{name}_FILE: {path!r} is no text file: write the secret into one") from None
