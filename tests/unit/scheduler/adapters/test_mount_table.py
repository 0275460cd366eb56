"""Reading the kernel's table of mounts."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.adapters.mount_table import MountPoint, parse_mounts, read_mounts

_TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
43 44 7:0 /sub /srv/with\\040blank\\134 ro,nosuid shared:3 master:1 - ext4 /dev/loop0 rw
"""


def test_every_line_is_a_mount() -> None:
    assert list(parse_mounts(_TABLE)) == [
        MountPoint(Path("/"), "/", "ext4", frozenset({"rw", "discard"}), is_shared=False),
        MountPoint(Path("/sys/fs/cgroup/cpu"), "/", "cgroup", frozenset({"rw", "cpu", "cpuacct"}), is_shared=True),
        MountPoint(Path("/srv/with blank\\"), "/sub", "ext4", frozenset({"rw"}), is_shared=True),
    ]


def test_this_hosts_table_has_a_root() -> None:
    assert Path("/") in {mount.path for mount in read_mounts()}


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    list(parse_mounts(text))


@given(st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1))
def test_any_name_survives_the_kernels_escapes(name: str) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)
    (mount,) = parse_mounts(f"1 2 0:1 / /{escaped} rw - ext4 none rw")
    assert mount.path == Path(f"/{name}")
