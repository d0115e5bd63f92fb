"""An application of one's own costs under `wsctl serve` what it costs under uvicorn, and a message of its hub
what one of the built-in server costs."""

from tests.bench.application import figures

RATIO = 1.25
"""Times the CPU under uvicorn that an answer or an echo may take: the goal is 1.05, and runs this short
differ by a tenth."""


def too_dear(rounds: int) -> dict[str, float]:
    """The ratios that are beyond it."""
    found = figures(rounds, count=500, hubs=["plain"])
    ratios = {name: ratio for name, ratio in found.items() if name.endswith("ratio")}
    assert len(ratios) == 5
    return {name: ratio for name, ratio in ratios.items() if ratio > RATIO}


def test_an_application_is_served_at_uvicorns_price() -> None:
    assert not too_dear(rounds=2) or too_dear(rounds=7) == {}
