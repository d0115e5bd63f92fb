"""The text of a stress message: its number, and when it was sent."""

from functools import lru_cache
from typing import NamedTuple

AT_ONCE = 16
"""Texts whose reading is remembered: each comes once for every client, nearly all of them in a row."""


class Probe(NamedTuple):
    """One message of a run; `sent_at` is in seconds of the run's clock."""

    number: int
    sent_at: float


def probe_text(run: str, probe: Probe, size: int) -> str:
    """Return the text of a message, padded to `size` bytes; longer when its facts take more. ASCII."""
    return f"{run} {probe.number} {probe.sent_at:.6f} ".ljust(size, "x")


def read_probe(run: str, text: object) -> Probe | None:
    """Return the message in a text; None when it is not one of this run."""
    return _parse(run, text) if isinstance(text, str) else None


@lru_cache(AT_ONCE)
def _parse(run: str, text: str) -> Probe | None:
    if not text.startswith(f"{run} "):
        return None
    try:
        _, number, sent_at, _ = text.split(" ", 3)
        return Probe(int(number), float(sent_at))
    except ValueError:
        return None
