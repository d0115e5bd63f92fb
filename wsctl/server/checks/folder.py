"""The check whether the commands will find a server."""

from pathlib import Path

from wsctl.lifecycle.runtime import UnusableFolder, check_folder
from wsctl.server.checks.finding import Finding, fine, warning

NAME = "runtime folder"


def check(folder: Path) -> Finding:
    """Check the runtime folder, which need not be there yet."""
    try:
        check_folder(folder)
    except UnusableFolder as failure:
        why = str(failure).partition("; ")[0].partition(": chmod")[0]
        text = f"the commands on this machine would not find a server: {why}"
        return warning(NAME, text, "set WSCTL_RUNTIME_DIR to a folder of this user's with mode 0700")
    return fine(NAME, str(folder))
