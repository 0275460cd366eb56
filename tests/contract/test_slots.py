"""One suite for every `Slots`, then what only real mounts, and containers that see them, can show."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hearth_scheduler.adapters import mount_calls
from hearth_scheduler.adapters.docker_containers import DockerContainers
from hearth_scheduler.adapters.docker_template import BindMode, Template
from hearth_scheduler.adapters.link_slots import LinkSlots
from hearth_scheduler.adapters.mount_slots import MountSlots
from hearth_scheduler.adapters.mount_table import read_mounts
from hearth_scheduler.ports import Container, ContainerRequest, Places, Slots
from hearth_scheduler.testing import FakeSlots

Execute = Callable[..., tuple[int, str]]
MakeRequest = Callable[..., ContainerRequest]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
_MIB = 2**20


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """An unpacked package."""
    tree = tmp_path / "code"
    (tree / "package" / "deep").mkdir(parents=True)
    (tree / "app.py").write_text("def handler(event, context): ...")
    (tree / "package" / "deep" / "tool").write_text("#!/bin/sh\necho tool\n")
    (tree / "package" / "deep" / "tool").chmod(0o755)
    (tree / "link").symlink_to("package/deep/tool")
    return tree


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """What layers give."""
    tree = tmp_path / "layers"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "wrapper").write_text("#!/bin/sh\necho wrapped\n")
    (tree / "bin" / "wrapper").chmod(0o755)
    (tree / "lib").mkdir()
    (tree / "lib" / "library.so").write_text("")
    return tree


@pytest.fixture(params=["fake", "link", pytest.param("mount", marks=needs_root)])
def slots(request: pytest.FixtureRequest) -> Slots:
    made: Slots = request.getfixturevalue(f"{request.param}_slots")
    return made


@pytest.fixture
def fake_slots(run: Path) -> FakeSlots:
    return FakeSlots(run)


@pytest.fixture
async def link_slots(run: Path) -> AsyncIterator[LinkSlots]:
    slots = LinkSlots(run)
    yield slots
    await slots.destroy()
    slots.close()


@pytest.fixture
async def mount_slots(run: Path) -> AsyncIterator[MountSlots]:
    slots = MountSlots(run)
    yield slots
    await slots.destroy()
    slots.close()
    assert mounts_below(run) == []
    assert loops_below(run) == []


def mounts_below(run: Path) -> list[Path]:
    return [mount.path for mount in read_mounts() if mount.path.is_relative_to(run)]


def loops_below(run: Path) -> list[str]:
    """The files behind loop devices that lie (or lay) below the directory."""
    files = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            files.append(path.read_text().strip())
        except OSError:  # the device became free meanwhile
            continue
    return [file for file in files if file.startswith(str(run))]


def _listing(tree: Path) -> list[Path]:
    return sorted(tree.rglob("*"))


async def test_prepared_places_are_where_they_are_said_to_be(slots: Slots) -> None:
    places = await slots.prepare("one")

    assert places == slots.places("one")
    assert places.sockets.is_dir()
    assert [path.name for path in places.task.iterdir()] == ["lib"]
    assert [path.name for path in places.opt.iterdir()] == ["lib"]
    assert list(places.tmp.iterdir()) == []


async def test_an_environment_with_places_is_a_leftover_until_it_is_released(slots: Slots) -> None:
    assert await slots.leftovers() == []
    await slots.prepare("one")
    await slots.prepare("two")
    assert sorted(await slots.leftovers()) == ["one", "two"]
    await slots.release("one")
    assert await slots.leftovers() == ["two"]


async def test_attached_code_is_seen_whole(slots: Slots, code: Path) -> None:
    places = await slots.prepare("one")
    await slots.attach(places, code=code, tmp_mib=512)

    assert (places.task / "app.py").read_text() == (code / "app.py").read_text()
    assert os.access(places.task / "package/deep/tool", os.X_OK)
    assert (places.task / "link").readlink() == Path("package/deep/tool")


async def test_attached_layers_are_seen_beside_the_code(slots: Slots, code: Path, opt: Path) -> None:
    places = await slots.prepare("one")
    await slots.attach(places, code=code, opt=opt, tmp_mib=512)

    assert os.access(places.opt / "bin/wrapper", os.X_OK)
    assert (places.opt / "lib/library.so").exists()
    assert (places.task / "app.py").exists()


async def test_without_code_there_is_only_tmp(slots: Slots) -> None:
    places = await slots.prepare("one")
    await slots.attach(places, code=None, tmp_mib=512)

    (places.tmp / "file").write_text("x")
    assert [path.name for path in places.task.iterdir()] == ["lib"]


async def test_without_layers_opt_stays_as_it_was(slots: Slots, code: Path) -> None:
    places = await slots.prepare("one")
    await slots.attach(places, code=code, opt=None, tmp_mib=512)

    assert [path.name for path in places.opt.iterdir()] == ["lib"]


async def test_code_and_layers_themselves_survive_the_release(slots: Slots, code: Path, opt: Path) -> None:
    before = _listing(code), _listing(opt)
    places = await slots.prepare("one")
    await slots.attach(places, code=code, opt=opt, tmp_mib=512)
    (places.tmp / "file").write_text("x")

    await slots.release("one")

    assert (_listing(code), _listing(opt)) == before
    assert not places.root.exists()


async def test_releasing_what_is_gone_or_never_was_is_success(slots: Slots) -> None:
    await slots.prepare("one")
    await slots.release("one")
    await slots.release("one")
    await slots.release("never")


async def test_preparing_twice_fails_and_harms_nothing(slots: Slots, code: Path) -> None:
    places = await slots.prepare("one")
    await slots.attach(places, code=code, tmp_mib=512)
    with pytest.raises(FileExistsError):
        await slots.prepare("one")
    assert (places.task / "app.py").exists()


async def test_environments_do_not_share_places(slots: Slots, code: Path) -> None:
    first, second = await asyncio.gather(slots.prepare("one"), slots.prepare("two"))
    await slots.attach(first, code=code, tmp_mib=512)
    (first.tmp / "secret").write_text("x")
    await slots.attach(second, code=code, tmp_mib=512)
    assert list(second.tmp.iterdir()) == []


async def test_many_environments_come_and_go_at_once(slots: Slots, code: Path) -> None:
    async def live(environment_id: str) -> None:
        places = await slots.prepare(environment_id)
        await slots.attach(places, code=code, tmp_mib=512)
        await slots.release(environment_id)

    await asyncio.gather(*(live(f"environment-{number}") for number in range(12)))
    assert await slots.leftovers() == []


@pytest.mark.parametrize("bad", ["", "..", "a/b", "/etc", "a" * 65, "nul\0"])
def test_an_id_that_could_lead_elsewhere_is_refused(slots: Slots, bad: str) -> None:
    with pytest.raises(ValueError, match="not an environment id"):
        slots.places(bad)


async def test_code_that_does_not_exist_is_an_error(slots: Slots, tmp_path: Path) -> None:
    places = await slots.prepare("one")
    with pytest.raises(FileNotFoundError):
        await slots.attach(places, code=tmp_path / "none", tmp_mib=512)
    await slots.release("one")
    assert await slots.leftovers() == []


async def test_a_cancelled_attach_then_release_leaves_nothing(slots: Slots, code: Path) -> None:
    for number in range(20):
        places = await slots.prepare(f"environment-{number}")
        attaching = asyncio.ensure_future(slots.attach(places, code=code, tmp_mib=512))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        attaching.cancel()
        await asyncio.wait([attaching])
        await slots.release(places.root.name)
    assert await slots.leftovers() == []


@pytest.mark.parametrize("kind", [LinkSlots, pytest.param(MountSlots, marks=needs_root)])
async def test_places_of_a_crashed_run_are_released_by_the_next(
    kind: type[LinkSlots] | type[MountSlots], run: Path, code: Path
) -> None:
    crashed = kind(run)
    for environment_id in ("attached", "prepared"):
        await crashed.prepare(environment_id)
    await crashed.attach(crashed.places("attached"), code=code, tmp_mib=512)
    crashed.close()

    following = kind(run)
    for environment_id in await following.leftovers():
        await following.release(environment_id)

    assert await following.leftovers() == []
    await following.destroy()
    following.close()
    assert mounts_below(run) == []
    assert loops_below(run) == []
    assert (code / "app.py").exists()


async def test_links_that_cannot_be_made_become_copies(
    link_slots: LinkSlots, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    places = await link_slots.prepare("one")
    await link_slots.attach(places, code=code, tmp_mib=512)

    assert (places.task / "app.py").read_text() == (code / "app.py").read_text()
    assert os.access(places.task / "package/deep/tool", os.X_OK)
    assert (places.task / "link").is_symlink()


@needs_root
async def test_mounted_code_and_layers_cannot_be_written_even_by_root(
    mount_slots: MountSlots, code: Path, opt: Path
) -> None:
    places = await mount_slots.prepare("one")
    await mount_slots.attach(places, code=code, opt=opt, tmp_mib=512)
    for file in (places.task / "app.py", places.opt / "bin/wrapper"):
        with pytest.raises(OSError, match="Read-only"):
            file.write_text("changed")


@needs_root
@pytest.mark.parametrize("tmp_mib", [512, 513, 1024, 10_240])
async def test_tmp_has_the_size_asked_for(mount_slots: MountSlots, code: Path, tmp_mib: int) -> None:
    if mount_slots.tmp_problem:
        pytest.skip(mount_slots.tmp_problem)
    places = await mount_slots.prepare("one")
    await mount_slots.attach(places, code=code, tmp_mib=tmp_mib)

    free = os.statvfs(places.tmp)
    assert tmp_mib <= free.f_bavail * free.f_frsize / _MIB <= tmp_mib * 1.03
    assert places.tmp.stat().st_mode & 0o7777 == 0o1777
    assert free.f_flag & os.ST_NOSUID
    assert free.f_flag & os.ST_NODEV
    assert list(places.tmp.iterdir()) == []


@needs_root
async def test_an_unused_disk_serves_the_next_environment(mount_slots: MountSlots, code: Path) -> None:
    await mount_slots.prepare("one")
    devices = loops_below(mount_slots.places("one").root.parents[1])
    await mount_slots.release("one")
    places = await mount_slots.prepare("two")
    assert loops_below(places.root.parents[1]) == devices
    await mount_slots.attach(places, code=code, tmp_mib=512)
    await mount_slots.release("two")
    assert loops_below(places.root.parents[1]) == []


@needs_root
async def test_setting_up_again_adds_no_second_mount(run: Path) -> None:
    for _ in range(3):
        slots = MountSlots(run)
        slots.probe()
        slots.close()
    assert mounts_below(run) == [run / "env"]
    slots = MountSlots(run)
    await slots.destroy()
    slots.close()
    assert mounts_below(run) == []


@needs_root
async def test_slots_serve_again_after_they_were_destroyed(mount_slots: MountSlots, code: Path) -> None:
    await mount_slots.attach(await mount_slots.prepare("one"), code=code, tmp_mib=512)
    await mount_slots.destroy()
    places = await mount_slots.prepare("one")
    await mount_slots.attach(places, code=code, tmp_mib=512)
    assert (places.task / "app.py").exists()


_HOLD_A_DISK = """
import asyncio, sys
from pathlib import Path
from hearth_scheduler.adapters.mount_slots import MountSlots
slots = MountSlots(Path(sys.argv[1]))
asyncio.run(slots.prepare("one"))
print("ready", flush=True)
sys.stdin.read()
"""


@needs_root
async def test_a_killed_process_leaves_no_disk_that_was_only_ready(run: Path) -> None:
    arguments = (sys.executable, "-c", _HOLD_A_DISK, str(run))
    process = await asyncio.create_subprocess_exec(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"

    process.send_signal(signal.SIGKILL)
    await process.wait()

    assert loops_below(run) == []
    slots = MountSlots(run)
    await slots.destroy()
    slots.close()
    assert mounts_below(run) == []


@needs_root
async def test_without_loop_devices_tmp_is_a_directory_and_says_so(
    run: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hearth_scheduler.adapters.loop_device._CONTROL", Path("/dev/none-such"))
    slots = MountSlots(run)
    places = await slots.prepare("one")
    await slots.attach(places, code=code, tmp_mib=512)

    assert "no size limit" in slots.tmp_problem
    assert not places.tmp.is_mount()
    assert places.tmp.stat().st_mode & 0o7777 == 0o1777
    await slots.destroy()
    slots.close()


@needs_root
async def test_a_place_that_cannot_be_unmounted_is_not_deleted(
    mount_slots: MountSlots, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = await mount_slots.prepare("one")
    await mount_slots.attach(places, code=code, tmp_mib=512)

    def refuse(target: Path) -> None:
        raise OSError(errno.EPERM, "refused by the test")

    with monkeypatch.context() as patched:
        patched.setattr(mount_calls, "detach", refuse)
        with pytest.raises(OSError, match="refused by the test"):
            await mount_slots.release("one")

    assert (places.task / "app.py").exists()
    await mount_slots.release("one")
    assert await mount_slots.leftovers() == []


@dataclass(frozen=True, slots=True)
class Running:
    """A container with places that were attached after it had started."""

    container: Container
    places: Places
    slots: MountSlots
    containers: DockerContainers


@pytest.fixture
async def running(
    instance: str, init: Path, image: str, mount_slots: MountSlots, code: Path, opt: Path, make_request: MakeRequest
) -> AsyncIterator[Running]:
    containers = DockerContainers(Template(instance, init, BindMode.MOUNT), network="none")
    places = await mount_slots.prepare("one")
    container = await containers.start(make_request("one", places=places))
    await mount_slots.attach(places, code=code, opt=opt, tmp_mib=512)
    yield Running(container, places, mount_slots, containers)
    await containers.remove(container.id)
    containers.close()


@pytest.mark.docker
@needs_root
async def test_code_appears_read_only_in_a_running_container(running: Running, execute: Execute) -> None:
    identity = running.container.id
    assert execute(identity, "cat", "/var/task/app.py")[1].startswith("def handler")
    assert execute(identity, "/var/task/package/deep/tool")[1].strip() == "tool"
    assert execute(identity, "/opt/bin/wrapper")[1].strip() == "wrapped"
    for attempt in ("echo x > /var/task/app.py", "touch /var/task/new", "rm /var/task/app.py", "rm /opt/bin/wrapper"):
        code, output = execute(identity, "sh", "-c", attempt, user="0")
        assert code != 0
        assert "Read-only" in output


@pytest.mark.docker
@needs_root
async def test_a_small_function_may_fill_tmp_but_not_beyond_its_size(running: Running, execute: Execute) -> None:
    """/tmp is not charged to the function's memory: 300 MB in a container of 128 MB."""
    identity = running.container.id
    code, output = execute(identity, "dd", "if=/dev/zero", "of=/tmp/large", "bs=1M", "count=300")
    assert code == 0, output
    os.unlink(running.places.tmp / "large")

    code, output = execute(identity, "dd", "if=/dev/zero", "of=/tmp/larger", "bs=1M", "count=600")
    assert code == 1
    assert "No space left" in output
    assert (running.places.tmp / "larger").stat().st_size >= 512 * _MIB


