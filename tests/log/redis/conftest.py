"""A server of each kind for all tests of a module that change nothing of it but its data."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.store import StoreProcess


@pytest.fixture(scope="module")
def used() -> Iterator[dict[str, StoreProcess]]:
    """By kind, the server that the tests before have used and left as it was."""
    found: dict[str, StoreProcess] = {}
    yield found
    for store in found.values():
        store.close()


@pytest.fixture(scope="module")
def start_one() -> Iterator[Callable[[str], StoreProcess]]:
    with tempfile.TemporaryDirectory(prefix="st") as folder:
        numbers = itertools.count()
        yield lambda kind: StoreProcess.start(kind, Path(folder, str(next(numbers))))


@pytest.fixture(params=["valkey", "redis"])
def store(
    request: pytest.FixtureRequest,
    start_one: Callable[[str], StoreProcess],
    used: dict[str, StoreProcess],
) -> Iterator[StoreProcess]:
    """A server with nothing in it, of each kind."""
    kind: str = request.param
    found = used.pop(kind, None)
    if found:
        found.empty()
    else:
        found = start_one(kind)
    said = len(found.log)
    try:
        yield found
    finally:
        if found.is_as_started:
            print(f"--- {found.url}\n{found.log[said:]}")
            used[kind] = found
        else:
            found.close()
