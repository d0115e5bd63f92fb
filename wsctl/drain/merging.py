"""The drains of several workers as one, which the bar, the log and the commands show."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wsctl.drain.phases import Phase
from wsctl.drain.progress import LONGEST, ConnectionKind, DrainProgress, RouteCount

_ORDER = (Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING, Phase.STOPPED)
"""The phases of a drain as they follow each other."""


def merged(parts: Sequence[DrainProgress]) -> DrainProgress:
    """Return several drains, of which there is at least one, as one: counts are sums, times the longest.

    The phase is that of the one that is furthest behind, and only those that have not stopped say how much
    time remains; once all have, the last of them does. There is no ETA while one of them that still has
    clients cannot tell its own.
    """
    first, going = parts[0], [part for part in parts if part.phase is not Phase.STOPPED]
    longest = sorted((client for part in parts for client in part.longest), key=lambda c: -c.connected_s)
    return replace(
        first,
        phase=min((part.phase for part in parts), key=_ORDER.index),
        cancellable=all(part.cancellable for part in going or parts),
        started_with=sum(part.started_with for part in parts),
        active=sum(part.active for part in parts),
        elapsed_s=max(part.elapsed_s for part in parts),
        remaining_s=max(p.remaining_s for p in going) if going else min(p.remaining_s for p in parts),
        left=sum(part.left for part in parts),
        evicted=sum(part.evicted for part in parts),
        forced=sum(part.forced for part in parts),
        aborted=sum(part.aborted for part in parts),
        undelivered=sum(part.undelivered for part in parts),
        oldest=longest[0].client_id if longest else None,
        handed_over=sum(part.handed_over for part in parts),
        eta_s=_eta(parts),
        longest=tuple(longest[:LONGEST]),
        by_policy=sum(part.by_policy for part in parts),
        websockets=sum(part.websockets for part in parts),
        responses=sum(part.responses for part in parts),
        routes=busiest(route for part in parts for route in part.routes),
        waiting_for=max(part.waiting_for for part in parts),
    )


def busiest(routes: Iterable[RouteCount]) -> tuple[RouteCount, ...]:
    """Return the routes of several processes with their sums, the busiest first, as many as are shown."""
    total: Counter[tuple[ConnectionKind, str]] = Counter()
    for each in routes:
        total[each.kind, each.route] += each.connections
    return tuple(RouteCount(kind, route, count) for (kind, route), count in total.most_common(LONGEST))


def _eta(parts: Sequence[DrainProgress]) -> float | None:
    told = [part.eta_s for part in parts if part.active]
    return max((eta for eta in told if eta is not None), default=None) if None not in told else None


def cut_short(progress: DrainProgress) -> DrainProgress:
    """Return the drain of a process that was killed in it: its clients count as aborted."""
    if progress.phase is Phase.STOPPED:
        return progress
    return replace(
        progress,
        phase=Phase.STOPPED,
        active=0,
        aborted=progress.aborted + progress.active,
        oldest=None,
        eta_s=None,
        longest=(),
        websockets=0,
        responses=0,
        routes=(),
    )
