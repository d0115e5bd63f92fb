"""The longest silence of several clients."""

from array import array


class Silence:
    """The longest time that one of several clients heard nothing, in seconds of one clock. Memory: eight
    bytes for each client."""

    def __init__(self, clients: int) -> None:
        self._heard = array("d", [0.0]) * clients
        self._longest = 0.0

    def begin(self, now: float) -> None:
        """Begin to measure."""
        self._heard = array("d", [now]) * len(self._heard)

    def hear(self, client: int, now: float) -> None:
        """Note that a client heard something."""
        self._longest = max(self._longest, now - self._heard[client])
        self._heard[client] = now

    def longest(self, now: float) -> float:
        """Return the longest silence so far, with the time since each client heard something last."""
        return max(self._longest, now - min(self._heard))
