"""The server that a command means: one of this machine's, or an address."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from wsctl.errors import Silent, Unreachable, UsageError
from wsctl.process.registry import ServerRecord, running_servers, runtime_folder
from wsctl.settings import read_publish_token, read_token

_CLIENT = "/ws/"
"""The path before the id at the end of a client's address."""

PROC = Path("/proc")

_STOPPED = "Tt"
"""The states of proc(5) and ps(1) that a stop signal and a debugger make."""

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how it is reached. `url` is http(s), without a slash at the end, and None when clients
    reach it by the Unix socket `uds` only; `control` is the path of its control socket when it is on this
    machine, `generation` which of the processes that have or had its address this one is."""

    url: str | None
    uds: str | None = None
    control: str | None = None
    token: str | None = None
    generation: int = 1

    @property
    def name(self) -> str:
        """The name of the server in messages for people."""
        return self.url or f"unix:{self.uds}"

    @property
    def pid(self) -> int | None:
        """The process id of the server, when it is on this machine."""
        return int(Path(self.control).stem) if self.control else None

    @property
    def process(self) -> str:
        """The name of the server, told from other processes that have its address, as workers have."""
        return f"{self.name} (pid {self.pid})" if self.control else self.name

    def precedes(self, other: "Target") -> bool:
        """Tell whether the other process has taken over the address of this one."""
        return self.name == other.name and self.generation < other.generation

    def websocket(self, client_id: str) -> str:
        """Return the WebSocket URL of a client id; its host means nothing when `uds` is set."""
        base = self.url or "http://localhost"
        scheme, rest = base.split("://", 1)
        return f"{_SCHEMES[scheme]}://{rest}/ws/{quote(client_id, safe='@:+~')}"

    def events(self, client_id: str) -> str:
        """Return the path of a client id's event stream."""
        return f"{urlsplit(self.url or '').path}/events/{quote(client_id, safe='@:+~')}"


def find_publishing_target(url: str | None, port: int | None, environ: Mapping[str, str]) -> Target:
    """Find a server like `find_target`, to publish there: the token of publishers will do, where there is no
    other one."""
    found = find_target(url, port, environ)
    return replace(found, token=found.token or read_publish_token(environ))


def find_target(url: str | None, port: int | None, environ: Mapping[str, str]) -> Target:
    """Return the server at `url`, or the one of this machine, or the one of these that listens on `port`.

    A `port` beats the URL of `WSCTL_URL`, as a flag beats a variable. A server that has handed its address
    over and still drains is none of several: its successor is meant. Of workers their parent is meant, which
    speaks for all.

    Raises:
        UsageError: the URL is none, or several servers run and `port` does not choose one.
        Unreachable: no server runs here, or none on that port.
    """
    address = _address(url, port, environ)
    if address:
        return address
    chosen = _newest_generations(_without_workers(_running(port, environ)))
    if len(chosen) > 1:
        text = f"{len(chosen)} servers run here ({_listed(chosen)}): choose one with --port or --url"
        raise UsageError(text)
    return _local(chosen[0], environ)


def find_all_targets(url: str | None, port: int | None, environ: Mapping[str, str]) -> list[Target]:
    """Find servers like `find_target`, but several are no error, nor several generations of one, and workers
    are listed one by one: at least one, the oldest first."""
    address = _address(url, port, environ)
    if address:
        return [address]
    return [_local(record, environ) for record in _without_parents(_running(port, environ))]


def find_each_target(urls: Sequence[str], port: int | None, environ: Mapping[str, str]) -> list[Target]:
    """Find the server of each URL like `find_target`; one that is there twice counts once. Without a URL, the
    server of this machine. A `port` beats what is in `WSCTL_URL`."""
    if port is not None and urls and " ".join(urls) == " ".join(environ.get("WSCTL_URL", "").split()):
        urls = ()
    targets = [find_target(url, port, environ) for url in urls] or [find_target(None, port, environ)]
    return list(dict.fromkeys(targets))


def _address(url: str | None, port: int | None, environ: Mapping[str, str]) -> Target | None:
    if url is not None and port is not None:
        if url != environ.get("WSCTL_URL"):
            raise UsageError("--url and --port both choose a server: give one of them")
        url = None
    return None if url is None else Target(url=server_url(url), token=read_token(environ))


def _local(record: ServerRecord, environ: Mapping[str, str]) -> Target:
    return Target(record.url, record.uds, record.control, read_token(environ), record.generation)


