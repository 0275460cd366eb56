"""What several layers give at /opt: later ones over earlier ones, and nothing outside is touched."""

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.core.opt_trees import opt_name
from hearth.packages import CodePackages
from hearth.tree_links import link_tree

Tree = dict[str, Any]
"""A directory: bytes are a file, a text is a link's target, a dictionary is a directory."""

NAMES = st.sampled_from("abc")
LEAVES = st.binary(max_size=3) | st.sampled_from(["a", "../b", "/etc", "a/b"])
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3), lambda inner: st.dictionaries(NAMES, LEAVES | inner, max_size=3)
)


def write(tree: Tree, at: Path) -> Path:
    at.mkdir()
    for name, entry in tree.items():
        match entry:
            case bytes():
                (at / name).write_bytes(entry)
            case str():
                (at / name).symlink_to(entry)
            case _:
                write(entry, at / name)
    return at


def read(at: Path) -> Tree:
    found: Tree = {}
    for entry in os.scandir(at):
        path = Path(entry.path)
        if entry.is_symlink():
            found[entry.name] = os.readlink(path)
        else:
            found[entry.name] = read(path) if entry.is_dir() else path.read_bytes()
    return found


def merged(earlier: Tree, later: Tree) -> Tree:
    """The model: directories of one name become one, everything else gives way to what is later."""
    both = dict(earlier)
    for name, entry in later.items():
        known = both.get(name)
        both[name] = merged(known, entry) if isinstance(known, dict) and isinstance(entry, dict) else entry
    return both


@settings(deadline=None)
@given(layers=st.lists(TREES, max_size=4))
def test_layers_are_merged_as_the_model_says_and_stay_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, layers: list[Tree]
) -> None:
    home = tmp_path_factory.mktemp("layers")
    expected: Tree = {}
    trees = [write(tree, home / str(number)) for number, tree in enumerate(layers)]
    (home / "opt").mkdir()

    for tree, source in zip(layers, trees, strict=True):
        link_tree(source, home / "opt")
        expected = merged(expected, tree)

    assert read(home / "opt") == expected
    assert [read(source) for source in trees] == layers
    shutil.rmtree(home)


def test_files_are_shared_not_copied(tmp_path: Path) -> None:
    source = write({"big": b"x"}, tmp_path / "source")
    (tmp_path / "opt").mkdir()

    link_tree(source, tmp_path / "opt")

    assert (tmp_path / "opt/big").stat().st_ino == (source / "big").stat().st_ino


