"""A folder with a handler becomes a deployment package: what goes in, and what Lambda has to know about it.

Rule 1: the same files give the same bytes, so that deploying again without a change changes nothing.
Rule 2: nothing leaves the folder: a symbolic link that points outside is refused.
"""

import ast
import fnmatch
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hearth_cli.console import Failure

IGNORE_FILE = ".hearthignore"
_NEVER = (
    *(".git", ".hg", ".svn", "__pycache__", "*.pyc", ".venv", "venv", ".env", ".DS_Store", IGNORE_FILE),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".idea", ".vscode"),
)
"""What no function needs at run time; `.env` because it holds secrets. node_modules does belong in a package."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can say
_UNIX = 3

_MODULES = ("lambda_function", "app", "handler", "main", "index", "function")
_FUNCTIONS = ("handler", "lambda_handler", "main")
_NODE_SUFFIXES = (".mjs", ".js", ".cjs")
PYTHON = "python3.13"
NODE = "nodejs22.x"
_NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Guess:
    """What the files say about themselves."""

    runtime: str
    handler: str


def function_name(folder: Path) -> str:
    """A function name made of the folder's: only the characters that Lambda allows, at most 64."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:_NAME_LIMIT]
    if not name:
        raise Failure(f"no function name can be made of {folder}: give one with --name")
    return name


def guess(folder: Path) -> Guess:
    """Runtime and handler, from the usual file and function names. Failure: nothing usual is there."""
    for module in _MODULES:
        source = folder / f"{module}.py"
        if source.is_file():
            return Guess(PYTHON, f"{module}.{_python_function(source)}")
        for suffix in _NODE_SUFFIXES:
            if (folder / f"{module}{suffix}").is_file():
                return Guess(NODE, f"{module}.{_node_function(folder / f'{module}{suffix}')}")
    raise Failure(
        f"no handler found in {folder}: name a file app.py, lambda_function.py or index.mjs, "
        "or give --runtime and --handler"
    )


def _python_function(source: Path) -> str:
    """The handler among the names that the module defines; parsed, never run."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise Failure(f"{source} is not valid Python: {error}") from error
    defined = {name for node in tree.body for name in _names(node)}
    return next((name for name in _FUNCTIONS if name in defined), _FUNCTIONS[0])


def _names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.ImportFrom(names=names) | ast.Import(names=names):
            yield from (alias.asname or alias.name for alias in names)
        case _:
            return


def _node_function(source: Path) -> str:
    text = source.read_text(encoding="utf-8", errors="replace")
    found = (name for name in _FUNCTIONS if re.search(rf"exports\.{name}\b|export\s.*\b{name}\b|\b{name}\b.*=>", text))
    return next(found, _FUNCTIONS[0])


def pack(folder: Path) -> bytes:
    """The folder as a zip file. Modes are kept as far as they matter: executable or not."""
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        count = 0
        for path in _files(folder, (*_NEVER, *_ignored(folder))):
            _add(archive, folder, path)
            count += 1
    if not count:
        raise Failure(f"{folder} is empty")
    return packed.getvalue()


def _ignored(folder: Path) -> list[str]:
    """The patterns of .hearthignore: one a line; `#` begins a comment. Matched against the name and the path."""
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def _files(folder: Path, excluded: tuple[str, ...]) -> Iterator[Path]:
    """Files and links in a stable order; excluded directories are not even entered."""

    def is_in(path: Path) -> bool:
        relative = path.relative_to(folder).as_posix()
        return not any(fnmatch.fnmatchcase(each, p) for p in excluded for each in (path.name, relative))

    for parent, directories, names in os.walk(folder):
        here = Path(parent)
        links = [name for name in directories if (here / name).is_symlink()]
        directories[:] = sorted(name for name in directories if name not in links and is_in(here / name))
        yield from (path for path in sorted(here / name for name in (*names, *links)) if is_in(path))


def _add(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
    entry.create_system = _UNIX
    entry.compress_type = zipfile.ZIP_DEFLATED
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        content = _inside(folder, path).encode()
    elif stat.S_ISREG(mode):
        entry.external_attr = (stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)) << 16
        content = path.read_bytes()
    else:
        raise Failure(f"{path} is neither a file nor a folder nor a link; exclude it in {IGNORE_FILE}")
    archive.writestr(entry, content)


def _inside(folder: Path, link: Path) -> str:
    target = os.readlink(link)
    if os.path.isabs(target) or not link.resolve().is_relative_to(folder.resolve()):
        raise Failure(f"the link {link} points outside the folder; a package cannot follow it")
    return target
