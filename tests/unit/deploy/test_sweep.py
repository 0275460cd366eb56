import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from hearth_cli import sweep
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir
from hearth_scheduler.adapters.mount_table import MountPoint


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    place = DataDir(tmp_path / "data")
    place.create()
    return place


def mounted(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    mounts = [MountPoint(path, "/", "ext4", frozenset(), is_shared=False) for path in paths]
    monkeypatch.setattr(sweep, "read_mounts", lambda: mounts)


def test_mounts_are_taken_apart_from_the_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path("/d/run")
    mounted(monkeypatch, Path("/"), root, root / "env/a", root / "env/a/tmp", Path("/d/running"), root / "env/a/tmp")
    assert sweep.mounts_below(root) == [root / "env/a/tmp", root / "env/a/tmp", root / "env/a", root]


def test_nothing_is_deleted_below_a_mount_that_stays(place: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = place.run / "env" / "task" / "app.py"
    precious.parent.mkdir(parents=True)
    precious.write_text("code")
    mounted(monkeypatch, precious.parent)  # umount will find that it is none
    with pytest.raises(Failure, match="cannot unmount"):
        sweep.run_files(place)
    assert precious.exists()


def test_the_run_is_cleared_but_its_locks_stay(place: DataDir) -> None:
    place.lock.write_text("1")
    place.turn.write_text("1")
    (place.run / "env" / "x").mkdir(parents=True)
    (place.run / "last-exit").write_text("")
    sweep.run_files(place)
    assert {path.name for path in place.run.iterdir()} == {"lock", "turn"}


def test_purging_deletes_everything(place: DataDir) -> None:
    sweep.purge(place)
    assert not place.root.exists()
    sweep.purge(place)


def test_purging_spares_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(Failure, match="nothing was deleted"):
        sweep.purge(DataDir(tmp_path))
    assert (tmp_path / "letter.txt").exists()


def test_a_link_in_the_run_is_deleted_and_not_followed(place: DataDir, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (place.run / "link").symlink_to(tmp_path / "elsewhere")
    sweep.run_files(place)
    assert (tmp_path / "elsewhere").is_dir()


def test_a_test_run_is_known_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep._lives(os.getpid())
    found = sweep._TEST_INSTANCE.fullmatch(f"test-{os.getpid()}-up")
    assert found is not None and int(found[1]) == os.getpid()
    assert sweep._TEST_INSTANCE.fullmatch("main") is None
    assert sweep._TEST_INSTANCE.fullmatch("test-bed") is None


class PretendedNetwork:
    """A network that the engine refuses to remove so many times."""

    name = "hearth-x"

    def __init__(self, refusals: int, containers: dict[str, object]) -> None:
        self.refusals = refusals
        self.attrs = {"Labels": {"hearth.instance": "x"}, "Containers": containers}

    def remove(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise APIError("403", explanation="error while removing network: network hearth-x has active endpoints")

    def reload(self) -> None:
        pass


def engine_with(network: PretendedNetwork) -> Any:
    return SimpleNamespace(networks=SimpleNamespace(list=lambda filters: [network]))


def test_a_network_whose_last_container_is_leaving_is_waited_for() -> None:
    network = PretendedNetwork(2, {})
    assert sweep.networks(engine_with(network), "x".__eq__) == []
    assert network.refusals == 0


def test_a_network_that_the_engine_miscounts_is_named_and_no_failure() -> None:
    assert sweep.networks(engine_with(PretendedNetwork(99, {})), "x".__eq__, patience_s=0) == ["hearth-x"]


def test_a_network_with_a_strange_container_on_it_is_a_failure() -> None:
    with pytest.raises(Failure, match="hearth-x cannot be removed"):
        sweep.networks(engine_with(PretendedNetwork(99, {"c": {}})), "x".__eq__, patience_s=0)
