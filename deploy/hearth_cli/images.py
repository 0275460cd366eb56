"""Hearth's images: which there are, which are missing or out of date, and how they are built. No registry is needed.

Rule 1: an image says in its label what it was built from: a hash over its folder, its arguments and the id of the
image below it. Equal means up to date; so nothing to do costs a few look-ups, and a change below rebuilds all above.
Rule 2: a tag is set only by a build that succeeded, so an interrupted build leaves the old image or none.
"""

import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.containers import Container
from docker.models.images import Image

from hearth.config import Settings
from hearth.core import runtimes
from hearth_cli import debian_tree, recipes
from hearth_cli.recipes import BY_NAME, DEFAULTS, INIT, INTERPRETERS, Ground, ImagesError, Recipe, reference

LABEL_BUILD = "hearth.build"
LABEL_STEM = "hearth.stem"
"""On images whose client speaks the environment protocol, so that their containers can wait as stem cells. Containers
of all others are started for one function each, and ask the Runtime API for events."""

_PULL_SILENCE_S = 20
"""A registry that says nothing for this long is taken for unreachable."""
_PULL_LIMIT_S = 300.0
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

Report = Callable[[str, str, str], None]
"""Told of progress: image, step, line of the log."""


def connect() -> docker.DockerClient:
    """The engine that the environment names (DOCKER_HOST), or the local one."""
    try:
        return docker.from_env(version="auto", timeout=600)
    except DockerException as error:
        raise ImagesError(f"no Docker engine answers: {error}") from error


def wanted(client: docker.DockerClient, prefix: str = "hearth") -> list[str]:
    """What a build makes unless it is told otherwise: the default images, and those that were once asked for."""
    asked = [name for name in BY_NAME if name not in DEFAULTS and _find(client, reference(name, prefix)) is not None]
    return recipes.with_parents([*DEFAULTS, *asked])


def outdated(client: docker.DockerClient, prefix: str = "hearth", only: Iterable[str] | None = None) -> list[str]:
    """The names of the images that are missing or out of date, in the order of building. Builds and pulls nothing.

    `only` names some images (and what they stand on) instead of the wanted ones.
    """
    names = wanted(client, prefix) if only is None else recipes.with_parents(only)
    stale: list[str] = []
    for recipe in (BY_NAME[name] for name in names):
        if recipe.parent is None:
            below = _find_ground(client, _ground(recipe), prefix)
        else:
            below = _find(client, reference(recipe.parent, prefix))
        image = _find(client, reference(recipe.name, prefix))
        current = (
            image is not None
            and below is not None
            and recipe.parent not in stale
            and image.labels.get(LABEL_BUILD) == _digest(recipe, below)
        )
        if not current:
            stale.append(recipe.name)
    return stale


def installed(client: docker.DockerClient, prefix: str = "hearth") -> dict[str, runtimes.Image]:
    """The runtime images that are here, by the interpreter they carry; up to date or not."""
    found = {name: _find(client, reference(name, prefix)) for name in INTERPRETERS}
    return {
        name: runtimes.Image(reference(name, prefix), is_stem=LABEL_STEM in image.labels)
        for name, image in found.items()
        if image is not None
    }


def catalogue(client: docker.DockerClient, settings: Settings) -> runtimes.Catalogue:
    """What each runtime identifier runs on here, now."""
    return runtimes.Catalogue(
        images=installed(client, settings.image_prefix),
        own={identifier: _own(client, identifier, name) for identifier, name in settings.runtime_images.items()},
        buildable=frozenset(INTERPRETERS),
        may_substitute=settings.runtime_substitution == "nearest",
    )


def _own(client: docker.DockerClient, identifier: str, name: str) -> runtimes.Image:
    """The operator's image. One that is not here (yet) is taken for one with an ordinary client."""
    if identifier not in runtimes.RUNTIMES:
        raise ImagesError(f"runtime_images: there is no runtime {identifier}")
    image = _find(client, name)
    return runtimes.Image(name, is_stem=image is not None and LABEL_STEM in image.labels)


