"""The programs in Python that are printed, and what an application can do with a hub, for a type checker."""

from pathlib import Path

from tests.support.examples import NOWHERE
from tests.support.linters import check_types
from wsctl.cli.recipes import generate_file
from wsctl.settings import Settings

PRINTED = {"app": "app.py", "app-test": "test_app.py", "python": "client.py"}

LIFESPANS = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from wsctl import Hub


class State(TypedDict):
    n: int


@asynccontextmanager
async def plain(app: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def stateful(app: FastAPI) -> AsyncIterator[State]:
    yield {"n": 1}


hub = Hub()
FastAPI(lifespan=hub.lifespan)
FastAPI(lifespan=hub.lifespan(plain))
FastAPI(lifespan=hub.lifespan(stateful))
"""
"""What an application can do with a hub's lifespan, for a type checker."""


def test_what_is_printed_is_typed_and_so_is_the_lifespan_of_a_hub(tmp_path: Path) -> None:
    """All at once: what a type checker takes is mostly for the libraries, which are the same ones."""
    for kind, name in PRINTED.items():
        (tmp_path / name).write_text(generate_file(kind, Settings(), NOWHERE))
    (tmp_path / "lifespans.py").write_text(LIFESPANS)
    assert check_types(tmp_path, *PRINTED.values(), "lifespans.py") == ""
