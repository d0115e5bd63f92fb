"""Which servers anybody can reach."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from wsctl.server.exposure import OWN_SOCKETS, exposed, own_listeners, warn
from wsctl.settings import Settings


@contextmanager
def listening(host: str, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    with closing(socket.socket(family)) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        sock.listen()
        yield sock


@pytest.mark.parametrize(
    ("host", "family", "shown"),
    [
        ("127.0.0.1", socket.AF_INET, None),
        ("127.1.2.3", socket.AF_INET, None),
        ("::1", socket.AF_INET6, None),
        ("::ffff:127.0.0.1", socket.AF_INET6, None),
        ("0.0.0.0", socket.AF_INET, "0.0.0.0:{}"),
        ("::", socket.AF_INET6, "[::]:{}"),
    ],
)
def test_loopback_is_for_this_machine_alone(host: str, family: int, shown: str | None) -> None:
    with listening(host, family) as sock:
        port = sock.getsockname()[1]
        assert exposed([sock]) == ([shown.format(port)] if shown else [])


def test_a_unix_socket_is_for_this_machine_alone() -> None:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        assert exposed([sock]) == []


def test_a_process_finds_the_sockets_that_it_listens_on_whoever_made_them() -> None:
    with listening("0.0.0.0") as sock:
        before = os.listdir(OWN_SOCKETS)
        found = own_listeners()
        assert os.listdir(OWN_SOCKETS) == before
        assert found is not None
        assert f"0.0.0.0:{sock.getsockname()[1]}" in found
        assert sock.fileno() >= 0  # looking has left it open


@pytest.mark.parametrize(
    ("settings", "addresses", "what"),
    [
        (Settings(), ["0.0.0.0:80"], "connect and publish"),
        (Settings(client_publish=False), ["0.0.0.0:80"], "connect and listen"),
        (Settings(), [], None),
        (Settings(auth="token", client_token="t0p"), ["0.0.0.0:80"], None),
    ],
)
def test_it_is_told_where_nobody_is_asked_for_anything(
    settings: Settings, addresses: list[str], what: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    warn(settings, addresses)
    told = [record.getMessage() for record in caplog.records]
    assert told == (
        [
            f"anyone who reaches 0.0.0.0:80 may {what}, under any id, and then gets its direct messages"
            ": --auth asks for credentials"
        ]
        if what
        else []
    )
