"""This program, to be started once more."""

import sys


def this_program() -> list[str]:
    """The command that starts it as it is on disk now, with the same interpreter and arguments."""
    return [sys.executable, *sys.orig_argv[1:]]
