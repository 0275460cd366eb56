"""Packages on disk: what is refused, what is unpacked how, what is collected, who may download."""

import asyncio
import contextlib
import errno
import io
import os
import stat
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hearth import unpack
from hearth.core.errors import (
    AccessDenied,
    CodeStorageExceeded,
    HearthError,
    InvalidParameterValue,
    ResourceNotFound,
    ServiceError,
)
from hearth.core.package_rules import MAX_ENTRIES, MAX_UNZIPPED_BYTES
from hearth.packages import LINK_PATH, PACKAGE, CodePackages

NOW_S = 1_000_000.0


def zipped(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    """A zip of these files; a mode makes an entry what the mode says."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


@pytest.fixture
async def packages(tmp_path: Path) -> CodePackages:
    packages = CodePackages(tmp_path, max_total_bytes=10_000)
    await packages.open()
    return packages


async def deployed(packages: CodePackages, content: bytes) -> Path:
    async with packages.added(content) as package:
        await packages.unpack(package.sha256)
        return Path(packages.tree(package.sha256))


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "code").iterdir())


async def test_files_are_unpacked_with_their_contents(packages: CodePackages) -> None:
    tree = await deployed(packages, zipped({"app.py": b"x = 1", "lib/deep/data.bin": bytes(range(256))}))
    assert (tree / "app.py").read_bytes() == b"x = 1"
    assert (tree / "lib/deep/data.bin").read_bytes() == bytes(range(256))


async def test_everything_is_readable_by_all_whatever_the_umask(packages: CodePackages) -> None:
    before = os.umask(0o077)
    try:
        tree = await deployed(packages, zipped({"d/run.sh": b"", "d/a.py": b""}, {"d/run.sh": stat.S_IFREG | 0o700}))
    finally:
        os.umask(before)
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d/run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d/a.py").stat().st_mode) == 0o644


async def test_links_inside_the_package_are_made(packages: CodePackages) -> None:
    content = zipped({"lib/tool.js": b"tool", "bin/tool": b"../lib/tool.js"}, {"bin/tool": stat.S_IFLNK | 0o777})
    tree = await deployed(packages, content)
    assert (tree / "bin/tool").is_symlink()
    assert (tree / "bin/tool").read_bytes() == b"tool"


async def test_of_two_entries_with_one_name_the_later_wins(packages: CodePackages) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"first")
        archive.writestr("a", b"second")
    tree = await deployed(packages, out.getvalue())
    assert (tree / "a").read_bytes() == b"second"


async def test_an_empty_directory_is_kept(packages: CodePackages) -> None:
    tree = await deployed(packages, zipped({"empty/": b"", "a": b""}))
    assert (tree / "empty").is_dir()


async def test_a_missing_tree_is_no_file(packages: CodePackages) -> None:
    with pytest.raises(FileNotFoundError):
        packages.tree("0" * 64)
    with pytest.raises(FileNotFoundError):
        await packages.unpack("0" * 64)


def bomb() -> bytes:
    """More than the limit in two small entries."""
    half = bytes(MAX_UNZIPPED_BYTES // 2 + 1)
    return zipped({"a": half, "b": half})


def damaged() -> bytes:
    """A good zip, one byte of its first file's data changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("app.py", b"content")
    return out.getvalue().replace(b"content", b"contend", 1)


def lying() -> bytes:
    """A zip whose table says of a large file that it is small."""
    content = zipped({"a": bytes(100_000)})
    return content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))


