"""What the alerts are filled with."""

from collections.abc import Mapping

from wsctl.settings import Settings

LATE = 0.1
"""Of a drain's time, what is left of it when somebody should look: three minutes of half an hour."""


def values(settings: Settings) -> Mapping[str, str]:
    """The moment before the deadline at which a drain is worth a look."""
    return {"late": f"{settings.shutdown_timeout * LATE:g}"}
