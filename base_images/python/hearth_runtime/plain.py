"""Without Hearth's socket: what AWS's own bootstrap does, on the Runtime API at AWS_LAMBDA_RUNTIME_API."""

import os
import sys

from hearth_runtime.stem import execute


def main() -> None:
    """Start `python3 -m awslambdaric $_HANDLER`, through the function's wrapper script if it has one."""
    handler = os.environ.get("_HANDLER", sys.argv[1] if len(sys.argv) > 1 else "")
    execute(dict(os.environ), [sys.executable, "-m", "awslambdaric", handler])
