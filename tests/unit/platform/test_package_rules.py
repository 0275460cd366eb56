"""What a package may hold: decided from its table of contents."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core import package_rules as rules
from hearth.core.errors import HearthError, InvalidParameterValue, RequestTooLarge
from hearth.core.package_rules import Entry, EntryKind


def planned(*entries: Entry) -> list[tuple[str, EntryKind, int]]:
    return [("/".join(item.parts), item.kind, item.mode) for item in rules.plan(entries) if item is not None]


def test_a_file_without_unix_modes_is_readable() -> None:
    assert planned(Entry("a.py", 0, 1)) == [("a.py", EntryKind.FILE, 0o644)]


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [(0o600, 0o644), (0o700, 0o755), (0o755, 0o755), (0o777, 0o755), (0o444, 0o444), (0o4755, 0o755), (0o1644, 0o644)],
)
def test_files_keep_their_permissions_but_are_readable_and_without_special_bits(mode: int, becomes: int) -> None:
    assert planned(Entry("a", stat.S_IFREG | mode, 1)) == [("a", EntryKind.FILE, becomes)]


def test_directories_are_open_to_read_and_the_top_one_is_nothing() -> None:
    assert planned(Entry("./", 0, 0), Entry("a/", stat.S_IFDIR | 0o700, 0)) == [("a", EntryKind.DIRECTORY, 0o755)]


def test_meaningless_parts_of_a_name_are_dropped() -> None:
    assert planned(Entry("./a//b.py", 0, 1))[0][0] == "a/b.py"


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "a/..", "..", "//a", "a\0b", "x" * 256, "a/" * 2000]
)
def test_a_name_that_leads_elsewhere_or_nowhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameterValue, match="Could not unzip uploaded file"):
        rules.plan([Entry(name, 0, 1)])


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_and_pipes_are_refused(kind: int) -> None:
    with pytest.raises(InvalidParameterValue, match="neither a file"):
        rules.plan([Entry("a", kind | 0o644, 0)])


def test_encrypted_entries_are_refused() -> None:
    with pytest.raises(InvalidParameterValue, match="encrypted"):
        rules.plan([Entry("a", 0, 1, flags=0x1)])


def test_a_method_whose_reader_could_be_made_to_take_all_memory_is_refused() -> None:
    with pytest.raises(InvalidParameterValue, match="unsupported method"):
        rules.plan([Entry("a", 0, 1, method=14)])


def test_the_unzipped_size_is_bounded_exactly() -> None:
    half = rules.MAX_UNZIPPED_BYTES // 2
    rules.plan([Entry("a", 0, half), Entry("b", 0, half)])
    with pytest.raises(InvalidParameterValue, match=r"^Unzipped size must be smaller than 262144000 bytes$"):
        rules.plan([Entry("a", 0, half), Entry("b", 0, half + 1)])


def test_entries_of_one_name_count_each_for_themselves() -> None:
    with pytest.raises(InvalidParameterValue, match="Unzipped size"):
        rules.plan([Entry("a", 0, rules.MAX_UNZIPPED_BYTES), Entry("a", 0, 1)])


def test_the_number_of_entries_is_bounded() -> None:
    with pytest.raises(InvalidParameterValue, match="more than 100000 entries"):
        rules.plan(Entry(str(number), 0, 0) for number in range(rules.MAX_ENTRIES + 1))


def test_the_zipped_size_is_bounded() -> None:
    rules.check_zipped_size(rules.MAX_ZIPPED_BYTES)
    with pytest.raises(RequestTooLarge, match=r"^Zipped size must be smaller than 52428800 bytes$"):
        rules.check_zipped_size(rules.MAX_ZIPPED_BYTES + 1)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a", "a/")])
def test_a_name_cannot_be_a_file_and_a_directory(names: tuple[str, str]) -> None:
    with pytest.raises(InvalidParameterValue, match="at once"):
        rules.plan([Entry(name, 0, 0) for name in names])


def test_nothing_may_lie_beneath_a_link() -> None:
    link = Entry("a", stat.S_IFLNK | 0o777, 1)
    with pytest.raises(InvalidParameterValue, match="at once"):
        rules.plan([link, Entry("a/b", 0, 0)])


@pytest.mark.parametrize(
    "targets",
    [
        {("a",): "b"},
        {("bin", "tool"): "../lib/tool.js"},
        {("a", "b", "c"): "../../d"},
        {("a",): "./b/./c"},
        {("d",): "lib", ("a",): "d/x"},
        {("a",): "missing"},
    ],
    ids=str,
)
def test_links_inside_the_package_are_kept(targets: dict[tuple[str, ...], str]) -> None:
    rules.check_links(targets)


@pytest.mark.parametrize(
    "targets",
    [
        {("a",): "../b"},
        {("a",): "/etc/passwd"},
        {("a", "b"): "../../c"},
        {("a",): ""},
        {("a",): "a"},
        {("a",): "b", ("b",): "a"},
        # d/x leads to the top, so that d/x/.. is above it although d/x/.. reads like d.
        {("d", "x"): "..", ("y",): "d/x/.."},
        {("a",): "b/c", ("b",): "/tmp"},
        {("a",): "x\0y"},
    ],
    ids=str,
)
def test_links_that_lead_outside_or_nowhere_are_refused(targets: dict[tuple[str, ...], str]) -> None:
    with pytest.raises(InvalidParameterValue, match="link"):
        rules.check_links(targets)


PARTS = st.sampled_from(["a", "b", "..", ".", "", "c"])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


@given(st.lists(st.tuples(PATHS, st.sampled_from([0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO]))))
def test_whatever_is_planned_lies_inside(entries: list[tuple[str, int]]) -> None:
    try:
        plan = rules.plan(Entry(name, kind and kind | 0o644, 1) for name, kind in entries)
    except HearthError:
        return
    for item in plan:
        if item is not None:
            assert item.parts
            assert not {"", ".", ".."} & set(item.parts)
            assert not item.mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)
            assert item.mode & stat.S_IROTH


@given(
    st.dictionaries(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple), PATHS, min_size=1, max_size=4)
)
def test_a_link_that_is_kept_stays_inside_on_a_real_file_system(
    tmp_path_factory: pytest.TempPathFactory, targets: dict[tuple[str, ...], str]
) -> None:
    try:
        rules.plan(Entry("/".join(place), stat.S_IFLNK | 0o777, 1) for place in targets)
        rules.check_links(targets)
    except HearthError:
        return
    top = tmp_path_factory.mktemp("package")
    for place, target in targets.items():
        top.joinpath(*place[:-1]).mkdir(parents=True, exist_ok=True)
        top.joinpath(*place).symlink_to(target)
    for place in targets:
        assert os.path.realpath(top.joinpath(*place)).startswith(str(top))
