"""A copy of the program in a folder, whose code a test changes while it runs."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import wsctl


class ProgramCopy:
    """The package in `folder`; what is started with `options` runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._package = folder / "wsctl"
        self.options: dict[str, Any] = {"cwd": folder, "cold": True}
        source = Path(wsctl.__file__).parent
        # With what is compiled, which fits until a module is changed; another process may be writing one.
        shutil.copytree(source, self._package, ignore=shutil.ignore_patterns("*.pyc.*"))

    def release(self, version: str) -> None:
        """Become another version of the program."""
        self.change("__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"')

    def change(self, module: str, pattern: str, by: str) -> str:
        """Replace the one place in a module that matches; returns what the module was."""
        path = self._package / module
        before = path.read_text()
        changed, count = re.subn(pattern, by.replace("\\", r"\\"), before)
        assert count == 1, (module, pattern, count)
        _save(path, changed)
        return before

    def restore(self, module: str, text: str) -> None:
        """Make a module what it was."""
        _save(self._package / module, text)


def _save(path: Path, text: str) -> None:
    """Save a module as if a second had passed: Python tells it from the one before by size and second."""
    later = path.stat().st_mtime_ns + 1_000_000_000
    path.write_text(text)
    os.utime(path, ns=(later, later))
