import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hearth_cli.console import Failure
from hearth_cli.locations import DataDir, KeyPair, key_pair, redis_password, replace_key_pair, session_key


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    place = DataDir(tmp_path / "data")
    place.create()
    return place


def test_the_key_pair_is_made_once(place: DataDir) -> None:
    assert key_pair(place) == key_pair(place)


def test_the_key_pair_looks_like_one_of_aws(place: DataDir) -> None:
    keys = key_pair(place)
    assert len(keys.access_key_id) == 20
    assert keys.access_key_id.startswith("AKIA")
    assert len(keys.secret_access_key) == 40


def test_asking_for_keys_first_makes_a_whole_data_directory(tmp_path: Path) -> None:
    place = DataDir(tmp_path / "new")
    key_pair(place)
    place.create()
    assert place.marker.exists()


def test_secrets_are_for_their_owner_alone(place: DataDir) -> None:
    key_pair(place)
    redis_password(place)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.keys.iterdir()} == {0o600}


def test_a_key_pair_can_be_replaced_and_stays_a_secret(place: DataDir) -> None:
    key_pair(place)
    fresh = KeyPair("AKIAFRESH", "secret")

    replace_key_pair(place, fresh)

    assert key_pair(place) == fresh
    assert [stat.S_IMODE(path.stat().st_mode) for path in place.keys.iterdir()] == [0o600]


def test_the_key_of_sessions_stays_the_same(place: DataDir) -> None:
    assert session_key(place) == session_key(place)
    assert len(session_key(place)) == 32


def test_of_many_that_ask_first_all_get_the_same_password(place: DataDir) -> None:
    with ThreadPoolExecutor(8) as pool:
        passwords = list(pool.map(lambda _: redis_password(place), range(32)))
    assert len(set(passwords)) == 1
    assert len(list(place.keys.iterdir())) == 1


def test_a_folder_with_other_things_in_it_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(Failure, match="not empty and not a data directory"):
        DataDir(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_creating_again_keeps_everything(place: DataDir) -> None:
    before = redis_password(place)
    place.create()
    assert redis_password(place) == before


def test_a_file_in_the_way_is_a_failure_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(Failure, match="cannot use the data directory"):
        DataDir(tmp_path / "data").create()
