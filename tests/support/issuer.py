"""Whoever gives clients their tokens, with files as a server and `wsctl token` read them."""

import time
from pathlib import Path

from tests.support.keys import SECRET, checks, private_pem, signed, written


class Issuer:
    """`checks` is the file for the server, `signs` the one that makes tokens."""

    def __init__(self, folder: Path, algorithm: str = "HS256") -> None:
        self._algorithm = algorithm
        self.checks = written(folder, "checks", checks(algorithm))
        private = SECRET if algorithm == "HS256" else private_pem(algorithm)
        self.signs = written(folder, "signs", private)

    @property
    def flags(self) -> tuple[str, ...]:
        """For `serve`."""
        return ("--auth", "jwt", "--jwt-key", str(self.checks))

    def token(self, client_id: str, ttl: float = 60.0, **claims: object) -> str:
        return signed(self._algorithm, {"sub": client_id, "exp": time.time() + ttl} | claims)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
