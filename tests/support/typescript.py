"""TypeScript, as people check their programs with it."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support import npm

PACKAGE = {"private": True, "type": "module", "devDependencies": {"typescript": "^5.9.0"}}

STRICT = (
    *("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"),
    # The types of the language and of browsers are the compiler's own, and take longest.
    "--skipDefaultLibCheck",
)

_FAULT = re.compile(r"(\S+)\((\d+),\d+\): (.*)")


def install(folder: Path) -> None:
    """TypeScript into `folder`."""
    npm.install(folder, PACKAGE, "TypeScript")


def faults(folder: Path, programs: Mapping[str, str]) -> dict[str, dict[int, str]]:
    """What the compiler has against programs beside a module and its types: of each file, by its lines. They
    are checked in one run; what is of no file is of the file ""."""
    for name, text in programs.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        ["node_modules/.bin/tsc", *STRICT, *programs],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, dict[int, str]] = {}
    for line in (done.stdout + done.stderr).splitlines():
        if at := _FAULT.match(line):
            found.setdefault(at[1], {})[int(at[2])] = at[3]
        elif not line.startswith("  "):  # the rest of the fault above
            found.setdefault("", {})[len(found.get("", ()))] = line
    return found
