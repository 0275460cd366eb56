"""Packages of functions and layers on disk, each once, by the SHA-256 of its zip.

`<root>/<sha256>/package.zip` is the upload, `<root>/<sha256>/tree/` the unpacked code. Both appear by a rename, whole
or not at all; names that begin with a dot are unfinished work and are swept at the start. What several layers give
together lies beside them (see `hearth.merged_trees`).
State: the directory is the truth; `_sizes` mirrors it and is changed under `_lock`, `_merged` under `_merging`.
Source: `Code` of GetFunction in the AWS Lambda API reference, for the signed link and its ten minutes.
"""

import asyncio
import hashlib
import hmac
import io
import os
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

from hearth import unpack
from hearth.core import package_rules as rules
from hearth.core.errors import AccessDenied, CodeStorageExceeded, ResourceNotFound, ServiceError
from hearth.core.opt_trees import opt_name
from hearth.core.records import Package
from hearth.merged_trees import MergedTrees

PACKAGE = "package.zip"
TREE = "tree"
LINK_LIFETIME_S = 600
LINK_PATH = "/_hearth/code/"
_SHA256_DIGITS = 64
_EPOCH_DIGITS = 12
_KEY_BYTES = 32

Content = bytes | Path
"""A zip: what came in a request, or a file from `CodePackages.incoming`, which is moved into its place."""


class CodePackages:
    """Every package of this platform: the `CodeTrees` of the scheduler, and where uploads go."""

    def __init__(self, data_dir: Path, *, max_total_bytes: int) -> None:
        self._root = data_dir / "code"
        self._key_file = data_dir / "code-link.key"
        self._max_total_bytes = max_total_bytes
        self._key = b""
        self._sizes: dict[str, int] = {}
        self._unzipped: dict[str, int] = {}
        self._merged = MergedTrees(data_dir / "opt")
        self._pins: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._merging = asyncio.Lock()
        self._in_use: list[Callable[[], Iterable[str]]] = []

    @property
    def total_bytes(self) -> int:
        """All stored zips together."""
        return sum(self._sizes.values())

    def ask_in_use(self, in_use: Callable[[], Iterable[str]]) -> None:
        """Have `in_use` name what else is needed, besides what `collect` is told: the packages and merged trees of
        running environments, the packages of layers. To be called once for each that knows of some."""
        self._in_use.append(in_use)

    async def open(self) -> None:
        """Sweep what a crash left half done and take stock. To be called once, before anything else."""
        self._key = await asyncio.to_thread(_key, self._key_file)
        self._sizes = await asyncio.to_thread(_take_stock, self._root)
        await asyncio.to_thread(self._merged.open)

    @asynccontextmanager
    async def added(self, content: Content) -> AsyncIterator[Package]:
        """Check and store a zip. It is safe from collection inside the context, and after it if a record names it."""
        package = await asyncio.to_thread(_identify, content)
        with self.pinned(package.sha256):
            await self._store(package, content)
            yield package

    async def check(self, content: Content) -> Package:
        """Everything that `added` refuses is refused, and nothing is stored."""
        package = await asyncio.to_thread(_identify, content)
        await asyncio.to_thread(_inspect, content)
        return package

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """An empty file for a zip that arrives piece by piece; what is not added by the end is deleted."""
        path = self._root / f".incoming-{secrets.token_hex(8)}"
        path.touch(mode=0o600)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def pinned(self, *names: str) -> Iterator[None]:
        """Packages and merged trees that are safe from collection inside the context, whoever needs them or not."""
        self._pins.update(names)
        try:
            yield
        finally:
            self._pins -= Counter(names)

    async def unpack(self, sha256: str) -> None:
        """Make the package's tree, unless it is there. Raises FileNotFoundError if there is no such package."""
        home = self._root / sha256
        if (home / TREE).is_dir():
            return
        with self.pinned(sha256):
            await asyncio.to_thread(_unpack, home)

    async def merge(self, layers: Sequence[str]) -> None:
        """Make the tree that these layers give together, in this order, unless it is there or there is nothing to
        merge. Each must be unpacked."""
        name = opt_name(layers)
        if name is None or name in layers:
            return
        with self.pinned(name, *layers):
            trees = [Path(self.tree(sha256)) for sha256 in layers]
            async with self._merging:
                if self._merged.find(name) is None:
                    await asyncio.to_thread(self._merged.make, name, trees)

    async def unzipped_bytes(self, sha256: str) -> int:
        """What the files of a stored package take, unpacked."""
        if sha256 not in self._unzipped:
            self._unzipped[sha256] = await asyncio.to_thread(_unzipped_bytes, self._root / sha256 / PACKAGE)
        return self._unzipped[sha256]

    def without_tree(self, names: Iterable[str]) -> set[str]:
        """Those of these packages and merged trees that are still to be made. Blocking."""
        return {name for name in names if not (self._root / name / TREE).is_dir() and self._merged.find(name) is None}

    def holds(self, name: str) -> bool:
        """Whether the package or merged tree exists."""
        return name in self._sizes or self._merged.find(name) is not None

    def tree(self, code_sha256: str) -> str:
        """The absolute path of the unpacked code."""
        path = self._root / code_sha256 / TREE
        if not path.is_dir():
            raise FileNotFoundError(path)
        return str(path)

    def opt(self, layers: Sequence[str]) -> str | None:
        """The absolute path of the tree that these layers give at /opt; None without layers. FileNotFoundError if it
        was never made."""
        name = opt_name(layers)
        if name is None or name in layers:
            return None if name is None else self.tree(name)
        path = self._merged.find(name)
        if path is None:
            raise FileNotFoundError(f"the layers {', '.join(layers)} are not merged")
        return str(path)

    async def collect(self, referenced: Callable[[], Iterable[str]]) -> int:
        """Delete every package and merged tree that nobody needs; gives how many packages. `referenced` names those
        that records need; it is asked under the lock, when no upload can slip in between."""
        async with self._lock, self._merging:
            needed = {*referenced(), *self._pins, *(name for in_use in self._in_use for name in in_use())}
            garbage = [sha256 for sha256 in self._sizes if sha256 not in needed]
            # In this order: whoever wants one of them from here on makes it again instead of trusting what goes.
            for sha256 in garbage:
                del self._sizes[sha256]
                self._unzipped.pop(sha256, None)
            homes = [self._root / sha256 for sha256 in garbage]
            trash = await asyncio.to_thread(_discard, [*homes, *self._merged.forget_all_but(needed)])
        for path in trash:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return len(garbage)

    def signed_path(self, sha256: str, now_s: float) -> str:
        """A path with a query that lets anybody download the zip for ten minutes."""
        expires = int(now_s) + LINK_LIFETIME_S
        return f"{LINK_PATH}{sha256}?expires={expires}&signature={self._signature(sha256, expires)}"

    def signed_file(self, sha256: str, expires: str, signature: str, now_s: float) -> Path:
        """The zip that a signed path names; raises if the signature is not ours, is too old, or the zip is gone."""
        is_time = expires.isascii() and expires.isdigit() and len(expires) <= _EPOCH_DIGITS
        if not is_time or len(sha256) != _SHA256_DIGITS:
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

    async def _store(self, package: Package, content: Content) -> None:
        if package.sha256 in self._sizes:
            return
        await asyncio.to_thread(_inspect, content)
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


