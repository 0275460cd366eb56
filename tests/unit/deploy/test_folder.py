import io
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_cli import folder
from hearth_cli.console import Failure
from hearth_cli.folder import Guess


def names(package: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return archive.namelist()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"app.py": "def handler(event, context): ..."}, Guess("python3.13", "app.handler")),
        (
            {"lambda_function.py": "def lambda_handler(e, c): ..."},
            Guess("python3.13", "lambda_function.lambda_handler"),
        ),
        ({"main.py": "from inner import handler"}, Guess("python3.13", "main.handler")),
        ({"main.py": "handler = lambda e, c: 1"}, Guess("python3.13", "main.handler")),
        ({"index.mjs": "export const handler = async () => 1;"}, Guess("nodejs22.x", "index.handler")),
        ({"app.js": "exports.lambda_handler = async () => 1"}, Guess("nodejs22.x", "app.lambda_handler")),
    ],
)
def test_usual_names_say_runtime_and_handler(tmp_path: Path, files: dict[str, str], expected: Guess) -> None:
    assert folder.guess(write(tmp_path, files)) == expected


def test_without_a_usual_name_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="--runtime and --handler"):
        folder.guess(write(tmp_path, {"things.py": ""}))


def test_broken_python_is_said_before_it_is_deployed(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="not valid Python"):
        folder.guess(write(tmp_path, {"app.py": "def ("}))


def test_a_package_leaves_out_what_no_function_needs(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "app.py": "",
            "node_modules/left-pad/index.js": "",
            ".git/config": "",
            "inner/__pycache__/x.pyc": "",
            ".venv/bin/python": "",
            ".env": "SECRET=1",
            "docs/a.md": "",
            "data/big.bin": "",
            ".hearthignore": "# ours\n\ndocs/\n*.bin\n",
        },
    )
    assert names(folder.pack(tmp_path)) == ["app.py", "node_modules/left-pad/index.js"]


@given(
    files=st.dictionaries(
        st.lists(st.from_regex(r"[a-z]{1,3}", fullmatch=True), min_size=1, max_size=3).map("/d".join),
        st.binary(max_size=50),
        min_size=1,
        max_size=6,
    )
)
def test_equal_files_make_equal_packages(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    packages = []
    for order in (1, -1):
        root = tmp_path_factory.mktemp("folder")
        for number, (name, content) in enumerate(list(files.items())[::order]):
            try:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                return  # a name that is both a file and a folder
            os.utime(root / name, (1_000_000_000 + number, 1_000_000_000 * order + number))
        packages.append(folder.pack(root))
    assert packages[0] == packages[1]
    with zipfile.ZipFile(io.BytesIO(packages[0])) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_only_whether_a_file_can_be_executed_is_kept_of_its_mode(tmp_path: Path) -> None:
    write(tmp_path, {"run": "", "text": ""})
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "text").chmod(0o600)
    with zipfile.ZipFile(io.BytesIO(folder.pack(tmp_path))) as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes == {"run": 0o755, "text": 0o644}


def test_a_link_inside_stays_a_link(tmp_path: Path) -> None:
    write(tmp_path, {"real.py": "x"})
    (tmp_path / "link.py").symlink_to("real.py")
    with zipfile.ZipFile(io.BytesIO(folder.pack(tmp_path))) as archive:
        assert archive.read("link.py") == b"real.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret"])
def test_a_link_that_points_outside_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(Failure, match="points outside"):
        folder.pack(tmp_path)


def test_an_empty_folder_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is empty"):
        folder.pack(tmp_path)


def test_the_folders_name_becomes_a_function_name(tmp_path: Path) -> None:
    (tmp_path / "my first (draft)").mkdir()
    assert folder.function_name(tmp_path / "my first (draft)") == "my-first-draft"
