# What up.sh, down.sh and test.sh share: find or start a Docker engine, make .venv. Sourced, not run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
ENGINE_WAIT_S=60
APT_LOCK_WAIT_S=300

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

fail() {
    printf 'hearth: %s\n' "$*" >&2
    exit 1
}

# Runs a slow step: what it prints goes to a file, shown when the step fails; a dot every two seconds says it lives.
quietly() {
    local title=$1 log pid started=$SECONDS
    shift
    log=$(mktemp -t hearth-step.XXXXXX)
    printf '\033[1m==>\033[0m %s ' "$title" >&2
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        # Returns at once when the step ends, so that no step waits for its dot.
        timeout 2 tail --pid="$pid" -s 0.1 -f /dev/null 2>/dev/null || printf '.' >&2
    done
    if ! wait "$pid"; then
        printf ' failed\n' >&2
        tail -n 40 "$log" >&2
        rm -f "$log"
        return 1
    fi
    printf ' %ss\n' "$((SECONDS - started))" >&2
    rm -f "$log"
}

# ---- Debian packages ----

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "${HEARTH_APT_UPDATED:-}" ]; then
        quietly "apt-get update" apt-get -o DPkg::Lock::Timeout=$APT_LOCK_WAIT_S update \
            || fail "apt-get update failed; see above"
        HEARTH_APT_UPDATED=1
    fi
    quietly "installing $*" apt-get -o DPkg::Lock::Timeout=$APT_LOCK_WAIT_S install -y --no-install-recommends "$@" \
        || fail "installing $* failed; see above"
}

# ---- Python ----

# The first Python that is new enough; newest last, because `python3` is the one with Debian's python3-venv.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null \
            && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Hearth needs Python 3.11 or newer, and found none"
}

# Makes or brings up to date .venv; does nothing when pyproject.toml has not changed. $1: extras, such as [dev].
ensure_venv() {
    local extras=${1:-} python wanted
    python=$(find_python)
    # Not a file of its own: the lock is on the checkout's directory, and ends with this subshell.
    (
        flock -w 900 9 || fail "another Hearth script has been setting up .venv for 15 minutes"
        wanted=$(_venv_stamp "$python" "$extras")
        if [ -x "$VENV/bin/hearth" ] && _venv_has "$python" "$extras"; then
            exit 0
        fi
        _make_venv "$python"
        quietly "installing Hearth$extras into .venv" \
            "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input -e "$ROOT$extras" \
            || fail "pip could not install Hearth; see above"
        printf '%s\n' "$wanted" >"$VENV/.hearth-stamp"
    ) 9<"$ROOT"
}

# The installation of the tests includes that of the command, so either stamp serves the latter.
_venv_has() {
    local stamp
    stamp=$(cat "$VENV/.hearth-stamp" 2>/dev/null) || return 1
    [ "$stamp" = "$(_venv_stamp "$1" "$2")" ] || { [ -z "$2" ] && [ "$stamp" = "$(_venv_stamp "$1" "[dev]")" ]; }
}

# What the installation depends on: dependencies, extras, interpreter, and where the checkout lies (paths are absolute).
_venv_stamp() {
    { cat "$ROOT/pyproject.toml"; printf '%s\n' "$ROOT" "$2"; "$1" -VV; } | sha256sum | cut -d ' ' -f 1
}

_make_venv() {
    local python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        can_install || fail "$python cannot make virtual environments: install python3-venv"
        apt_install "$(_venv_package "$python")"
    fi
    # A .venv that was moved here, or whose Python is gone, cannot be repaired.
    if [ -e "$VENV" ] && ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        rm -rf "$VENV"
    fi
    [ -x "$VENV/bin/python" ] || quietly "making .venv" "$python" -m venv "$VENV" || fail "python -m venv failed"
}

_venv_package() { "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'; }

# ---- Docker ----

# Asks the engine itself, since Debian 13's docker.io comes without the docker command.
engine_answers() {
    timeout 15 "$(find_python)" - <<'PYTHON' 2>/dev/null
import http.client, os, socket, ssl, subprocess, sys
from urllib.parse import urlsplit

host = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
if host.scheme == "unix":
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(host.path)
elif host.scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
    connection = http.client.HTTPConnection(host.hostname, host.port or 2375, timeout=10)
else:  # ssh, TLS: the docker command knows how
    sys.exit(subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"]).returncode)
connection.request("GET", "/_ping")
sys.exit(connection.getresponse().status != 200)
PYTHON
}

# A context of the docker command (rootless, Desktop) that Hearth would not know of otherwise.
adopt_docker_context() {
    local host
    [ -z "${DOCKER_HOST:-}" ] && command -v docker >/dev/null || return 0
    host=$(timeout 10 docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || return 0
    case $host in
    "" | unix:///var/run/docker.sock) ;;
    *) export DOCKER_HOST=$host ;;
    esac
}

ensure_engine() {
    adopt_docker_context
    if engine_answers; then
        return
    fi
    if [ -n "${DOCKER_HOST:-}" ]; then
        fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"
    fi
    if [ "$(id -u)" != 0 ]; then
        fail "no Docker engine answers (or you may not use it): start Docker, join the group docker, or run this as root"
    fi
    if ! command -v dockerd >/dev/null; then
        command -v apt-get >/dev/null \
            || fail "there is no Docker engine, and Hearth installs one only on Debian and Ubuntu: install Docker first"
        say "There is no Docker engine here: installing Debian's docker.io."
        apt_install docker.io iptables ca-certificates
    fi
    if ! engine_answers; then
        _start_engine
    fi
}

_start_engine() {
    local log=/var/log/hearth-dockerd.log engine=$$ waited=0
    if [ -d /run/systemd/system ]; then
        say "Starting the Docker engine (systemctl start docker)."
        systemctl start docker || fail "systemctl could not start docker: see journalctl -u docker"
    else
        say "Starting the Docker engine (no systemd here; its log is $log)."
        # A pid file of a killed engine whose number is in use again would keep the new one from starting.
        if [ -f /var/run/docker.pid ] && ! grep -qs dockerd "/proc/$(cat /var/run/docker.pid)/comm"; then
            rm -f /var/run/docker.pid
        fi
        setsid dockerd >>"$log" 2>&1 </dev/null &
        engine=$!
    fi
    until engine_answers; do
        waited=$((waited + 1))
        if [ "$waited" -gt $((ENGINE_WAIT_S * 2)) ] || ! kill -0 "$engine" 2>/dev/null; then
            _engine_did_not_start "$log"
        fi
        sleep 0.5
    done
}

_engine_did_not_start() {
    [ -f "$1" ] && tail -n 15 "$1" >&2
    fail "the Docker engine did not start; the lines above are the end of its log"
}
