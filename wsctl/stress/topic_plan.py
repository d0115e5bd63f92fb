"""The topics of a run: their names, who subscribes to which, and which message has which."""

from dataclasses import dataclass

ROOT = "stress"
"""The first segment of all topics of runs, for permissions: `stress.>`."""

EVERYTHING = f"{ROOT}.*"

WATCHER = 10
"""One of so many clients subscribes to all topics, too, so that it has some of them by two patterns."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """So many topics: a client subscribes to two, its own and the next one, so that all have subscribers. A
    client is named by its place, and a topic has every `count`th message."""

    count: int

    def name(self, number: int) -> str:
        """Return the topic of a message."""
        return f"{ROOT}.{number % self.count + 1}"

    def patterns(self, client: int) -> tuple[str, ...]:
        """Return what a client subscribes to."""
        own = dict.fromkeys((self.name(client), self.name(client + 1)))
        return (*own, EVERYTHING) if self._is_watcher(client) else tuple(own)

    def subscribers(self, clients: int) -> list[set[int]]:
        """Return the clients that get the messages of each topic."""
        found: list[set[int]] = [set() for _ in range(self.count)]
        for client in range(clients):
            topics = range(self.count) if self._is_watcher(client) else (client, client + 1)
            for topic in topics:
                found[topic % self.count].add(client)
        return found

    def _is_watcher(self, client: int) -> bool:
        return client % WATCHER == WATCHER - 1
