#!/usr/bin/env bash
# From a fresh machine to a running Hearth: engine, .venv, images, the daemon, a first function called twice.
# Idempotent: what is there already is kept. Works from any directory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
"") ;;
*)
    echo "usage: $0   (settings: hearth.yaml or HEARTH_* variables; see README.md)" >&2
    exit 2
    ;;
esac

ensure_engine
ensure_venv
export PATH="$VENV/bin:$PATH"
hearth images build
hearth up
hearth hello "$ROOT/examples/hello"
