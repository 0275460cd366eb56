"""Deployment packages on disk, each once, by the SHA-256 of its zip.

`<root>/<sha256>/package.zip` is the upload, `<root>/<sha256>/tree/` the unpacked code. Both appear by a rename, whole
or not at all; names that begin with a dot are unfinished work and are swept at the start.
State: the directory is the truth; `_pins`, `_sizes` and `_total` mirror it and are changed under `_lock`.
Source: `Code` of GetFunction in the AWS Lambda API reference, for the signed link and its ten minutes.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from hearth import unpack
from hearth.core import package_rules as rules
from hearth.core.errors import AccessDenied, CodeStorageExceeded, ResourceNotFound, ServiceError
from hearth.core.records import Package

PACKAGE = "package.zip"
TREE = "tree"
LINK_LIFETIME_S = 600
LINK_PATH = "/_hearth/code/"
_SHA256_DIGITS = 64
_KEY_BYTES = 32


class CodePackages:
    """Every package of this platform: the `CodeTrees` of the scheduler, and where uploads go."""

    def __init__(self, data_dir: Path, *, max_total_bytes: int) -> None:
        self._root = data_dir / "code"
        self._key_file = data_dir / "code-link.key"
        self._max_total_bytes = max_total_bytes
        self._key = b""
        self._sizes: dict[str, int] = {}
        self._pins: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._in_use: Callable[[], Iterable[str]] = tuple

    @property
    def total_bytes(self) -> int:
        """All stored zips together."""
        return sum(self._sizes.values())

    def ask_in_use(self, in_use: Callable[[], Iterable[str]]) -> None:
        """Have `in_use` name the packages that running environments still need; they are never collected."""
        self._in_use = in_use

    async def open(self) -> None:
        """Sweep what a crash left half done and take stock. To be called once, before anything else."""
        self._key = await asyncio.to_thread(_key, self._key_file)
        self._sizes = await asyncio.to_thread(_take_stock, self._root)

    @asynccontextmanager
    async def added(self, content: bytes) -> AsyncIterator[Package]:
        """Check and store a zip. It is safe from collection inside the context, and after it if a record names it."""
        rules.check_zipped_size(len(content))
        package = Package(await asyncio.to_thread(_sha256, content), len(content))
        self._pins[package.sha256] += 1
        try:
            await self._store(package, content)
            yield package
        finally:
            self._pins -= Counter((package.sha256,))

    async def check(self, content: bytes) -> Package:
        """Everything that `added` refuses is refused, and nothing is stored."""
        rules.check_zipped_size(len(content))
        await asyncio.to_thread(unpack.inspect, content)
        return Package(await asyncio.to_thread(_sha256, content), len(content))

    async def unpack(self, sha256: str) -> None:
        """Make the package's tree, unless it is there. Raises FileNotFoundError if there is no such package."""
        home = self._root / sha256
        if (home / TREE).is_dir():
            return
        self._pins[sha256] += 1
        try:
            await asyncio.to_thread(_unpack, home)
        finally:
            self._pins -= Counter((sha256,))

    def tree(self, code_sha256: str) -> str:
        """The absolute path of the unpacked code."""
        path = self._root / code_sha256 / TREE
        if not path.is_dir():
            raise FileNotFoundError(path)
        return str(path)

    async def collect(self, referenced: Callable[[], Iterable[str]]) -> int:
        """Delete every package that nobody needs; gives how many. `referenced` names those that records need; it is
        asked under the lock, when no upload can slip in between."""
        async with self._lock:
            needed = {*referenced(), *self._pins, *self._in_use()}
            garbage = [sha256 for sha256 in self._sizes if sha256 not in needed]
            trash = []
            for sha256 in garbage:
                # In this order: cut off in between, an upload of it writes it again instead of trusting what goes.
                del self._sizes[sha256]
                trash.append(await asyncio.to_thread(_discard, self._root / sha256))
        for path in trash:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return len(garbage)

    def signed_path(self, sha256: str, now_s: float) -> str:
        """A path with a query that lets anybody download the zip for ten minutes."""
        expires = int(now_s) + LINK_LIFETIME_S
        return f"{LINK_PATH}{sha256}?expires={expires}&signature={self._signature(sha256, expires)}"

    def signed_file(self, sha256: str, expires: str, signature: str, now_s: float) -> Path:
        """The zip that a signed path names; raises if the signature is not ours, is too old, or the zip is gone."""
        if not (expires.isascii() and expires.isdigit() and len(sha256) == _SHA256_DIGITS):
            raise AccessDenied("The link is malformed.")
        known = self._signature(sha256, int(expires))
        if not hmac.compare_digest(known.encode(), signature.encode(errors="replace")):
            raise AccessDenied("The link's signature does not match.")
        if now_s > int(expires):
            raise AccessDenied("The link has expired.")
        path = self._root / sha256 / PACKAGE
        if sha256 not in self._sizes:
            raise ResourceNotFound("The package does not exist any more.")
        return path

    def _signature(self, sha256: str, expires: int) -> str:
        return hmac.new(self._key, f"{sha256}:{expires}".encode(), hashlib.sha256).hexdigest()

    async def _store(self, package: Package, content: bytes) -> None:
        if package.sha256 in self._sizes:
            return
        await asyncio.to_thread(unpack.inspect, content)
        async with self._lock:
            if package.sha256 in self._sizes:
                return
            if self.total_bytes + package.size > self._max_total_bytes:
                raise CodeStorageExceeded("Code storage limit exceeded.")
            try:
                await asyncio.to_thread(_write_package, self._root, package.sha256, content)
            except OSError as error:
                raise ServiceError(f"The package could not be stored: {error.strerror}.") from error
            self._sizes[package.sha256] = package.size


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _key(path: Path) -> bytes:
    """The key of the signatures, made at the first start. Only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        key = path.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
    except FileNotFoundError:
        pass
    key = secrets.token_bytes(_KEY_BYTES)
    _write_durably(path.with_suffix(".new"), key)
    path.with_suffix(".new").rename(path)
    return key


def _take_stock(root: Path) -> dict[str, int]:
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    sizes: dict[str, int] = {}
    for home in root.iterdir():
        package = home / PACKAGE
        if home.name.startswith(".") or not package.is_file():
            shutil.rmtree(home, ignore_errors=True)
            continue
        sizes[home.name] = package.stat().st_size
        for unfinished in home.glob(".*"):
            shutil.rmtree(unfinished, ignore_errors=True)
    return sizes


def _write_package(root: Path, sha256: str, content: bytes) -> None:
    unfinished = root / f".incoming-{secrets.token_hex(8)}"
    unfinished.mkdir(mode=0o755)
    try:
        unfinished.chmod(0o755)
        _write_durably(unfinished / PACKAGE, content)
        _sync_directory(unfinished)
        _appear(unfinished, root / sha256)
        _sync_directory(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack(home: Path) -> None:
    unfinished = home / f".tree-{secrets.token_hex(8)}"
    try:
        with open(home / PACKAGE, "rb") as package:
            unpack.extract(package, unfinished)
        _appear(unfinished, home / TREE)
        _sync_directory(home)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _appear(unfinished: Path, place: Path) -> None:
    """Give a directory its name, unless the same content got there first."""
    try:
        unfinished.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _discard(home: Path) -> Path:
    """Take a package out of sight at once, so that deleting it may take its time."""
    trash = home.parent / f".trash-{secrets.token_hex(8)}"
    home.rename(trash)
    return trash


def _write_durably(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
