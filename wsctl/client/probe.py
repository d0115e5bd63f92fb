"""The text of a stress message: which one it is, and when it was sent."""

from typing import NamedTuple


class Probe(NamedTuple):
    """One message of a run; `sent_at` is in seconds of the run's clock."""

    number: int
    sent_at: float


def written(run: str, probe: Probe, size: int) -> str:
    """The text of a message, padded to `size` bytes; longer when its facts take more. ASCII."""
    return f"{run} {probe.number} {probe.sent_at:.6f} ".ljust(size, "x")


def read(run: str, text: object) -> Probe | None:
    """The message in a text; None when it is not one of this run."""
    if not isinstance(text, str) or not text.startswith(f"{run} "):
        return None
    try:
        _, number, sent_at, _ = text.split(" ", 3)
        return Probe(int(number), float(sent_at))
    except ValueError:
        return None
