"""Hearth's images: which there are, which are missing or out of date, and how they are built. No registry is needed.

Rule 1: an image says in its label what it was built from: a hash over its folder, its arguments and the id of the
image below it. Equal means up to date; so nothing to do costs a few look-ups, and a change below rebuilds all above.
Rule 2: a tag is set only by a build that succeeded, so an interrupted build leaves the old image or none.
"""

import hashlib
import io
import os
import ssl
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.containers import Container
from docker.models.images import Image

from hearth_cli import debian_tree

LABEL_BUILD = "hearth.build"

RUNTIME_IMAGES: Mapping[str, str] = {"python3.13": "python3.13", "nodejs20.x": "nodejs20.x"}
"""Lambda's runtime identifiers, and the image (under the prefix) that runs each."""

REDIS = "redis"
INIT = "init"

_PULLABLE = "debian:trixie-slim"
_PULL_SILENCE_S = 20
"""A registry that says nothing for this long is taken for unreachable."""
_PULL_LIMIT_S = 300.0
_HOST_CA = "host-ca.crt"
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

Report = Callable[[str, str, str], None]
"""Told of progress: image, step, line of the log."""


class ImagesError(Exception):
    """An image cannot be had; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made. `parent` is the recipe it stands on; None: the Debian that was found or made."""

    name: str
    folder: str
    parent: str | None
    arguments: Mapping[str, str] = field(default_factory=dict)


# In the order of building: parents first.
RECIPES: tuple[Recipe, ...] = (
    Recipe("debian-base", "debian", None),
    Recipe("init", "init", "debian-base"),
    Recipe("redis", "redis", "debian-base"),
    Recipe(
        "python3.13",
        "python",
        "debian-base",
        {"PYTHON_VERSION": "3.13", "AWSLAMBDARIC": "4.2.2", "BOTO3": ">=1.44,<2"},
    ),
    Recipe("nodejs20.x", "nodejs", "debian-base", {"NODE_MAJOR": "20", "NPM": "10.9.2", "AWS_LAMBDA_RIC": "3.3.0"}),
)


def connect() -> docker.DockerClient:
    """The engine that the environment names (DOCKER_HOST), or the local one."""
    try:
        return docker.from_env(version="auto", timeout=600)
    except DockerException as error:
        raise ImagesError(f"no Docker engine answers: {error}") from error


def reference(name: str, prefix: str = "hearth") -> str:
    """The full name of an image: `hearth/python3.13:latest`."""
    return f"{prefix}/{name}:latest"


def runtime_image(runtime: str, prefix: str = "hearth") -> str:
    """The image that runs a Lambda runtime. KeyError: Hearth has none for it."""
    return reference(RUNTIME_IMAGES[runtime], prefix)


def outdated(client: docker.DockerClient, prefix: str = "hearth") -> list[str]:
    """The names of the images that are missing or out of date, in the order of building. Builds and pulls nothing."""
    stale: list[str] = []
    root = _find_root(client, prefix)
    for recipe in RECIPES:
        below = root if recipe.parent is None else _find(client, reference(recipe.parent, prefix))
        image = _find(client, reference(recipe.name, prefix))
        current = (
            image is not None
            and below is not None
            and recipe.parent not in stale
            and image.labels.get(LABEL_BUILD) == _hash(_context(recipe), recipe.arguments, str(below.id))
        )
        if not current:
            stale.append(recipe.name)
    return stale


def build(
    client: docker.DockerClient,
    *,
    prefix: str = "hearth",
    only: Iterable[str] | None = None,
    force: bool = False,
    report: Report = lambda _image, _step, _line: None,
) -> list[str]:
    """Build what is missing or out of date, and return the names of what was built.

    `only` restricts to some images and what they stand on; `force` builds these anew, with today's packages.
    """
    wanted = _with_parents(only)
    stale = wanted if force else [name for name in outdated(client, prefix) if name in wanted]
    for recipe in RECIPES:
        if recipe.name in stale:
            below = _below(client, recipe, prefix, report)
            _build_one(client, recipe, below, prefix=prefix, force=force, report=report)
    return [recipe.name for recipe in RECIPES if recipe.name in stale]


