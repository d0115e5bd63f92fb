"""Requests that nobody should make: without the token, too big, too many."""

import time

from tests.soak.actor import Actor
from tests.soak.request import ask, status

BIG = b'{"data":"' + b"x" * (4 << 20) + b'"}'
"""Far more than a message may have."""

REQUESTS: tuple[tuple[str, str, object, str | None, str], ...] = (
    ("POST", "/api/broadcast", {"data": "no token"}, None, "401"),
    ("POST", "/api/broadcast", {"data": "a wrong token"}, "wrong", "401"),
    ("POST", "/api/drain", None, "wrong", "401"),
    ("DELETE", "/api/drain", None, None, "401"),
    ("POST", "/api/upgrade", None, "wrong", "401"),
    ("GET", "/api/status?clients=true", None, "wrong", "401"),
    ("POST", "/api/broadcast", BIG, "", "413"),
    ("POST", "/api/broadcast", BIG, "wrong", "401"),
    ("POST", "/api/broadcast", b"{", "", "400"),
    ("POST", "/api/broadcast", b"[" * 10_000, "", "400"),
    ("POST", "/api/broadcast", {"data": 1, "to": ["-"]}, "", "400"),
    ("DELETE", "/api/broadcast", None, "", "405"),
    ("GET", "/nothing", None, None, "404"),
    ("GET", "/", None, None, "200"),
    ("GET", "/docs", None, None, "200"),
    ("GET", "/health", None, None, "200"),
    ("GET", "/api/status?clients=true", None, "", "200"),
)
"""Each with its token ("": the right one) and the status of its answer."""


class Abuser(Actor):
    name = "abuser"
    pause = 0.3

    async def act(self) -> None:
        began = time.monotonic()
        method, path, body, token, expected = self.rng.choice(REQUESTS)
        token = self.stage.token if token == "" else token
        answer = await ask(self.stage.port, method, path, body, token)
        self.stage.tally.acts[self.name] += 1
        # Who is still sending when he is answered and hung up on, may lose the answer.
        lost = [""] if body is BIG else []
        self.wants(status(answer), [expected, *lost], began, f"{method} {path}")
