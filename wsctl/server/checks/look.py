"""All checks, each with its facts, as `wsctl check` runs them."""

from collections.abc import Iterator, Mapping

from wsctl.lifecycle.runtime import runtime_folder
from wsctl.server.checks import (
    certificate,
    cgroup,
    credentials,
    descriptors,
    exposure,
    folder,
    kernel,
    listening,
    network,
    pace,
    platform,
    resources,
    stopping,
    store,
    variables,
)
from wsctl.server.checks.finding import Finding, error
from wsctl.server.checks.systemd import Unanswered, Unit, ask
from wsctl.settings import Settings


def look(settings: Settings, environ: Mapping[str, str], unit: str | None = None) -> Iterator[Finding]:
    """Yield the findings about these settings and this machine, each as soon as it is known; the worst that
    can happen to clients first. `unit` is the service of systemd that is to run the server."""
    service, troubles = _service(unit)
    yield from troubles
    if service:
        yield stopping.by_unit(settings, service)
    if not unit or settings.stop_timeout is not None:
        yield platform.killer(settings, environ)
    yield listening.check(settings, environ, listening.running(environ))
    if settings.ssl_certfile:
        yield certificate.check(settings.ssl_certfile, settings.ssl_keyfile)
    if settings.redis:
        yield from store.check(settings)
    yield from filter(None, [network.sharing(settings)])
    yield from _limits(settings, service)
    yield kernel.check(settings.backlog, kernel.own_queues())
    yield network.leaving(settings)
    yield from pace.check(settings)
    yield network.keepalive(settings.ping_interval)
    yield from filter(None, [network.readiness(settings, platform.in_kubernetes(environ))])
    yield exposure.token(settings)
    yield from filter(None, [exposure.proxies(settings)])
    yield credentials.check(settings)
    keys = {"--ssl-keyfile": settings.ssl_keyfile, "--jwt-key": credentials.secret_key(settings)}
    yield from exposure.secret_files(environ, keys)
    yield from variables.check(settings, environ)
    yield folder.check(runtime_folder(environ))


def _limits(settings: Settings, service: Unit | None) -> Iterator[Finding]:
    if service and service.open_files is not None:
        yield descriptors.check(settings.max_connections, service.open_files, f" in {service.name}")
    else:
        yield descriptors.check(settings.max_connections, descriptors.own_limit())
    yield resources.memory(settings, resources.bytes_available(cgroup.memory_limit()))
    yield from filter(None, [resources.processes(settings.workers, cgroup.process_limit())])


def _service(unit: str | None) -> tuple[Unit | None, list[Finding]]:
    """Return the unit that was named, or the finding that systemd does not know it."""
    try:
        return (_named(unit) if unit else None), []
    except Unanswered as failure:
        remedy = "name a unit that 'systemctl list-unit-files' shows, or leave out --unit"
        return None, [error(stopping.NAME, str(failure), remedy)]


def _named(unit: str) -> Unit:
    """Ask the system's systemd about a unit, else the caller's own."""
    try:
        return ask(unit)
    except Unanswered:
        try:
            return ask(unit, user=True)
        except Unanswered:
            pass
        raise