def test_a_copy_replaces_a_link_instead_of_writing_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(18, "cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    source = write({"file": b"new"}, tmp_path / "source")
    opt = write({"file": "../outside"}, tmp_path / "opt")

    link_tree(source, opt)

    assert outside.read_text() == "untouched"
    assert (opt / "file").read_text() == "new"


@pytest.fixture
async def packages(tmp_path: Path) -> CodePackages:
    packages = CodePackages(tmp_path, max_total_bytes=10_000)
    await packages.open()
    return packages


async def stored(packages: CodePackages, content: bytes) -> str:
    async with packages.added(content) as package:
        await packages.unpack(package.sha256)
        return package.sha256


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


async def test_several_layers_are_one_tree_in_order(packages: CodePackages) -> None:
    first, second = await stored(packages, zipped(a="1", b="1")), await stored(packages, zipped(b="2"))

    await packages.merge((first, second))
    await packages.merge((second, first))

    assert read(Path(str(packages.opt((first, second))))) == {"a": b"1", "b": b"2"}
    assert read(Path(str(packages.opt((second, first))))) == {"a": b"1", "b": b"1"}


async def test_one_layer_is_used_as_it_is_and_none_is_none(packages: CodePackages, tmp_path: Path) -> None:
    only = await stored(packages, zipped(a="1"))

    await packages.merge((only,))
    await packages.merge(())

    assert packages.opt((only,)) == packages.tree(only)
    assert packages.opt(()) is None
    assert read(tmp_path / "opt") == {}


async def test_what_was_never_merged_is_not_found(packages: CodePackages) -> None:
    first, second = await stored(packages, zipped(a="1")), await stored(packages, zipped(b="2"))
    with pytest.raises(FileNotFoundError):
        packages.opt((first, second))
    with pytest.raises(FileNotFoundError):
        await packages.merge((first, "0" * 64))


async def test_a_merged_tree_is_found_again_and_half_ones_are_swept(packages: CodePackages, tmp_path: Path) -> None:
    first, second = await stored(packages, zipped(a="1")), await stored(packages, zipped(b="2"))
    await packages.merge((first, second))
    write({"a": b""}, tmp_path / "opt/.merging-0")
    write({"a": b""}, tmp_path / "opt/.trash-0")

    again = CodePackages(tmp_path, max_total_bytes=10_000)
    await again.open()

    assert packages.opt((first, second)) == again.opt((first, second))
    assert list(read(tmp_path / "opt")) == [opt_name((first, second))]


async def test_a_merged_tree_goes_when_nobody_needs_it_and_its_layers_stay(
    packages: CodePackages, tmp_path: Path
) -> None:
    first, second = await stored(packages, zipped(a="1")), await stored(packages, zipped(b="2"))
    both = (first, second)
    await packages.merge(both)

    await packages.collect(lambda: {*both, str(opt_name(both))})
    assert packages.opt(both) is not None
    await packages.collect(lambda: both)

    with pytest.raises(FileNotFoundError):
        packages.opt(both)
    assert read(tmp_path / "opt") == {}
    assert packages.opt((first,)) is not None


async def test_a_merged_tree_that_was_collected_is_made_again(packages: CodePackages) -> None:
    both = (await stored(packages, zipped(a="1")), await stored(packages, zipped(b="2")))
    await packages.merge(both)
    await packages.collect(lambda: both)

    await packages.merge(both)

    assert read(Path(str(packages.opt(both)))) == {"a": b"1", "b": b"2"}


async def test_what_an_environment_runs_is_not_collected(packages: CodePackages) -> None:
    both = (await stored(packages, zipped(a="1")), await stored(packages, zipped(b="2")))
    await packages.merge(both)
    packages.ask_in_use(lambda: [str(opt_name(both))])
    packages.ask_in_use(lambda: both[:1])

    assert await packages.collect(lambda: ()) == 1

    assert packages.opt(both) is not None
    assert packages.opt(both[:1]) is not None


async def test_a_package_that_is_pinned_is_not_collected(packages: CodePackages) -> None:
    only = await stored(packages, zipped(a="1"))
    with packages.pinned(only):
        with packages.pinned(only):
            pass
        assert await packages.collect(lambda: ()) == 0
    assert await packages.collect(lambda: ()) == 1


async def test_a_zip_that_arrives_as_a_file_is_moved_into_its_place(packages: CodePackages, tmp_path: Path) -> None:
    content = zipped(a="from a file")
    with packages.incoming() as file:
        file.write_bytes(content)
        async with packages.added(file) as package:
            await packages.unpack(package.sha256)
    async with packages.added(content) as same:
        assert same == package
    assert read(Path(packages.tree(package.sha256))) == {"a": b"from a file"}
    assert [path.name for path in (tmp_path / "code").iterdir()] == [package.sha256]


async def test_a_zip_that_never_arrived_whole_is_swept(packages: CodePackages, tmp_path: Path) -> None:
    with packages.incoming():
        pass
    assert list((tmp_path / "code").iterdir()) == []
    (tmp_path / "code/.incoming-0").write_bytes(b"half")

    await CodePackages(tmp_path, max_total_bytes=10_000).open()

    assert list((tmp_path / "code").iterdir()) == []


async def test_a_package_is_measured_unpacked(packages: CodePackages) -> None:
    only = await stored(packages, zipped(a="1" * 700, b="22"))
    assert await packages.unzipped_bytes(only) == 702
