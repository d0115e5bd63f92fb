"""The facts that a deployment file needs beyond the settings."""

from dataclasses import dataclass

from wsctl.cli.recipes.quoting import check_writable
from wsctl.errors import UsageError
from wsctl.settings import Settings


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
