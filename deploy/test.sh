#!/usr/bin/env bash
# Sets up what the tests need, then runs everything: format, lint, types, contracts, all tests. Stops at the first
# failure; the last line is pytest's own. A Hearth that runs on this machine is left alone: the tests have their own
# data directory, ports and instance label, and sweep what carries that label. Arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ -n "${CI:-}" ]; then
    export TERM=dumb NO_COLOR=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
fi

stage() {
    local title=$1 started=$SECONDS
    shift
    printf '\n==== %s\n' "$title"
    "$@" || {
        printf '==== %s: FAILED after %ss\n' "$title" "$((SECONDS - started))" >&2
        exit 1
    }
    printf -- '---- %s: ok, %ss\n' "$title" "$((SECONDS - started))"
}

# `platform` is a source root. As a package it would hide Python's own module of that name.
no_package_named_platform() {
    [ ! -e "$ROOT/platform/__init__.py" ] || fail "platform/__init__.py hides the standard library's platform module"
}

free_ports() {
    "$VENV/bin/python" - <<'PYTHON'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

# Leaves no variable of the user's to the tests, and gives them a place of their own.
isolate() {
    local name port redis_port
    for name in $(compgen -e | grep -E '^(HEARTH|AWS)_' | grep -v '^AWS_CA_BUNDLE$' || true); do
        unset "$name"
    done
    SCRATCH=$(mktemp -d -t hearth-test-$$.XXXXXX)
    read -r port redis_port < <(free_ports)
    printf '{}\n' >"$SCRATCH/hearth.yaml"
    export HEARTH_CONFIG=$SCRATCH/hearth.yaml HEARTH_DATA_DIR=$SCRATCH/data HEARTH_INSTANCE=test-$$
    export HEARTH_PORT=$port HEARTH_REDIS_PORT=$redis_port
    export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$SCRATCH/aws AWS_SHARED_CREDENTIALS_FILE=$SCRATCH/keys
    trap clean_up EXIT
}

clean_up() {
    local status=$?
    trap - EXIT
    # The scratch directory too. Says nothing: pytest's summary stays the last line.
    "$VENV/bin/python" -m hearth_cli.sweep --finished $$ || status=1
    exit "$status"
}

cd "$ROOT"
no_package_named_platform
ensure_engine
ensure_venv "[dev]"
export PATH="$VENV/bin:$PATH"
isolate
# What earlier runs left that were killed.
python -m hearth_cli.sweep
stage "format (ruff format --check)" ruff format --check .
stage "lint (ruff check)" ruff check .
stage "types (mypy --strict)" mypy
stage "import contracts (lint-imports)" lint-imports
stage "images" hearth images build
printf '\n==== tests (pytest)\n'
# Not the script's last command by chance: pytest's summary is the last line, and its status is ours.
pytest "$@"