@contextmanager
def _opened(content: Content) -> Iterator[IO[bytes]]:
    if isinstance(content, Path):
        with open(content, "rb") as file:
            yield file
    else:
        yield io.BytesIO(content)


def _identify(content: Content) -> Package:
    """What a zip will be called; raises if it is too large."""
    if not isinstance(content, Path):
        rules.check_zipped_size(len(content))
        return Package(hashlib.sha256(content).hexdigest(), len(content))
    with open(content, "rb") as file:
        return Package(hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size)


def _inspect(content: Content) -> None:
    with _opened(content) as package:
        unpack.inspect(package)


def _unzipped_bytes(path: Path) -> int:
    with open(path, "rb") as package:
        return unpack.unzipped_bytes(package)


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
        if home.is_file():
            home.unlink()  # a zip that was still arriving
            continue
        if home.name.startswith(".") or not package.is_file():
            shutil.rmtree(home, ignore_errors=True)
            continue
        sizes[home.name] = package.stat().st_size
        for unfinished in home.glob(".*"):
            shutil.rmtree(unfinished, ignore_errors=True)
    return sizes


def _write_package(root: Path, sha256: str, content: Content) -> None:
    unfinished = root / f".incoming-{secrets.token_hex(8)}"
    unfinished.mkdir(mode=0o755)
    try:
        unfinished.chmod(0o755)
        if isinstance(content, Path):
            _move_durably(content, unfinished / PACKAGE)
        else:
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


def _discard(paths: Iterable[Path]) -> list[Path]:
    """Take directories out of sight at once, so that deleting them may take its time."""
    return [path.rename(path.with_name(f".trash-{secrets.token_hex(8)}")) for path in paths]


def _write_durably(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move_durably(file: Path, place: Path) -> None:
    """Move a file within the file system."""
    file.chmod(0o600)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    file.rename(place)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
