"""The findings of `wsctl check` that a server logs at its start."""

import logging
from collections.abc import Iterable, Mapping

from wsctl.server.checks import pace, variables
from wsctl.server.checks.finding import Finding, Level
from wsctl.server.checks.platform import too_short
from wsctl.settings import Settings

log = logging.getLogger("wsctl.server")


def warn_of_start(settings: Settings, environ: Mapping[str, str]) -> None:
    """Log what is known to go wrong: a platform that kills a drain, parts of a drain that do not fit, and
    settings that have no effect."""
    if warning := too_short(settings, environ):
        log.warning("%s", warning)
    warn_of(pace.check(settings))
    warn_of(variables.check(settings, environ))


def advise(found: Finding) -> None:
    """Log an advice, if it is one: as information, since nothing is wrong."""
    if found.level is Level.ADVICE:
        log.info("%s: %s", found.text, found.fix)


def warn_of(found: Iterable[Finding]) -> None:
    """Log each finding with its fix, in one line."""
    for finding in found:
        log.warning("%s: %s", finding.text, finding.fix)
