"""What Hearth's images are made of: one recipe each, and the files a build is given. Asks no engine.

Rule 1: what is built without being asked for is little: one Python, one Node.js, and the image for programs that
bring their own runtime. Every other interpreter is there for the asking: `hearth images build python3.11`.
Rule 2: an interpreter comes from Debian, from npm, or from an official image that has to be pulled, in this order:
the first two work where no registry is to be reached.
"""

import hashlib
import io
import os
import ssl
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

INIT = "init"
REDIS = "redis"
_HOST_CA = "host-ca.crt"

Files = Mapping[str, tuple[int, bytes]]
"""Mode and content by name."""


class ImagesError(Exception):
    """An image cannot be had; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a base image stands on: an image that is pulled, or else a Debian tree of this suite; None: only pulled."""

    image: str
    suite: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made: on another recipe's (`parent`) or on a ground.

    `is_runtime`: it runs functions, of the runtime identifiers that `hearth.core.runtimes` gives to the interpreter
    of its name. `is_default`: it is built without being asked for.
    """

    name: str
    folder: str
    parent: str | None = None
    ground: Ground | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_runtime: bool = False
    is_default: bool = False


def _python(version: str, parent: str, *, is_default: bool = False) -> Recipe:
    arguments = {"PYTHON_VERSION": version, "AWSLAMBDARIC": "4.2.2", "BOTO3": ">=1.44,<2"}
    name = f"python{version}"
    return Recipe(name, "python", parent, arguments=arguments, is_runtime=True, is_default=is_default)


def _node(version: str, sdk: str = "sdk", *, is_default: bool = False) -> Recipe:
    major = version.partition(".")[0]
    arguments = {"NODE_VERSION": version, "NODE_MAJOR": major, "SDK": sdk, "NPM": "10.9.2", "AWS_LAMBDA_RIC": "3.3.0"}
    name = f"nodejs{major}.x"
    return Recipe(name, "nodejs", "debian-base", arguments=arguments, is_runtime=True, is_default=is_default)


def _ruby(version: str, parent: str) -> Recipe:
    return Recipe(f"ruby{version}", "ruby", parent, arguments={"RUBY_VERSION": version}, is_runtime=True)


def _java(version: str, parent: str) -> Recipe:
    return Recipe(f"java{version}", "java", parent, arguments={"JAVA_VERSION": version}, is_runtime=True)


def _pulled(name: str, image: str) -> Recipe:
    """A base image that only a registry has."""
    return Recipe(f"{name}-base", "debian", ground=Ground(image))


# In the order of building: parents first.
RECIPES: tuple[Recipe, ...] = (
    Recipe("debian-base", "debian", ground=Ground("debian:trixie-slim", "trixie"), is_default=True),
    Recipe(INIT, "init", "debian-base", is_default=True),
    Recipe(REDIS, "redis", "debian-base", is_default=True),
    _python("3.13", "debian-base", is_default=True),
    _node("22.23.3", is_default=True),
    Recipe("provided", "provided", "debian-base", is_runtime=True, is_default=True),
    Recipe("debian-bookworm", "debian", ground=Ground("debian:bookworm-slim", "bookworm")),
    Recipe("debian-forky", "debian", ground=Ground("debian:forky-slim", "forky")),
    _pulled("python3.10", "python:3.10-slim"),
    _python("3.10", "python3.10-base"),
    _python("3.11", "debian-bookworm"),
    _pulled("python3.12", "python:3.12-slim"),
    _python("3.12", "python3.12-base"),
    _python("3.14", "debian-forky"),
    _python("3.15", "debian-forky"),
    _node("18.20.8", "sdk-node18"),
    _node("20.20.2"),
    _node("24.21.0"),
    _node("26.10.0"),
    _pulled("ruby3.2", "ruby:3.2-slim"),
    _ruby("3.2", "ruby3.2-base"),
    _ruby("3.3", "debian-base"),
    _pulled("ruby3.4", "ruby:3.4-slim"),
    _ruby("3.4", "ruby3.4-base"),
    _pulled("ruby4.0", "ruby:4.0-slim"),
    _ruby("4.0", "ruby4.0-base"),
    _java("17", "debian-bookworm"),
    _java("21", "debian-base"),
    _java("25", "debian-base"),
)

BY_NAME: Mapping[str, Recipe] = {recipe.name: recipe for recipe in RECIPES}
DEFAULTS: tuple[str, ...] = tuple(recipe.name for recipe in RECIPES if recipe.is_default)
INTERPRETERS: tuple[str, ...] = tuple(recipe.name for recipe in RECIPES if recipe.is_runtime)


def reference(name: str, prefix: str = "hearth") -> str:
    """The full name of an image: `hearth/python3.13:latest`."""
    return f"{prefix}/{name}:latest"


def with_parents(names: Iterable[str]) -> list[str]:
    """The names and all that they stand on, in the order of building."""
    wanted: set[str] = set()
    for name in names:
        if name not in BY_NAME:
            raise ImagesError(f"there is no image {name}; there are {', '.join(BY_NAME)}")
        parent: str | None = name
        while parent is not None:
            wanted.add(parent)
            parent = BY_NAME[parent].parent
    return [name for name in BY_NAME if name in wanted]


def recipes_folder() -> Path:
    """`base_images/`: inside the installed package, or beside `deploy/` in a checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "base_images", here.parents[2] / "base_images"):
        if folder.is_dir():
            return folder
    raise ImagesError("base_images/ is missing from this installation of Hearth")


def context(recipe: Recipe) -> Files:
    """The files given to the build."""
    root = recipes_folder() / recipe.folder
    files = {
        str(path.relative_to(root)): (0o755 if os.access(path, os.X_OK) else 0o644, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts) and path.suffix != ".pyc"
    }
    if not files:
        raise ImagesError(f"{root} is empty: this installation of Hearth is incomplete")
    if recipe.parent is None:
        files[_HOST_CA] = (0o644, _host_ca_bundle())
    return files


def _host_ca_bundle() -> bytes:
    """The certificates this host trusts; empty if it has none (then the image trusts what Debian does)."""
    defaults = ssl.get_default_verify_paths()
    candidates = (
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        defaults.cafile,
    )
    for name in filter(None, candidates):
        with suppress(OSError):
            return Path(name).read_bytes()
    return b""


def digest(files: Files, arguments: Mapping[str, str], below: str) -> str:
    """What decides a build's result. `below` is the id of the image it stands on."""
    found = hashlib.sha256(below.encode())
    for name, (mode, content) in sorted(files.items()):
        found.update(f"\0{name}\0{mode:o}\0{len(content)}\0".encode() + content)
    for name, value in sorted(arguments.items()):
        found.update(f"\0{name}={value}".encode())
    return found.hexdigest()


def packed(files: Files) -> io.BytesIO:
    """The context as the engine wants it. Times are zero, so that equal contexts hit the engine's build cache."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, (mode, content) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive
