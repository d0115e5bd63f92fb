"""What linters and the type checker say of programs that we print."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_RUFF = (("ruff", "check", "--isolated"), ("ruff", "format", "--isolated", "--check"))
_MYPY = ("mypy", "--strict", "--config-file=")


def lint(folder: Path, *files: str) -> str:
    """What ruff says when it is not content."""
    return "".join(_complaints(folder, *tool, *files) for tool in _RUFF)


def check_types(folder: Path, *files: str) -> str:
    """What mypy says when it is not content.

    What it found out about libraries when it looked at the project itself it need not find out again.
    """
    known, cache = ROOT / ".mypy_cache", folder / "cache"
    if known.is_dir():
        shutil.copytree(known, cache)
    return _complaints(folder, *_MYPY, "--cache-dir", str(cache), *files)


def _complaints(folder: Path, *tool: str) -> str:
    environ = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""