def extract_init(client: docker.DockerClient, data_dir: Path, prefix: str = "hearth") -> Path:
    """Copy the init out of its image to `<data_dir>/init/<sha256>/init`, and return that path.

    Containers mount this file from the host. Each version has its own path and stays: running containers still
    execute the one they were started with. Blocking; call it by way of `asyncio.to_thread`.
    """
    image = _find(client, reference(INIT, prefix))
    if image is None:
        raise ImagesError(f"the image {reference(INIT, prefix)} is missing: run `hearth images build`")
    folder = data_dir / "init"
    note = folder / f"{str(image.id).removeprefix('sha256:')}.sha256"
    with suppress(OSError):
        known = folder / note.read_text(encoding="ascii") / "init"
        if os.access(known, os.X_OK):
            return known
    binary = _read_file(client, image, "/init")
    digest = hashlib.sha256(binary).hexdigest()
    _write_atomically(folder / digest / "init", binary, 0o555)
    _write_atomically(note, digest.encode("ascii"), 0o644)
    return folder / digest / "init"


# ---- what an image is made from ----


def recipes_folder() -> Path:
    """`base_images/`: inside the installed package, or beside `deploy/` in a checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "base_images", here.parents[2] / "base_images"):
        if folder.is_dir():
            return folder
    raise ImagesError("base_images/ is missing from this installation of Hearth")


def _context(recipe: Recipe) -> dict[str, tuple[int, bytes]]:
    """The files given to the build: mode and content by name."""
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


def _hash(files: Mapping[str, tuple[int, bytes]], arguments: Mapping[str, str], below: str) -> str:
    digest = hashlib.sha256(below.encode())
    for name, (mode, content) in sorted(files.items()):
        digest.update(f"\0{name}\0{mode:o}\0{len(content)}\0".encode() + content)
    for name, value in sorted(arguments.items()):
        digest.update(f"\0{name}={value}".encode())
    return digest.hexdigest()


def _tar(files: Mapping[str, tuple[int, bytes]]) -> io.BytesIO:
    """The context as the engine wants it. Times are zero, so that equal contexts hit the engine's build cache."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, (mode, content) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return packed


def _with_parents(only: Iterable[str] | None) -> list[str]:
    by_name = {recipe.name: recipe for recipe in RECIPES}
    if only is None:
        return list(by_name)
    wanted: set[str] = set()
    for name in only:
        if name not in by_name:
            raise ImagesError(f"there is no image {name}; there are {', '.join(by_name)}")
        parent: str | None = name
        while parent is not None:
            wanted.add(parent)
            parent = by_name[parent].parent
    return [name for name in by_name if name in wanted]


# ---- the Debian below everything ----


def _find(client: docker.DockerClient, name: str) -> Image | None:
    try:
        return client.images.get(name)
    except ImageNotFound:
        return None


def _tree_reference(prefix: str) -> str:
    return f"{prefix}/debian:{debian_tree.SUITE}"


def _tree_hash() -> str:
    return hashlib.sha256(debian_tree.recipe().encode()).hexdigest()


def _find_root(client: docker.DockerClient, prefix: str) -> Image | None:
    """Debian as it is here already: pulled, or made by us with today's recipe."""
    pulled = _find(client, _PULLABLE)
    if pulled is not None:
        return pulled
    made = _find(client, _tree_reference(prefix))
    return made if made is not None and made.labels.get(LABEL_BUILD) == _tree_hash() else None


def _below(client: docker.DockerClient, recipe: Recipe, prefix: str, report: Report) -> Image:
    if recipe.parent is not None:
        return client.images.get(reference(recipe.parent, prefix))
    found = _find_root(client, prefix)
    if found is not None:
        return found
    return _pull_debian(report) or _make_debian(client, prefix, report)