def build(
    client: docker.DockerClient,
    *,
    prefix: str = "hearth",
    only: Iterable[str] | None = None,
    force: bool = False,
    report: Report = lambda _image, _step, _line: None,
) -> list[str]:
    """Build what is missing or out of date, and return the names of what was built.

    `only` names some images (and what they stand on) instead of the wanted ones; `force` builds them anew, with
    today's packages.
    """
    names = wanted(client, prefix) if only is None else recipes.with_parents(only)
    stale = names if force else outdated(client, prefix, names)
    for name in stale:
        below = _below(client, BY_NAME[name], prefix, report)
        _build_one(client, BY_NAME[name], below, prefix=prefix, force=force, report=report)
    return stale


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


# ---- what the base images stand on ----


def _find(client: docker.DockerClient, name: str) -> Image | None:
    try:
        return client.images.get(name)
    except ImageNotFound:
        return None


def _ground(recipe: Recipe) -> Ground:
    assert recipe.ground is not None, recipe  # a recipe has a parent or a ground
    return recipe.ground


def _tree_reference(suite: str, prefix: str) -> str:
    return f"{prefix}/debian:{suite}"


def _tree_hash(suite: str) -> str:
    return hashlib.sha256(debian_tree.recipe(suite).encode()).hexdigest()


def _find_ground(client: docker.DockerClient, ground: Ground, prefix: str) -> Image | None:
    """The ground as it is here already: pulled, or made by us with today's recipe."""
    pulled = _find(client, ground.image)
    if pulled is not None or ground.suite is None:
        return pulled
    made = _find(client, _tree_reference(ground.suite, prefix))
    return made if made is not None and made.labels.get(LABEL_BUILD) == _tree_hash(ground.suite) else None


def _below(client: docker.DockerClient, recipe: Recipe, prefix: str, report: Report) -> Image:
    if recipe.parent is not None:
        return client.images.get(reference(recipe.parent, prefix))
    ground = _ground(recipe)
    found = _find_ground(client, ground, prefix) or _pull(ground.image, recipe.name, report)
    if found is not None:
        return found
    if ground.suite is None:
        raise ImagesError(f"{ground.image} cannot be pulled here, and {recipe.name} cannot be made from anything else")
    return _make_debian(client, ground.suite, prefix, report)


def _pull(name: str, image: str, report: Report) -> Image | None:
    """An image from a registry, or None where there is none to be reached. `image` is ours, which it is for."""
    step = f"pull {name}"
    give_up_at = time.monotonic() + _PULL_LIMIT_S
    repository, tag = name.split(":")
    # A client of its own: its time-out is how long the engine may say nothing.
    impatient = docker.from_env(version="auto", timeout=_PULL_SILENCE_S)
    try:
        for event in impatient.api.pull(repository, tag=tag, stream=True, decode=True):
            report(image, step, str(event.get("status", event.get("error", ""))))
            if "error" in event or time.monotonic() > give_up_at:
                return None
        return _find(impatient, name)
    except (APIError, requests.RequestException) as error:
        report(image, step, f"not to be had: {error}")
        return None
    finally:
        impatient.close()


def _make_debian(client: docker.DockerClient, suite: str, prefix: str, report: Report) -> Image:
    name = _tree_reference(suite, prefix)
    repository, tag = name.rsplit(":", 1)
    step = f"make a Debian {suite} tree"
    try:
        with debian_tree.made(suite, lambda line: report("debian", step, line)) as tar:
            report("debian", "import it", name)
            client.api.import_image_from_file(
                str(tar), repository, tag=tag, changes=[f"LABEL {LABEL_BUILD}={_tree_hash(suite)}"]
            )
    except debian_tree.TreeError as error:
        raise ImagesError(str(error)) from error
    return client.images.get(name)


# ---- building ----


def _digest(recipe: Recipe, below: Image) -> str:
    return recipes.digest(recipes.context(recipe), recipe.arguments, str(below.id))


def _build_one(
    client: docker.DockerClient, recipe: Recipe, below: Image, *, prefix: str, force: bool, report: Report
) -> None:
    name = reference(recipe.name, prefix)
    before = _find(client, name)
    report(recipe.name, "start", f"building {name}")
    events = client.api.build(
        fileobj=recipes.packed(recipes.context(recipe)),
        custom_context=True,
        tag=name,
        labels={LABEL_BUILD: _digest(recipe, below)},
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
