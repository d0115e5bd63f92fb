"""The command that starts this program once more."""

import sys


def this_program() -> list[str]:
    """Return the command that starts this program as it is on disk now, with the same interpreter and
    arguments."""
    return [sys.executable, *sys.orig_argv[1:]]
