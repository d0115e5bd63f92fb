"""Nobody waits for the tool itself."""

import pytest

from tests.bench.startup import Figures, medians

HELP_RATIO = 2.0
"""Times a bare Typer app's help that ours may take: people ask for it again and again."""

READY_RATIO = 1.2
"""Times a bare FastAPI application under uvicorn that `serve` may take to be there. It takes 0.87, since it
imports FastAPI only then; the rest is for a busy machine."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return medians(2)


def test_help_is_there_within_twice_the_time_of_a_bare_app(figures: Figures) -> None:
    assert figures["help ratio"] <= HELP_RATIO


def test_a_server_is_ready_soon_after_what_it_is_built_on(figures: Figures) -> None:
    assert figures["ready ratio"] <= READY_RATIO
