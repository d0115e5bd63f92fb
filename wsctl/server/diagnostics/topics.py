"""The check of the settings about topics: permissions without an effect, and a history that is too short."""

from collections.abc import Iterator, Sequence

from wsctl.server.diagnostics.exposure import is_public
from wsctl.server.diagnostics.finding import Finding, warning
from wsctl.settings import Settings, flag
from wsctl.topics import REST, covers, overlap

NAME = "topics"

LONGEST_PAUSE = 30.0
"""Seconds that a client waits at most between two attempts to reconnect, as the protocol asks of all."""


def check_topics(settings: Settings) -> Iterator[Finding]:
    """Find settings about topics that have no effect, or another one than was meant. A token may say
    something else of its client, and an application does what it likes with what clients send."""
    yield from _check_history(settings)
    yield from _check_direct(settings)
    for name in ("client_subscribe", "client_publish"):
        yield from _check_repetitions(name, getattr(settings, name))
    if settings.auth != "jwt" and settings.app is None:
        yield from _check_receivers(settings.client_publish, settings.client_subscribe)


def _check_history(settings: Settings) -> Iterator[Finding]:
    ttl = settings.history_ttl
    if not ttl:
        return
    given = f"{flag('history_ttl')} {ttl:g}"
    if not settings.history or not settings.history_bytes:
        yield warning(
            NAME, f"{given} has no effect: no messages are kept", f"leave {flag('history_ttl')} out"
        )
    elif ttl < LONGEST_PAUSE:
        text = f"{given} is shorter than the {LONGEST_PAUSE:g} s that clients wait between two attempts"
        yield warning(NAME, f"{text}: they miss messages", f"{flag('history_ttl')} 5m, or leave it out")


def _check_direct(settings: Settings) -> Iterator[Finding]:
    given = flag("client_direct")
    if not settings.client_direct or settings.auth == "jwt":
        return
    if not settings.client_publish:
        text = f"{given} has no effect: clients may not publish"
        yield warning(NAME, text, f"leave it out, or allow topics by {flag('client_publish')}")
    elif is_public(settings):
        text = f"{given} lets anyone write to any client, in the name of any other that is not connected"
        yield warning(NAME, text, "--auth jwt, by which an id belongs to one client")


def _check_repetitions(name: str, patterns: Sequence[str]) -> Iterator[Finding]:
    """Find patterns that another one includes."""
    for pattern in patterns:
        wider = next((other for other in patterns if other != pattern and covers(other, pattern)), None)
        if wider is not None:
            text = f"{flag(name)}: {pattern} has no effect, for {wider} includes it"
            yield warning(NAME, text, f"leave {pattern} out, or {wider}")


def _check_receivers(publish: Sequence[str], subscribe: Sequence[str]) -> Iterator[Finding]:
    """Find topics to which clients may publish, and none of them may subscribe."""
    for pattern in publish:
        if pattern != REST and not any(overlap(pattern, other) for other in subscribe):
            text = f"clients may publish to {pattern}, and no client may subscribe to any of it"
            yield warning(NAME, text, f"allow it by {flag('client_subscribe')} too, or leave it out")
