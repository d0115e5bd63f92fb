"""What the examples of clients are filled with."""

from collections.abc import Mapping

from wsctl.settings import Settings


def values(settings: Settings) -> Mapping[str, str]:
    """The address at which clients reach the server."""
    scheme = "wss" if settings.ssl_certfile else "ws"
    return {"url": f"{scheme}://{settings.host}:{settings.port}{settings.root_path}"}
