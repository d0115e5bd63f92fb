"""The check whether the kernel queues as many connections as `--backlog` asks for."""

from dataclasses import dataclass
from pathlib import Path

from wsctl.server.checks.finding import Finding, fine, unknown, warning
from wsctl.server.checks.numbers import number

NAME = "backlog"


@dataclass(frozen=True, slots=True)
class Queues:
    """The bounds of the kernel's queues: `accepted` of the connections that wait for a server to accept them
    (net.core.somaxconn), `opening` of those in the middle of a TCP handshake (net.ipv4.tcp_max_syn_backlog);
    None: not known. With `cookies`, handshakes beyond these go on without a queue."""

    accepted: int | None
    opening: int | None
    cookies: bool


def check(backlog: int, queues: Queues) -> Finding:
    """Check whether the queues hold `backlog` connections, as many as `--backlog` asks for."""
    if queues.accepted is None:
        return unknown(NAME, "net.core.somaxconn is not to be read here")
    if queues.accepted < backlog:
        text = f"--backlog is {backlog}, but the kernel holds {queues.accepted} (net.core.somaxconn)"
        return warning(NAME, text, _raised("net.core.somaxconn", backlog))
    if queues.opening is not None and queues.opening < backlog and not queues.cookies:
        name = "net.ipv4.tcp_max_syn_backlog"
        text = f"{name} is {queues.opening} and there are no SYN cookies: a crowd of {backlog} is dropped"
        return warning(NAME, text, f"{_raised(name, backlog)}, or net.ipv4.tcp_syncookies=1")
    return fine(NAME, f"the kernel holds {backlog} connections while all are busy")


def own_queues(proc: Path = Path("/proc")) -> Queues:
    """Read the bounds of the queues from Linux; elsewhere nothing is known."""
    cookies = number(proc / "sys/net/ipv4/tcp_syncookies")
    return Queues(
        number(proc / "sys/net/core/somaxconn"),
        number(proc / "sys/net/ipv4/tcp_max_syn_backlog"),
        cookies is None or cookies > 0,
    )


def _raised(name: str, value: int) -> str:
    return f"sysctl -w {name}={value} (docker run --sysctl, securityContext.sysctls of a pod)"