def _pull_debian(report: Report) -> Image | None:
    """Debian from a registry, or None where there is none to be reached."""
    step = f"pull {_PULLABLE}"
    give_up_at = time.monotonic() + _PULL_LIMIT_S
    repository, tag = _PULLABLE.split(":")
    # A client of its own: its time-out is how long the engine may say nothing.
    impatient = docker.from_env(version="auto", timeout=_PULL_SILENCE_S)
    try:
        for event in impatient.api.pull(repository, tag=tag, stream=True, decode=True):
            report("debian", step, str(event.get("status", event.get("error", ""))))
            if "error" in event or time.monotonic() > give_up_at:
                return None
        return _find(impatient, _PULLABLE)
    except (APIError, requests.RequestException) as error:
        report("debian", step, f"not to be had: {error}")
        return None
    finally:
        impatient.close()


def _make_debian(client: docker.DockerClient, prefix: str, report: Report) -> Image:
    name = _tree_reference(prefix)
    repository, tag = name.rsplit(":", 1)
    step = f"make a Debian {debian_tree.SUITE} tree"
    try:
        with debian_tree.made(lambda line: report("debian", step, line)) as tar:
            report("debian", "import it", name)
            client.api.import_image_from_file(
                str(tar), repository, tag=tag, changes=[f"LABEL {LABEL_BUILD}={_tree_hash()}"]
            )
    except debian_tree.TreeError as error:
        raise ImagesError(str(error)) from error
    return client.images.get(name)


# ---- building ----


def _build_one(
    client: docker.DockerClient, recipe: Recipe, below: Image, *, prefix: str, force: bool, report: Report
) -> None:
    name = reference(recipe.name, prefix)
    before = _find(client, name)
    files = _context(recipe)
    report(recipe.name, "start", f"building {name}")
    events = client.api.build(
        fileobj=_tar(files),
        custom_context=True,
        tag=name,
        labels={LABEL_BUILD: _hash(files, recipe.arguments, str(below.id))},
        buildargs={**_proxies(), **recipe.arguments, "HEARTH_DEBIAN": str(below.id)},
        # The host's network: proxies and name servers on its loopback work inside the build as they do outside.
        network_mode="host",
        nocache=force,
        rm=True,
        forcerm=True,
        decode=True,
    )
    _follow(events, recipe.name, report)
    built = client.images.get(name)
    if before is not None and before.id != built.id:
        # The one that lost its name. Still in use by a container: it stays until `docker image prune`.
        with suppress(APIError):
            client.images.remove(str(before.id))


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in _PROXY_VARIABLES if name in os.environ}


def _follow(events: Iterable[Mapping[str, Any]], image: str, report: Report) -> None:
    """Report the engine's words line by line; raise its error with the last of them."""
    step, last = "start", ""
    for event in events:
        if "error" in event:
            raise ImagesError(f"building {image} failed at `{step}`: {event['error']} ({last})")
        for line in str(event.get("stream", "")).splitlines():
            text = line.strip()
            if not text:
                continue
            if text.startswith("Step "):
                step = text.partition(" : ")[2] or text
            last = text
            report(image, step, text)


# ---- reading a file out of an image ----


@contextmanager
def _created(client: docker.DockerClient, image: Image) -> Iterator[Container]:
    """A container that is never started."""
    container = client.containers.create(str(image.id), labels={"hearth.role": "copy"})
    try:
        yield container
    finally:
        container.remove(force=True)


def _read_file(client: docker.DockerClient, image: Image, path: str) -> bytes:
    with _created(client, image) as container:
        chunks, _ = container.get_archive(path)
        packed = io.BytesIO(b"".join(chunks))
    with tarfile.open(fileobj=packed) as tar:
        file = tar.extractfile(path.lstrip("/"))
        if file is None:
            raise ImagesError(f"{path} in {image.id} is not a file")
        return file.read()


def _write_atomically(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
