"""Clients that try to connect again, and which attempts are shown."""


class Away:
    """The attempts of some clients since they lost their server, with the choice of those worth a line: the
    first, the second, the fourth and so on, for a server may be away for a day."""

    def __init__(self) -> None:
        self._connected: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._why = ""
        self._told = -1

    @property
    def count(self) -> int:
        """Clients that have lost their server and are not back."""
        return len(self._attempts)

    @property
    def why(self) -> str:
        """The reason why the latest attempt failed, with the number of attempts; empty before the first."""
        most = max(self._attempts.values(), default=0)
        return f"{self._why} ({most} attempts)" if most > 1 else self._why

    def opened(self, client: str) -> None:
        """Note that a client is connected."""
        self._connected.add(client)
        self._attempts.pop(client, None)
        if not self._attempts:
            self._why, self._told = "", -1

    def ended(self, client: str, why: str) -> bool:
        """Note that a connection or an attempt of a client has ended. Returns whether that is news: the end
        of a connection."""
        if client in self._connected:
            self._connected.discard(client)
            self._attempts[client] = 0
            return True
        self._attempts[client] = self._attempts.get(client, 0) + 1
        if why != self._why:
            self._why, self._told = why, -1
        return False

    def worth_telling(self, client: str) -> bool:
        """Tell whether the wait of this client for its next attempt is to be shown."""
        attempt = self._attempts.get(client, 0)
        if attempt & (attempt - 1) or attempt <= self._told:
            return False
        self._told = attempt
        return True
