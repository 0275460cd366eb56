"""Ephemeral storage: filesystems of an exact size that exist only as a descriptor until they become a /tmp.

Rule 1: /tmp is never tmpfs; that would be charged to the function's memory.
Rule 2: nothing on disk outlives its use. The image file is unlinked as soon as the loop device holds it, the loop
device frees itself with its last user, and a mount that was never attached dies with our descriptor.
"""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hearth_scheduler.adapters import loop_device, mount_calls
from hearth_scheduler.adapters.mount_calls import Attribute

_MIB = 2**20
_MKFS_TIMEOUT_S = 30.0

# No journal: the content never survives a crash, so neither must its structure. lazy_itable_init: the file is
# sparse, its inode tables are zero already.
_MKFS = (
    *("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0"),
    *("-O", "^has_journal,^resize_inode"),
    *("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"),
)
# nobarrier: a function that calls fsync must not make the host flush its disk for files nobody will see again.
_OPTIONS = ("noinit_itable", "nobarrier")
_TEMPLATE_FORM = 1  # part of the file name: a template of other mkfs options is never taken for ours


def image_bytes(size_mib: int) -> int:
    """How large an image must be for `size_mib` to be free in it.

    ext4 keeps up to 16 MiB (4,096 clusters) back for itself, and an inode table takes 1.6 % at one inode per
    16 KiB. 512 MiB becomes 546, of which `df` shows 526: what AWS Lambda shows for 512 as well.
    """
    return (size_mib + size_mib // 40 + 22) * _MIB


class ScratchDisks:
    """Makes and keeps ready disks. Blocking: call it in a thread; every method may be called from any."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def probe(self) -> None:
        """Raise OSError if this host cannot do it; the message says why."""
        os.close(self.make(16))

    def make(self, size_mib: int) -> int:
        """A detached, empty filesystem with `size_mib` free, as a mount descriptor that the caller owns."""
        image = self._image(size_mib)
        try:
            device, path = loop_device.open_loop(image)
        finally:
            os.close(image)
        try:
            return _mounted(path)
        finally:
            os.close(device)

    def _image(self, size_mib: int) -> int:
        """A fresh nameless copy of the template, as a descriptor. Copying 128 KiB beats mkfs by a factor of ten."""
        template = self._template(size_mib)
        with template.open("rb") as source:
            image, name = tempfile.mkstemp(dir=self._directory, prefix="scratch-")
            os.unlink(name)
            try:
                _copy_sparse(source.fileno(), image)
            except OSError:
                os.close(image)
                raise
        return image

    def _template(self, size_mib: int) -> Path:
        """The formatted image of that size; made at first need, complete or not there at all."""
        final = self._directory / f"ext4-{_TEMPLATE_FORM}-{size_mib}.img"
        if final.exists():
            return final
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._directory, prefix="template-")
        try:
            os.truncate(descriptor, image_bytes(size_mib))
            os.close(descriptor)
            _format(name)
            os.rename(name, final)
        except OSError:
            os.unlink(name)
            raise
        return final

    def destroy(self) -> None:
        """Delete the templates."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _format(name: str) -> None:
    """mkfs.ext4; its failures become OSError, so that callers know one kind."""
    try:
        subprocess.run(
            [*_MKFS, name],
            check=True,
            capture_output=True,
            text=True,
            timeout=_MKFS_TIMEOUT_S,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    except FileNotFoundError as problem:
        raise OSError(errno.ENOSYS, "mkfs.ext4 is not installed (package e2fsprogs)") from problem
    except subprocess.TimeoutExpired as problem:
        raise OSError(errno.ETIMEDOUT, "mkfs.ext4 did not end") from problem
    except subprocess.CalledProcessError as problem:
        raise OSError(errno.EIO, f"mkfs.ext4: {problem.stderr.strip()}") from problem


def _copy_sparse(source: int, target: int) -> None:
    """Copy only what holds data; the holes stay holes."""
    size = os.fstat(source).st_size
    os.truncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, end)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        copied = os.sendfile(target, source, start, end - start)
        if copied == 0:
            raise OSError(errno.EIO, "the template became shorter while it was copied")
        start += copied


def _mounted(device: str) -> int:
    options: dict[str, str | None] = {"source": device, **dict.fromkeys(_OPTIONS)}
    mount = mount_calls.new_filesystem("ext4", options, Attribute.NOSUID | Attribute.NODEV)
    try:
        root = Path(f"/proc/self/fd/{mount}")
        root.chmod(0o1777)
        (root / "lost+found").rmdir()
    except OSError:
        os.close(mount)
        raise
    return mount
