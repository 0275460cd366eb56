"""The template of every container, without an engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hearth_scheduler.adapters.docker_template import BindMode, Template, completed
from hearth_scheduler.adapters.environment_places import lay_out
from hearth_scheduler.ports import ContainerRequest, Launch

_REQUEST = ContainerRequest(
    environment_id="one",
    image="hearth/python3.13:latest",
    command=("/hearth/init", "/var/runtime/bootstrap"),
    places=lay_out(Path("/data/run/env"), "one"),
    epoch="epoch-1",
    runtime="python3.13",
    memory_mib=128,
    cpus=None,
    variables={"A": "1=2", "B": ""},
)


def config(mode: BindMode, request: ContainerRequest = _REQUEST) -> dict[str, Any]:
    return Template("main", Path("/data/init"), mode).config(request, "none")


def mounts(mode: BindMode) -> dict[str, dict[str, Any]]:
    return {mount["Target"]: mount for mount in config(mode)["HostConfig"]["Mounts"]}


def test_only_tmp_can_be_written() -> None:
    for mode in BindMode:
        writable = {target for target, mount in mounts(mode).items() if not mount.get("ReadOnly")}
        assert writable == {"/tmp"}


def test_what_is_mounted_later_reaches_code_layers_and_tmp() -> None:
    propagating = {
        target: mount["Source"]
        for target, mount in mounts(BindMode.MOUNT).items()
        if mount["BindOptions"]["Propagation"] == "rslave"
    }
    assert propagating == {
        "/var/task": "/data/run/env/one/task",
        "/opt": "/data/run/env/one/opt",
        "/tmp": "/data/run/env/one/tmp",
    }


def test_without_mounting_tmp_is_a_volume_that_goes_with_the_container() -> None:
    assert mounts(BindMode.LINK)["/tmp"] == {"Type": "volume", "Target": "/tmp"}


def test_the_images_own_entrypoint_never_runs() -> None:
    made = config(BindMode.MOUNT)
    assert made["Entrypoint"] == ["/hearth/init"]
    assert made["Cmd"] == ["/var/runtime/bootstrap"]


def test_variables_keep_their_equal_signs() -> None:
    assert config(BindMode.MOUNT)["Env"] == ["A=1=2", "B="]


def test_swap_is_off_and_a_quota_only_set_where_asked() -> None:
    host = config(BindMode.MOUNT)["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 128 * 2**20
    assert "CpuQuota" not in host
    limited = config(BindMode.MOUNT, replace(_REQUEST, cpus=0.5))["HostConfig"]
    assert (limited["CpuQuota"], limited["CpuPeriod"]) == (50_000, 100_000)


def test_nothing_privileged_is_ever_asked_for() -> None:
    host = config(BindMode.MOUNT)["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is True
    assert {"Privileged", "CapAdd", "Devices", "PidMode", "IpcMode", "UsernsMode"}.isdisjoint(host)


OF_IMAGE = Launch(None, None, None, has_code=False)
IMAGE = {"Entrypoint": ["python3", "-m"], "Cmd": ["app.handler"], "WorkingDir": "/srv"}


def launched(launch: Launch, volumes: tuple[str, ...] = ()) -> dict[str, Any]:
    request = replace(_REQUEST, command=("/hearth/init",), launch=launch)
    return Template("main", Path("/data/init"), BindMode.MOUNT).config(request, "none", volumes)


def test_the_init_is_told_where_and_what_the_image_wants_to_run() -> None:
    made = launched(completed(OF_IMAGE, IMAGE))

    assert made["Entrypoint"] == ["/hearth/init"]
    assert made["Cmd"] == ["-C", "/srv", "python3", "-m", "app.handler"]


def test_each_setting_of_a_function_replaces_the_images_own_and_no_other() -> None:
    assert completed(replace(OF_IMAGE, entry_point=("/run",)), IMAGE).command == ("app.handler",)
    assert completed(replace(OF_IMAGE, command=("b",)), IMAGE).entry_point == ("python3", "-m")
    assert completed(replace(OF_IMAGE, directory="/here"), IMAGE).directory == "/here"


def test_an_image_that_says_nothing_runs_nothing_in_the_root_directory() -> None:
    silent = {"Entrypoint": None, "Cmd": None, "WorkingDir": ""}

    assert launched(completed(OF_IMAGE, silent))["Cmd"] == ["-C", "/", ""]


def test_a_directory_that_an_image_names_and_lacks_is_not_made() -> None:
    assert launched(completed(OF_IMAGE, IMAGE))["WorkingDir"] == "/"


def test_an_image_keeps_its_own_code_and_layers() -> None:
    targets = {mount["Target"] for mount in launched(OF_IMAGE)["HostConfig"]["Mounts"]}

    assert targets == {"/hearth/init", "/run/hearth", "/tmp"}


def test_a_package_on_an_image_that_starts_directly_is_seen_in_it() -> None:
    targets = {mount["Target"] for mount in launched(replace(OF_IMAGE, has_code=True))["HostConfig"]["Mounts"]}

    assert {"/var/task", "/opt"} < targets


def test_what_an_image_declares_a_volume_is_read_only_and_takes_no_place_of_ours() -> None:
    found = launched(OF_IMAGE, ("/data/", "/tmp", "/cache"))["HostConfig"]["Mounts"]

    instead = [mount for mount in found if mount["Type"] == "tmpfs"]
    assert [(mount["Target"], mount["ReadOnly"]) for mount in instead] == [("/cache", True), ("/data", True)]
