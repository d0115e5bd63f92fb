"""The kinds of content that a client prefers: the header `Accept` (RFC 9110 section 12.5.1)."""

from typing import NamedTuple


class Preference(NamedTuple):
    """The weight that a client gives to one kind of content, from 0, not at all, to 1; `named` is true if it
    was asked for by name."""

    weight: float
    named: bool


def preference(accept: str, kind: str) -> Preference:
    """Return the preference for `kind`, such as `text/plain`. The closest of the ranges counts, and the
    greatest weight where one is there several times. Without a header everything is wanted alike."""
    if not accept.strip():
        return Preference(1.0, False)
    weights = _weights(accept)
    for closest in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if closest in weights:
            return Preference(weights[closest], closest == kind)
    return Preference(0.0, False)


def _weights(accept: str) -> dict[str, float]:
    """Return the weights by range, without those that cannot be read."""
    found: dict[str, float] = {}
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = _weight(parameters)
        if weight is not None:
            found[name] = max(weight, found.get(name, 0.0))
    return found


def _weight(parameters: list[str]) -> float | None:
    given = [
        value.strip() for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"
    ]
    if not given:
        return 1.0
    try:
        weight = float(given[0])
    except ValueError:
        return None
    return weight if 0 <= weight <= 1 else None
