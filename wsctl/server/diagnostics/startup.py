"""The findings that a server logs when it starts: what is known to go wrong later."""

import logging
from collections.abc import Mapping

from wsctl.server.diagnostics.configuration import (
    check_drain_parts,
    check_embedded_variables,
    check_leaving,
    check_variables,
)
from wsctl.server.diagnostics.exposure import check_hosts
from wsctl.server.diagnostics.finding import log_advice, log_warnings
from wsctl.server.diagnostics.stop_time import reworded_for_embedded, stop_time_warning
from wsctl.server.diagnostics.topics import check_topics
from wsctl.settings import Settings

log = logging.getLogger("wsctl.server")


def log_startup(settings: Settings, environ: Mapping[str, str]) -> None:
    """Log of a server of ours: a platform that kills a drain, parts of a drain that do not fit, and settings
    that have no effect."""
    if warning := stop_time_warning(settings, environ):
        log.warning("%s", warning)
    log_warnings(check_drain_parts(settings))
    log_warnings(check_topics(settings))
    log_warnings(check_variables(settings, environ))
    log_warnings(filter(None, [check_hosts(settings)]))


def log_drain_advice(settings: Settings) -> None:
    """Log the advice about a drain, once a server of ours serves."""
    log_advice(check_leaving(settings))


def log_embedded_startup(settings: Settings, environ: Mapping[str, str], pid: int | None) -> None:
    """Log the same of the application under another ASGI server; `pid` is the process that gets its signals,
    None for this one. Asks systemd, and so takes its time."""
    if warning := stop_time_warning(settings, environ, pid=pid):
        log.warning("%s", reworded_for_embedded(warning))
    log_warnings(check_drain_parts(settings, embedded=True))
    log_warnings(check_topics(settings))
    log_warnings(check_embedded_variables(settings, environ))
    log_advice(check_leaving(settings, embedded=True))
