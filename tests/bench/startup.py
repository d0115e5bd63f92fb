"""`python -m tests.bench.startup`: how long commands and servers take to be there, against the bare parts."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import single
from tests.bench.server import CORES
from tests.bench.single import Bench, Figures, main

BARE_TYPER = """
import typer
app = typer.Typer(add_completion=False)
@app.command()
def one(text: str = "a") -> None: ...
@app.command()
def two(number: int = 1) -> None: ...
app()
"""

BARE_FASTAPI = """
import fastapi, uvicorn
app = fastapi.FastAPI()
@app.get("/health")
async def health() -> dict[str, str]:
    return {}
uvicorn.run(app, port=0)
"""


def medians(rounds: int) -> Figures:
    """Milliseconds, and the ratio of each to its bare part; measured one after the other, round by round, all
    on one core."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        seconds = single.medians(_ways(Path(folder)), rounds)
    found = {name: 1000 * value for name, value in seconds.items()}
    for what, bare in (("help", "help of bare Typer"), ("ready", "ready bare FastAPI")):
        found[f"{what} ratio"] = found[what] / found[bare]
    return found


def _ways(folder: Path) -> dict[str, Callable[[], float]]:
    """What is measured, each a function that returns seconds."""
    (folder / "typer_app.py").write_text(BARE_TYPER)
    (folder / "fastapi_app.py").write_text(BARE_FASTAPI)
    environ = os.environ | {"WSCTL_RUNTIME_DIR": str(folder / "run")}
    # A library is compiled when it is installed; a checkout that keeps nothing would compile at each start.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wsctl = (sys.executable, "-m", "wsctl")
    return {
        "help of bare Typer": lambda: _ended(environ, sys.executable, str(folder / "typer_app.py"), "--help"),
        "help": lambda: _ended(environ, *wsctl, "--help"),
        "ready bare FastAPI": lambda: _ready(
            environ, "running on", sys.executable, str(folder / "fastapi_app.py")
        ),
        "ready": lambda: _ready(environ, "serving", *wsctl, "serve", "--port", "0"),
    }


def _ended(environ: dict[str, str], *command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, preexec_fn=_on_one_core, check=True)
    return time.perf_counter() - began


def _ready(environ: dict[str, str], sign: str, *command: str) -> float:
    """Until the line that says so."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_on_one_core,
    ) as process:
        assert process.stderr
        if not any(re.search(sign, line, re.IGNORECASE) for line in process.stderr):
            raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")
        took = time.perf_counter() - began
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    return took


def _on_one_core() -> None:
    if CORES:
        os.sched_setaffinity(0, {CORES[0]})


BENCH = Bench(
    "startup",
    "until commands and servers are there, against the bare parts: ms",
    lambda size: medians(size.rounds),
    full={"rounds": 5},
    quick={"rounds": 0},
)

if __name__ == "__main__":
    main(BENCH)
