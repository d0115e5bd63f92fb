"""An application of one's own costs under `wsctl serve` what it costs under uvicorn, and a message of its hub
what one of the built-in server costs."""

from tests.bench.application import figures

RATIO = 1.25
"""Times the CPU under uvicorn that an answer or an echo may take: the goal is 1.05, and runs this short
differ by a tenth."""

MESSAGE_RATIO = 2.2
"""Times the CPU in the built-in server that a message of a hub may take: a server without an application
takes half to three quarters of what one with FastAPI beside it does."""


def too_dear(rounds: int) -> dict[str, float]:
    """The ratios that are beyond it."""
    found = figures(rounds, count=500)
    ratios = {name: ratio for name, ratio in found.items() if name.endswith("ratio")}
    assert len(ratios) == 5
    limits = {"message ratio": MESSAGE_RATIO}
    return {name: ratio for name, ratio in ratios.items() if ratio > limits.get(name, RATIO)}


def test_an_application_is_served_at_uvicorns_price() -> None:
    assert not too_dear(rounds=2) or too_dear(rounds=7) == {}