REFUSED = {
    "not a zip": lambda: b"garbage",
    "empty": lambda: b"",
    "cut off": lambda: zipped({"a": b"x" * 1000})[:-10],
    "damaged": damaged,
    "lying": lying,
    "climbing": lambda: zipped({"../../evil": b"x"}),
    "absolute": lambda: zipped({"/etc/passwd": b"x"}),
    "link outside": lambda: zipped({"a": b"../../etc"}, {"a": stat.S_IFLNK | 0o777}),
    "through a link": lambda: zipped({"a": b".", "a/b": b"x"}, {"a": stat.S_IFLNK | 0o777}),
    "device": lambda: zipped({"a": b""}, {"a": stat.S_IFCHR | 0o666}),
    "bad text": lambda: zipped({"aé": b"x"}).replace("aé".encode(), b"a\xff\xfe"),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_package_is_the_callers_fault_and_leaves_nothing(
    packages: CodePackages, tmp_path: Path, make: object
) -> None:
    assert callable(make)
    with pytest.raises(InvalidParameterValue, match="Could not unzip uploaded file"):
        async with packages.added(make()):
            pytest.fail("accepted")
    assert left_behind(tmp_path) == []


async def test_a_bomb_is_told_its_size_and_leaves_nothing(packages: CodePackages, tmp_path: Path) -> None:
    content = bomb()
    packages = CodePackages(tmp_path, max_total_bytes=10**9)
    await packages.open()
    with pytest.raises(InvalidParameterValue, match=r"^Unzipped size must be smaller than 262144000 bytes$"):
        async with packages.added(content):
            pytest.fail("accepted")
    assert left_behind(tmp_path) == []


def test_a_huge_table_of_contents_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidParameterValue, match="more than 100000 entries"):
        unpack.inspect(io.BytesIO(b"PK\x01\x02" * (MAX_ENTRIES + 1)))


async def test_checking_stores_nothing(packages: CodePackages, tmp_path: Path) -> None:
    package = await packages.check(zipped({"a": b"x"}))
    assert package.size == len(zipped({"a": b"x"}))
    assert left_behind(tmp_path) == []


async def test_the_total_is_bounded(packages: CodePackages) -> None:
    with pytest.raises(CodeStorageExceeded):
        async with packages.added(zipped({"a": os.urandom(11_000)})):
            pytest.fail("accepted")
    assert packages.total_bytes == 0


async def test_one_package_is_stored_once(packages: CodePackages, tmp_path: Path) -> None:
    content = zipped({"a": b"x"})
    async with packages.added(content) as one, packages.added(content) as two:
        assert one == two
    assert packages.total_bytes == len(content)
    assert left_behind(tmp_path) == [one.sha256]


async def test_what_nobody_needs_is_collected(packages: CodePackages, tmp_path: Path) -> None:
    async with packages.added(zipped({"a": b"kept"})) as kept, packages.added(zipped({"a": b"gone"})):
        pass
    assert await packages.collect(lambda: [kept.sha256]) == 1
    assert left_behind(tmp_path) == [kept.sha256]
    assert packages.total_bytes == kept.size


async def test_a_package_being_added_is_never_collected(packages: CodePackages, tmp_path: Path) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        assert await packages.collect(lambda: []) == 0
    assert left_behind(tmp_path) == [package.sha256]


async def test_a_package_in_use_by_an_environment_is_never_collected(packages: CodePackages) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        pass
    packages.ask_in_use(lambda: [package.sha256])
    assert await packages.collect(lambda: []) == 0


async def test_a_collected_package_can_come_back(packages: CodePackages) -> None:
    content = zipped({"a": b"x"})
    await deployed(packages, content)
    await packages.collect(lambda: [])
    tree = await deployed(packages, content)
    assert (tree / "a").read_bytes() == b"x"


