"""`python -m wsctl` and the `wsctl` script."""

import os
import sys


def main() -> None:
    """Run one command and end the process with its code."""
    from wsctl.cli.app import run

    _open_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read the output has gone
        code = code or 1
    # Python would take a tenth of a second to take every module apart: too long for a drained server.
    os._exit(code)


def _open_streams() -> None:
    """Give streams that the caller has closed to /dev/null, so that no socket gets their descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


if __name__ == "__main__":
    main()
