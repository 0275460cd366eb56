"""What this host lets Hearth do, found out by trying once, and said in words."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hearth_scheduler.adapters.cgroup_limits import CgroupLimits
from hearth_scheduler.adapters.cgroup_paths import UNIFIED, Hierarchies, hierarchies
from hearth_scheduler.adapters.docker_engine import ClientFactory, engine_client
from hearth_scheduler.adapters.docker_template import BindMode
from hearth_scheduler.adapters.link_slots import LinkSlots
from hearth_scheduler.adapters.mount_slots import MountSlots
from hearth_scheduler.adapters.mount_table import read_mounts
from hearth_scheduler.adapters.update_limits import DockerUpdateLimits

Mode = Literal["auto", "mount", "link"]


@dataclass(frozen=True, slots=True)
class SlotsChoice:
    """The slots to use, how containers must bind them, and why these."""

    slots: MountSlots | LinkSlots
    bind_mode: BindMode
    why: str


@dataclass(frozen=True, slots=True)
class LimitsChoice:
    """The limits to use, and why these."""

    limits: CgroupLimits | DockerUpdateLimits
    why: str


def choose_slots(data_dir: Path, mode: Mode, engine_info: Mapping[str, Any]) -> SlotsChoice:
    """Mount where that works, else link. `mode` mount or link decides instead; mount then raises OSError where it
    does not work. `engine_info` is what the engine says about itself (Docker Engine API, SystemInfo). Blocking."""
    run = data_dir / "run"
    if mode == "link":
        return _linking(run, "hard links, as configured")
    obstacle = _propagation_obstacle(engine_info)
    if mode == "auto" and obstacle:
        return _linking(run, f"hard links: {obstacle}")
    slots = MountSlots(run)
    try:
        slots.probe()
    except OSError as problem:
        slots.close()
        if mode == "mount":
            raise
        return _linking(run, f"hard links: mounting does not work here ({problem})")
    return SlotsChoice(slots, BindMode.MOUNT, "; ".join(filter(None, ["mounts", slots.tmp_problem])))


def _linking(run: Path, why: str) -> SlotsChoice:
    slots = LinkSlots(run)
    return SlotsChoice(slots, BindMode.LINK, f"{why}; {slots.tmp_problem}")


def _propagation_obstacle(engine_info: Mapping[str, Any]) -> str:
    """Why our mounts would not reach the engine's containers; empty if nothing speaks against it."""
    if any("rootless" in option for option in engine_info.get("SecurityOptions") or ()):
        return "the engine runs rootless, in a mount namespace of its own"
    if "Docker Desktop" in str(engine_info.get("OperatingSystem", "")):
        return "the engine runs in a virtual machine"
    if engine_info.get("DefaultRuntime") == "runsc":
        return "gVisor does not see later mounts"
    return ""


def choose_limits(client: ClientFactory = engine_client) -> LimitsChoice:
    """Control group files where they can be written, else the engine."""
    found = hierarchies(read_mounts())
    obstacle = _cgroup_obstacle(found)
    if obstacle:
        return LimitsChoice(DockerUpdateLimits(found, client=client), f"engine updates: {obstacle}")
    return LimitsChoice(CgroupLimits(found), "control group files")


def _cgroup_obstacle(found: Hierarchies) -> str:
    mount = found.by_controller.get("memory", found.by_controller.get(UNIFIED))
    if mount is None:
        return "no control group hierarchy is mounted"
    if not os.access(mount.path, os.W_OK):
        return f"{mount.path} is not writable"
    return ""
