"""`python -m wsctl` and the `wsctl` script."""

import os
import sys


def main() -> None:
    """Run one command and end the process with its code."""
    from wsctl.cli.app import run

    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read the output has gone
        code = code or 1
    # Python would take a tenth of a second to take every module apart: too long for a drained server.
    os._exit(code)


if __name__ == "__main__":
    main()
