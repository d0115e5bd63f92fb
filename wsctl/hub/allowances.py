"""The rate limit's state of each client, which reconnecting does not change."""

import ipaddress
from collections.abc import Iterable
from typing import Any

from wsctl.hub.bucket import TokenBucket
from wsctl.hub.connection import Connection
from wsctl.settings import Rate

ADDRESS_FACTOR = 100
"""Clients of one address that may send a whole burst at the same moment, right after they have come: an
office behind one address does not do more, nor do thousands on one machine that send one message each. A
client that stays connected has its rate whatever the others of its address do."""

MOST_KEPT = 65_536
"""Buckets of each kind that are kept at most, some ten megabytes: more clients than can come and go in the
two seconds in which the default rate fills one. Beyond it the bucket that was put first is dropped."""

_IPV6_SITE = 64
"""Bits of an IPv6 address that are one customer's (RFC 6177): the rest is free to choose."""


class Allowances:
    """The token buckets of clients that left, by client id, each kept for as long as it takes to fill. With
    `by_address`, where anybody may take any id, the first burst of a new id is lent by the bucket of its
    address.

    The buckets belong to one process: other workers and other servers do not know them.
    """

    def __init__(self, rate: Rate, *, by_address: bool) -> None:
        self._rate = rate
        self._by_address = by_address
        self._lent = Rate(rate.per_second * ADDRESS_FACTOR, rate.burst * ADDRESS_FACTOR)
        self._left = _Buckets(rate)
        self._lenders = _Buckets(self._lent)

    def of(self, connection: Connection, now: float) -> TokenBucket:
        """Return the bucket for a client that has none yet: the one that its id has left, or a new one if
        that is full again."""
        bucket = self._left.take(connection.client_id, now)
        if bucket is None:
            earned = (now - connection.opened) * self._rate.per_second
            bucket = TokenBucket(self._rate.burst, now, earned=earned if self._by_address else None)
        if self._by_address:
            bucket.lender, bucket.lent = self._lender(site(connection.address), now), self._lent
        return bucket

    def find(self, client_id: str) -> TokenBucket | None:
        """Return the bucket that an id has left, which stays where it is; None: it would have a full one."""
        return self._left.find(client_id)

    def keep(self, connection: Connection, now: float) -> None:
        """Keep the bucket of a client that has left, unless it is full."""
        if connection.bucket and not connection.bucket.is_full(self._rate, now):
            connection.bucket.lender = None
            self._left.put(connection.client_id, connection.bucket, now)

    def snapshot(self, now: float, connections: Iterable[Connection] | None = None) -> dict[str, Any]:
        """Return the state that another process needs to go on: of the given clients, or without them of all
        ids that have left and of the addresses. Plain values, ages in seconds."""
        if connections is not None:
            return {"ids": [[c.client_id, *c.bucket.snapshot(now)] for c in connections if c.bucket]}
        return {"ids": self._left.snapshot(now), "addresses": self._lenders.snapshot(now)}

    def take_over(self, rates: dict[str, Any], now: float) -> None:
        """Go on from what `snapshot` returned in another process."""
        self._left.take_over(rates["ids"], now)
        self._lenders.take_over(rates.get("addresses", ()), now)

    def _lender(self, address: str, now: float) -> TokenBucket:
        lender = self._lenders.take(address, now) or TokenBucket(self._lent.burst, now)
        self._lenders.put(address, lender, now)
        return lender


class _Buckets:
    """Buckets that may not be full, by name, in the order in which they were put: the first one is full
    first."""

    def __init__(self, rate: Rate) -> None:
        self._fills_in = rate.burst / rate.per_second if rate.per_second else 0.0
        self._buckets: dict[str, tuple[TokenBucket, float]] = {}

    def take(self, name: str, now: float) -> TokenBucket | None:
        self._forget(now)
        found = self._buckets.pop(name, None)
        return found[0] if found else None

    def find(self, name: str) -> TokenBucket | None:
        found = self._buckets.get(name)
        return found[0] if found else None

    def put(self, name: str, bucket: TokenBucket, now: float) -> None:
        self._buckets.pop(name, None)
        self._buckets[name] = bucket, now
        self._forget(now)

    def snapshot(self, now: float) -> list[list[Any]]:
        return [[name, *bucket.snapshot(now)] for name, (bucket, _) in self._buckets.items()]

    def take_over(self, rows: Iterable[list[Any]], now: float) -> None:
        for name, *fields in rows:
            self.put(name, TokenBucket.restored(fields, now), now)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full by now, and the first ones beyond `MOST_KEPT`."""
        while self._buckets:
            name = next(iter(self._buckets))
            if len(self._buckets) <= MOST_KEPT and now - self._buckets[name][1] < self._fills_in:
                return
            del self._buckets[name]


def site(address: str) -> str:
    """Return the host of an address as `host_port` writes it, with a port or, behind a proxy, without; of an
    IPv6 address, the network that one customer has."""
    is_version_4 = address.count(":") < 2
    host = address.partition(":" if is_version_4 else "]")[0].removeprefix("[")
    if is_version_4:
        return host
    try:
        return str(ipaddress.ip_network((host, _IPV6_SITE), strict=False))
    except ValueError:
        return host
