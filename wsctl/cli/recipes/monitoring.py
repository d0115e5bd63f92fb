"""The values of the templates for Prometheus and Grafana."""

from collections.abc import Mapping

from wsctl import __version__
from wsctl.settings import Settings

LATE = 0.1
"""The share of a drain's time that is left when somebody should look: three minutes of half an hour."""


def dashboard(settings: Settings) -> Mapping[str, str]:
    """Return the version, which the description of the dashboard names."""
    return {"version": __version__}


def alerts(settings: Settings) -> Mapping[str, str]:
    """Return the time before the deadline at which a drain is worth a look, in seconds."""
    return {"late": f"{settings.shutdown_timeout * LATE:g}"}
