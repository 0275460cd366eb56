"""The Debian that everything is built on, for a host without an image registry: made on the spot, imported as an image.

mmdebstrap (or debootstrap, where only that is there) fetches packages from wherever the tool does by default.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import which

Line = Callable[[str], None]

# What nobody reads in a container is not unpacked. The same list as base_images/debian/slim.cfg, which keeps it so
# for the packages that come later.
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/man/*", "/usr/share/locale/*")
_STOP_TIMEOUT_S = 20.0
_DEBOOTSTRAP_SUITES = Path("/usr/share/debootstrap/scripts")
_MOVING_SUITES = frozenset({"forky"})
"""Not released yet: their indexes are signed for a week, so a mirror or cache that lags behind would end every build.
What is given up is that somebody on the way could hold back updates."""
_TRUST_OLD_INDEXES = 'Acquire::Check-Valid-Until "false";'


class TreeError(Exception):
    """The tree cannot be made here; the message is one sentence for the operator."""


def recipe(suite: str) -> str:
    """What decides the result, as text: an imported tree made by another recipe is out of date."""
    return " ".join([suite, *_EXCLUDED, "apt ca-certificates v1"])


@contextmanager
def made(suite: str, line: Line) -> Iterator[Path]:
    """A tar file of the tree, gone again afterwards. Takes about 40 s; needs root."""
    if os.geteuid() != 0:
        raise TreeError(
            f"debian:{suite}-slim cannot be pulled here, and making a Debian base image instead needs root: "
            "run this once as root"
        )
    tool = _tool(suite, line)
    with tempfile.TemporaryDirectory(prefix="hearth-debian-") as folder:
        tar = Path(folder) / "tree.tar"
        if tool == "mmdebstrap":
            _run(_mmdebstrap(suite, tar), line)
        else:
            _debootstrap(suite, Path(folder) / "tree", tar, line)
        yield tar


def _mmdebstrap(suite: str, tar: Path) -> list[str]:
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
    old = [f"--aptopt={_TRUST_OLD_INDEXES}"] if suite in _MOVING_SUITES else []
    return [
        "mmdebstrap",
        "--variant=apt",
        "--include=ca-certificates",
        # The tree is thrown away if anything goes wrong: syncing each file would only cost time.
        "--dpkgopt=force-unsafe-io",
        *excluded,
        *old,
        suite,
        str(tar),
    ]


def _debootstrap(suite: str, tree: Path, tar: Path, line: Line) -> None:
    _run(["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(tree)], line)
    _run(["tar", "--create", "--numeric-owner", *_tar_excluded(), "-C", str(tree), "-f", str(tar), "."], line)


def _tar_excluded() -> list[str]:
    patterns = (*_EXCLUDED, "/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin", "/var/lib/apt/lists/*_*")
    return ["--no-wildcards-match-slash", *(f"--exclude=.{pattern}" for pattern in patterns)]


def _tool(suite: str, line: Line) -> str:
    """Which of the two tools makes this suite here. debootstrap knows suites by name, the newest not always."""
    if which("mmdebstrap"):
        return "mmdebstrap"
    if which("debootstrap") and (_DEBOOTSTRAP_SUITES / suite).exists() and suite not in _MOVING_SUITES:
        return "debootstrap"
    if not which("apt-get") or not _is_debian_or_ubuntu():
        raise TreeError(
            f"debian:{suite}-slim cannot be pulled here: install mmdebstrap (or debootstrap), so that a Debian base "
            "image can be made instead"
        )
    line("installing mmdebstrap")
    _run(["apt-get", "update", "-qq"], line)
    # Ubuntu does not bring the keys that Debian's packages are signed with.
    _run(["apt-get", "install", "-y", "-qq", "mmdebstrap", "debian-archive-keyring"], line)
    return "mmdebstrap"


def _is_debian_or_ubuntu() -> bool:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(row.partition("=")[0] in {"ID", "ID_LIKE"} and "debian" in row for row in text.splitlines())


def _environment() -> Mapping[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def _run(command: list[str], line: Line) -> None:
    """Run to its end, telling each line. Whatever interrupts us stops it first: it may have mounts to undo."""
    last = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            for row in process.stdout:
                last = row.strip() or last
                line(row.rstrip())
            status = process.wait()
        except BaseException:
            _stop(process)
            raise
    if status != 0:
        raise TreeError(f"{command[0]} failed with status {status}: {last}")


def _stop(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_STOP_TIMEOUT_S)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
