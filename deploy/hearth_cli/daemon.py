"""Hearth's daemon, as a program: `python -m hearth_cli.daemon`. `hearth up` starts it; so may an init system."""

import sys

from hearth_cli import composition, configuration, lifetime
from hearth_cli.console import Failure


def main() -> int:
    """The process's exit code."""
    try:
        return lifetime.run(configuration.load(), composition.serve)
    except Failure as problem:
        print(problem, file=sys.stderr)
        return lifetime.Exit.USAGE


if __name__ == "__main__":
    sys.exit(main())
