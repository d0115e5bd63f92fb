"""`python -m wsctl` and the `wsctl` script."""

import sys


def main() -> None:
    """Run one command and exit with its code."""
    from wsctl.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