async def test_a_collection_that_is_cut_off_loses_nothing(
    packages: CodePackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zipped({"a": b"x"})
    await deployed(packages, content)
    monkeypatch.setattr("hearth.packages._discard", cut_off)
    with pytest.raises(asyncio.CancelledError):
        await packages.collect(lambda: [])
    tree = await deployed(packages, content)
    assert (tree / "a").read_bytes() == b"x"


def cut_off(home: Path) -> Path:
    raise asyncio.CancelledError


async def test_a_full_disk_is_the_platforms_fault_and_leaves_nothing(
    packages: CodePackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServiceError, match="No space left on device"):
        async with packages.added(zipped({"a": b"x"})):
            pytest.fail("accepted")
    assert left_behind(tmp_path) == []
    assert packages.total_bytes == 0


async def test_two_functions_may_unpack_one_package_at_once(packages: CodePackages) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(packages.unpack(package.sha256), name=f"unpack {number}")
        assert packages.tree(package.sha256)


async def test_a_restart_sweeps_what_a_crash_left_and_keeps_the_rest(packages: CodePackages, tmp_path: Path) -> None:
    content = zipped({"a": b"x"})
    tree = await deployed(packages, content)
    (tmp_path / "code/.incoming-1").mkdir()
    (tmp_path / "code/.incoming-1" / PACKAGE).write_bytes(b"half")
    (tree.parent / ".tree-1").mkdir()
    (tmp_path / "code" / ("0" * 64)).mkdir()
    again = CodePackages(tmp_path, max_total_bytes=10_000)
    await again.open()
    assert left_behind(tmp_path) == [tree.parent.name]
    assert sorted(path.name for path in tree.parent.iterdir()) == [PACKAGE, "tree"]
    assert again.total_bytes == len(content)
    assert again.tree(tree.parent.name) == str(tree)


def link_parts(path: str) -> tuple[str, str, str]:
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    return parts.path.removeprefix(LINK_PATH), query["expires"][0], query["signature"][0]


async def test_a_signed_path_leads_to_the_zip_for_ten_minutes(packages: CodePackages) -> None:
    content = zipped({"a": b"x"})
    async with packages.added(content) as package:
        link = link_parts(packages.signed_path(package.sha256, NOW_S))
    assert packages.signed_file(*link, now_s=NOW_S + 600).read_bytes() == content
    with pytest.raises(AccessDenied, match="expired"):
        packages.signed_file(*link, now_s=NOW_S + 601)


async def test_a_signed_path_still_works_after_a_restart(packages: CodePackages, tmp_path: Path) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        link = link_parts(packages.signed_path(package.sha256, NOW_S))
    again = CodePackages(tmp_path, max_total_bytes=10_000)
    await again.open()
    assert again.signed_file(*link, now_s=NOW_S).is_file()
    assert stat.S_IMODE((tmp_path / "code-link.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("forgery", [("0" * 64, None, None), (None, "99999999999", None), (None, None, "0" * 64)])
async def test_a_forged_path_is_refused(packages: CodePackages, forgery: tuple[str | None, ...]) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        link = link_parts(packages.signed_path(package.sha256, NOW_S))
    forged = [new if new is not None else old for new, old in zip(forgery, link, strict=True)]
    with pytest.raises(AccessDenied):
        packages.signed_file(forged[0], forged[1], forged[2], NOW_S)


@pytest.mark.parametrize("expires", ["", "x", "-1", "1e9", "²", "9" * 5000])
@pytest.mark.parametrize("sha256", ["../../etc/passwd", "0" * 64])
async def test_a_malformed_path_is_refused(packages: CodePackages, sha256: str, expires: str) -> None:
    with pytest.raises(AccessDenied):
        packages.signed_file(sha256, expires, "ü", NOW_S)


async def test_a_path_to_a_collected_package_leads_nowhere(packages: CodePackages) -> None:
    async with packages.added(zipped({"a": b"x"})) as package:
        link = link_parts(packages.signed_path(package.sha256, NOW_S))
    await packages.collect(lambda: [])
    with pytest.raises(ResourceNotFound):
        packages.signed_file(*link, now_s=NOW_S)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c.py"]), min_size=1, max_size=4).map("/".join)
MODES = st.sampled_from([0, stat.S_IFREG | 0o600, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFREG | 0o4777])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, st.tuples(MODES, st.sampled_from([b"..", b"a", b"b/..", b"/tmp", b"c.py"])), max_size=5))
def test_whatever_is_unpacked_stays_inside(tmp_path: Path, entries: dict[str, tuple[int, bytes]]) -> None:
    content = zipped(
        {name: target for name, (_, target) in entries.items()}, {name: mode for name, (mode, _) in entries.items()}
    )
    top = tmp_path / os.urandom(8).hex()
    top.mkdir()
    try:
        unpack.inspect(io.BytesIO(content))
    except HearthError:
        return
    unpack.extract(io.BytesIO(content), top / "tree")
    assert [path.name for path in top.iterdir()] == ["tree"]
    for path in (top / "tree").rglob("*"):
        assert os.path.realpath(path).startswith(str(top / "tree"))
        assert path.is_symlink() or not path.stat().st_mode & (stat.S_ISUID | stat.S_IWOTH)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(1, 255))
def test_no_garbage_gets_past_as_anything_but_a_bad_zip(noise: bytes, position: int, flip: int) -> None:
    good = bytearray(zipped({"a.py": b"x" * 50, "b/c": b"y" * 50}))
    good[position % len(good)] ^= flip
    for content in (noise, bytes(good), bytes(good) + noise):
        with contextlib.suppress(InvalidParameterValue):
            unpack.inspect(io.BytesIO(content))
