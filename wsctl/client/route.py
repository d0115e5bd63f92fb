"""The choice of the server that a client goes to."""

from collections.abc import Sequence

from wsctl.client.target import Target


class Route:
    """A client's own server, and behind it the others, in the order in which they are tried when it does
    not take the client: what a load balancer does.

    Attributes:
        target: the server of the next attempt, and of the connection that it has led to.
    """

    def __init__(self, own: Target, others: Sequence[Target] = ()) -> None:
        self._targets = (own, *others)
        self._at = 0

    @property
    def target(self) -> Target:
        return self._targets[self._at]

    def ended(self) -> None:
        """Note that a connection which a server had taken is over: the client's own server is first again."""
        self._at = 0

    def turned_away(self) -> bool:
        """Note that a server did not take the client: the next one is tried. Returns whether that one has not
        been asked yet, so that nobody need wait."""
        self._at = (self._at + 1) % len(self._targets)
        return self._at > 0