def _running(port: int | None, environ: Mapping[str, str]) -> list[ServerRecord]:
    running = running_servers(runtime_folder(environ))
    chosen = [r for r in running if port is None or port in (r.port, r.admin_port)]
    if chosen:
        return chosen
    if running:
        text = f"no server on port {port}: those that run here are {_listed(running)}"
        raise Unreachable(f"{text}; {_uvicorn(port)}")
    where = f" on port {port}" if port is not None else ""
    text = f"no server runs here{where}: start one with 'wsctl serve', or name one with --url"
    raise Unreachable(f"{text}; {_uvicorn(port)}")


def _uvicorn(port: int | None) -> str:
    """Say how to name a server that announces itself nowhere."""
    return f"for one under plain uvicorn: --url http://127.0.0.1:{port or 8000}"


def _without_workers(records: list[ServerRecord]) -> list[ServerRecord]:
    """Leave out workers whose parent is there."""
    pids = {r.pid for r in records}
    return [r for r in records if r.parent not in pids]


def _without_parents(records: list[ServerRecord]) -> list[ServerRecord]:
    """Leave out parents whose workers are there."""
    parents = {r.parent for r in records}
    return [r for r in records if r.pid not in parents]


def _newest_generations(records: list[ServerRecord]) -> list[ServerRecord]:
    """Keep, for each address, the process that was started last, which has it now."""
    return list({(r.url, r.uds): r for r in records}.values())


def client_id_in(url: str) -> str | None:
    """Return the client id at the end of an address like ws://HOST/ws/ID; None where there is none."""
    return unquote(_split(urlsplit(url).path)[1]) or None


def _split(path: str) -> tuple[str, str]:
    """Return the path of a server and a client id, from that of either's address."""
    server, found, name = path.rpartition(_CLIENT)
    return (server, name) if found and name and "/" not in name else (path, "")


def server_url(url: str, name: str = "--url", source: str = "WSCTL_TOKEN_FILE") -> str:
    """Return the server's URL. A client's address is taken too, without the client: what other programs are
    given can be pasted. (A path that itself ends like one is written with a slash behind it.) Errors call it
    `name`, and say that a token comes from `source`.

    Raises:
        UsageError: it is no address.
    """
    try:
        parts = urlsplit(url)
        # The codec is what connecting uses, and knows what no host name can be.
        host = (parts.hostname or "").encode("idna")
        valid = parts.scheme in _SCHEMES and host and parts.port != 0 and url.isprintable()
    except ValueError:
        raise _no_address(url, name) from None
    if valid and (parts.query or parts.fragment):
        raise UsageError(f"{name} takes no query and no fragment: leave out what begins with ? or #")
    if not valid or " " in url:
        raise _no_address(url, name)
    if "@" in parts.netloc:
        raise UsageError(f"{name} takes no user or password: the token comes from {source}")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    path, _ = _split(parts.path)
    return f"{scheme}://{parts.netloc}{quote(path.rstrip('/'), safe='/%:@+~')}"


def _no_address(url: str, name: str) -> UsageError:
    return UsageError(f"{name} {url!r} is not an address: write http://HOST:PORT or https://HOST")


def _listed(records: list[ServerRecord]) -> str:
    return ", ".join(f"{r.url or r.uds} pid {r.pid}" for r in records)


def check_not_stopped(target: Target) -> None:
    """Check that a process can be asked: one that is stopped would do what was asked whenever it goes on.

    Raises:
        Silent: the process is stopped.
    """
    if target.pid and is_stopped(target.pid):
        how = f"'fg' in its shell or 'kill -CONT {target.pid}' lets it go on"
        raise Silent(f"{target.process} does not answer: it is stopped (Ctrl-Z or SIGSTOP); {how}")


def is_stopped(pid: int, proc: Path = PROC) -> bool:
    """Tell whether Ctrl-Z, SIGSTOP or a debugger has stopped a process; False where that cannot be found
    out."""
    if (proc / "self").exists():
        with suppress(OSError, IndexError):
            # The name of the program comes before, in brackets, and may have any character in it.
            return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in _STOPPED
        return False
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["ps", "-o", "state=", "-p", str(pid)]
        state = subprocess.run(asked, capture_output=True, text=True, timeout=1, check=False).stdout  # noqa: S603
        return state.strip()[:1] in tuple(_STOPPED)
    return False