@pytest.mark.docker
@needs_root
async def test_places_can_be_released_before_their_container_goes(running: Running, run: Path) -> None:
    await running.slots.release("one")
    assert mounts_below(run) == [run / "env"]
    assert loops_below(run) == []
    assert await running.slots.leftovers() == []


@pytest.mark.docker
@needs_root
async def test_nothing_is_left_after_container_and_places_went(running: Running, run: Path) -> None:
    await running.containers.remove(running.container.id)
    await running.slots.release("one")
    assert mounts_below(run) == [run / "env"]
    assert loops_below(run) == []


@pytest.mark.docker
@needs_root
async def test_what_was_attached_before_the_start_is_there_from_the_first_moment(
    instance: str,
    init: Path,
    image: str,
    mount_slots: MountSlots,
    code: Path,
    opt: Path,
    make_request: MakeRequest,
    execute: Execute,
    run: Path,
) -> None:
    containers = DockerContainers(Template(instance, init, BindMode.MOUNT), network="none")
    places = await mount_slots.prepare("one")
    await mount_slots.attach(places, code=code, opt=opt, tmp_mib=64)
    container = await containers.start(make_request("one", places=places))

    assert execute(container.id, "/var/task/package/deep/tool")[1].strip() == "tool"
    assert execute(container.id, "/opt/bin/wrapper")[1].strip() == "wrapped"
    assert execute(container.id, "touch", "/var/task/app.py", user="0")[0] == 1
    assert execute(container.id, "dd", "if=/dev/zero", "of=/tmp/larger", "bs=1M", "count=100")[0] == 1

    await containers.remove(container.id)
    await mount_slots.release("one")
    containers.close()
    assert mounts_below(run) == [run / "env"]


@pytest.mark.docker
async def test_linked_code_is_read_only_in_a_running_container(
    instance: str,
    init: Path,
    image: str,
    link_slots: LinkSlots,
    code: Path,
    make_request: MakeRequest,
    execute: Execute,
    opt: Path,
) -> None:
    containers = DockerContainers(Template(instance, init, BindMode.LINK), network="none")
    places = await link_slots.prepare("one")
    container = await containers.start(make_request("one", places=places))
    await link_slots.attach(places, code=code, opt=opt, tmp_mib=512)

    assert execute(container.id, "/var/task/package/deep/tool")[1].strip() == "tool"
    assert execute(container.id, "/opt/bin/wrapper")[1].strip() == "wrapped"
    assert execute(container.id, "touch", "/opt/bin/wrapper", user="0")[0] == 1
    assert execute(container.id, "touch", "/var/task/app.py", user="0")[0] == 1
    assert execute(container.id, "sh", "-c", "mkdir /tmp/a && touch /tmp/a/b")[0] == 0

    await containers.remove(container.id)
    await link_slots.release("one")
    assert await link_slots.leftovers() == []
    containers.close()
