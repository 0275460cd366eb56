#!/usr/bin/env bash
# Stops Hearth and leaves no container, mount, socket or process. Data stays unless --purge.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "$#:${1:-}" in
0: | 1:--purge) ;;
*)
    echo "usage: $0 [--purge]" >&2
    exit 2
    ;;
esac

adopt_docker_context
ensure_venv
exec "$VENV/bin/hearth" down "$@"
