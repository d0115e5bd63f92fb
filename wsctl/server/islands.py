"""Whether the processes of one server know of each other's clients."""

from wsctl.settings import Settings

ISLANDS = (
    "several workers without a shared store: each is an island, and what a client says reaches only the "
    "clients of the worker that took it; run one worker"
)
"""What the log says of that, once."""


def islands(settings: Settings) -> bool:
    """Whether several processes with these settings share neither messages nor history."""
    return True
