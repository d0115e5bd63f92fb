"""`python -m tests.apps`: serve the applications of all libraries, drain and upgrade them, print a table."""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import venv
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.apps.cases import CASES, Case
from tests.apps.scenarios import drain, upgrade

PROJECT = Path(__file__).parents[2]

COLUMNS = "{:<22}{:<28}{:<9}{:<9}{}"


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 all went well, 1 something failed."""
    options = _options(arguments)
    if options.here:
        return run([case for case in CASES if case.name in (options.only or [case.name])])
    with tempfile.TemporaryDirectory(prefix="apps") as folder:
        python = _install(Path(folder))
        only = ["--only", *options.only] if options.only else []
        return subprocess.run([python, "-m", "tests.apps", "--here", *only], check=False).returncode


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m tests.apps", description=__doc__)
    parser.add_argument(
        "--here", action="store_true", help="use this environment; without it, a new one is made and removed"
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"some of {', '.join(names)}"
    )
    return parser.parse_args(arguments)


def _install(folder: Path) -> str:
    """Make an environment with the project and all libraries; return its Python."""
    print("installing into an environment of its own: about a minute", file=sys.stderr)
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "-e", f"{PROJECT}[test,apps]"], check=True)
    return python


def run(cases: Sequence[Case]) -> int:
    print(COLUMNS.format("application", "library", "drain", "upgrade", "at the deadline its client says"))
    failures = [text for case in cases for text in _try(case)]
    print(*failures, sep="\n", end="", file=sys.stderr)
    return 1 if failures else 0


def _try(case: Case) -> list[str]:
    """Try one application, print its line, and return what has failed."""
    try:
        library = f"{case.library} {version(case.library)}"
    except PackageNotFoundError:
        print(COLUMNS.format(case.name, f"{case.library} is missing", "-", "-", "-"))
        return [f"{case.library} is not installed: leave --here out, or pip install -e '.[test,apps]'\n"]
    failures = {scenario.__name__: _failure(scenario, case) for scenario in (drain, upgrade)}
    results = ["failed" if failure else "ok" for failure in failures.values()]
    print(COLUMNS.format(case.name, library, *results, case.end), flush=True)
    return [f"{case.name}, {name}: {failure}\n" for name, failure in failures.items() if failure]


def _failure(scenario: Callable[[Case], Awaitable[None]], case: Case) -> str | None:
    async def scene() -> None:
        await scenario(case)

    try:
        asyncio.run(scene())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
