"""All checks, each with its facts, as `wsctl check` runs them. Those that it alone makes are in this room:
rules that take facts and return findings, and beside each how its facts are gathered."""

from collections.abc import Iterable, Iterator, Mapping

from wsctl.errors import UsageError
from wsctl.log.journal import require_sqlite
from wsctl.process.registry import ServerRecord, runtime_folder
from wsctl.server.checks.address import check_address, check_admin_address, check_runtime_folder
from wsctl.server.checks.capacity import (
    bytes_available,
    check_backlog,
    check_memory,
    check_open_files,
    check_processes,
    kernel_queues,
    own_open_files,
)
from wsctl.server.checks.redis import check_redis
from wsctl.server.diagnostics import stop_time
from wsctl.server.diagnostics.certificate import check_certificate
from wsctl.server.diagnostics.configuration import (
    check_drain_parts,
    check_keepalive,
    check_leaving,
    check_readiness,
    check_variables,
)
from wsctl.server.diagnostics.exposure import (
    check_credentials,
    check_hosts,
    check_operator_token,
    check_proxies,
    check_secret_files,
    shared_secret_file,
)
from wsctl.server.diagnostics.finding import Finding, error
from wsctl.server.diagnostics.platform import (
    NoSystemd,
    Unanswered,
    Unit,
    in_kubernetes,
    memory_limit,
    process_limit,
    query_unit,
)
from wsctl.server.diagnostics.topics import check_topics
from wsctl.server.listening.sockets import own_servers
from wsctl.settings import Settings


def run_checks(settings: Settings, environ: Mapping[str, str], unit: str | None = None) -> Iterator[Finding]:
    """Yield the findings about these settings and this machine, each as soon as it is known; the worst that
    can happen to clients first. `unit` is the service of systemd that is to run the server."""
    service, troubles = _find_unit(unit)
    yield from troubles
    if service:
        yield stop_time.check_unit(settings, service)
    if not unit or settings.stop_timeout is not None:
        yield stop_time.check_own_platform(settings, environ)
    ours = own_servers(environ)
    yield check_address(settings, environ, ours)
    yield from filter(None, [check_admin_address(settings, ours)])
    if settings.ssl_certfile:
        yield check_certificate(settings.ssl_certfile, settings.ssl_keyfile)
    if settings.redis:
        yield from check_redis(settings)
    yield from _check_journal(settings, ours)
    yield from _check_limits(settings, service)
    yield check_backlog(settings.backlog, kernel_queues())
    yield check_leaving(settings)
    yield from check_drain_parts(settings)
    yield check_keepalive(settings.ping_interval)
    yield from filter(None, [check_readiness(settings, in_kubernetes(environ))])
    yield from check_topics(settings)
    yield check_operator_token(settings)
    yield from filter(None, [check_proxies(settings), check_hosts(settings)])
    yield check_credentials(settings)
    keys = {"--ssl-keyfile": settings.ssl_keyfile, "--jwt-key": shared_secret_file(settings)}
    yield from check_secret_files(environ, keys)
    yield from check_variables(settings, environ)
    yield check_runtime_folder(runtime_folder(environ))


def _check_journal(settings: Settings, ours: Iterable[ServerRecord]) -> Iterator[Finding]:
    """Check the journal, if there is one: only then SQLite is loaded."""
    if settings.journal is None:
        return
    try:
        require_sqlite()
    except UsageError as failure:
        text, _, fix = str(failure).partition(": ")
        yield error("journal", text, fix)
    else:
        from wsctl.server.checks.journal import check_journal

        yield from check_journal(settings.journal, settings, ours)


def _check_limits(settings: Settings, service: Unit | None) -> Iterator[Finding]:
    if service and service.open_files is not None:
        yield check_open_files(settings.max_connections, service.open_files, f" in {service.name}")
    else:
        yield check_open_files(settings.max_connections, own_open_files())
    yield check_memory(settings, bytes_available(memory_limit()))
    yield from filter(None, [check_processes(settings.workers, process_limit())])


def _find_unit(unit: str | None) -> tuple[Unit | None, list[Finding]]:
    """Return the unit that was named, or the finding that systemd does not know it."""
    try:
        return (_query_either(unit) if unit else None), []
    except Unanswered as failure:
        fix = "name a unit that 'systemctl list-unit-files' shows, or leave out --unit"
        if isinstance(failure, NoSystemd):
            fix = (
                f"check where {unit} is to run, or give its TimeoutStopSec as --stop-timeout, without --unit"
            )
        return None, [error(stop_time.NAME, str(failure), fix)]


def _query_either(unit: str) -> Unit:
    """Ask the system's systemd about a unit, else the caller's own."""
    try:
        return query_unit(unit)
    except Unanswered:
        try:
            return query_unit(unit, user=True)
        except Unanswered:
            pass
        raise
