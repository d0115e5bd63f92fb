"""Servers without sockets that listen."""

from collections.abc import Iterator

import pytest

from tests.support.wires import MakeServer, servers


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    with servers() as make:
        yield make
