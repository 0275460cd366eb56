"""The template of every container, without an engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hearth_scheduler.adapters.docker_template import BindMode, Template
from hearth_scheduler.adapters.environment_places import lay_out
from hearth_scheduler.ports import ContainerRequest

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
