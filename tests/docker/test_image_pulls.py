"""Images that have to be pulled: a real engine, and a registry of a few lines on this host.

Source: the OCI distribution specification; an engine talks to registries on 127.0.0.0/8 without TLS.
"""

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.docker.house import unique

from hearth.adapters.docker_images import DockerImages
from hearth.core.records import ContainerImage
from hearth.ports import ImageUnusable

pytestmark = pytest.mark.docker

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
USER, PASSWORD = "somebody", "secret"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry(ThreadingHTTPServer):
    """Holds images of one file. `needs_login`: it talks to its one user only."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.needs_login = False
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def push(self, repository: str, tag: str, content: str, architecture: str = "amd64") -> str:
        """An image whose one file has this content; its digest."""
        layer = _layer(content)
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/run"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
            "history": [{"created_by": "a test"}],
        }
        parts = [(CONFIG, json.dumps(config).encode()), (LAYER, layer)]
        described = [{"mediaType": kind, "size": len(blob), "digest": digest_of(blob)} for kind, blob in parts]
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        self.blobs |= {digest_of(blob): blob for _, blob in parts}
        self.tags |= {f"{repository}/manifests/{reference}": manifest for reference in (tag, digest_of(manifest))}
        return digest_of(manifest)


def _layer(content: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("run")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


class Answers(BaseHTTPRequestHandler):
    """The part of the protocol that a pull needs."""

    server: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.removeprefix("/v2/")
        if self.server.needs_login and self.headers.get("Authorization") != f"Basic {_login()}":
            self._answer(401, b"{}", WWW_Authenticate='Basic realm="test"')
        elif not path:
            self._answer(200, b"{}")
        elif path in self.server.tags:
            manifest = self.server.tags[path]
            self._answer(200, manifest, Content_Type=MANIFEST, Docker_Content_Digest=digest_of(manifest))
        elif path.rpartition("/")[2] in self.server.blobs:
            self._answer(200, self.server.blobs[path.rpartition("/")[2]], Content_Type="application/octet-stream")
        else:
            self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing to standard error."""


def _login() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def registry(docker_engine: docker.DockerClient) -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, name="registry", daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    for image in docker_engine.images.list():
        names = (*image.tags, *(image.attrs.get("RepoDigests") or ()))
        if any(name.startswith(f"{server.name}/") for name in names):
            docker_engine.images.remove(str(image.id), force=True)


@pytest.fixture
def images() -> Iterator[DockerImages]:
    found = DockerImages("x86_64")
    yield found
    found.close()


async def test_an_image_is_pulled_once_and_meant_by_the_registrys_digest(
    registry: Registry, images: DockerImages
) -> None:
    repository = unique("app")
    digest = registry.push(repository, "1", "one")
    uri = f"{registry.name}/{repository}:1"

    assert await images.find(uri) == ContainerImage(uri, "", "")
    pulled = await images.ensure(ContainerImage(uri, "", ""))
    assert pulled == ContainerImage(uri, f"{registry.name}/{repository}@{digest}", digest.removeprefix("sha256:"))

    registry.tags.clear()  # from now on it could not be pulled again
    assert await images.find(uri) == pulled
    assert await images.ensure(pulled) == pulled


async def test_a_tag_that_moved_in_the_registry_is_seen_where_it_is_always_asked(
    registry: Registry, images: DockerImages
) -> None:
    repository = unique("app")
    uri = f"{registry.name}/{repository}:latest"
    registry.push(repository, "latest", "one")
    before = await images.ensure(ContainerImage(uri, "", ""))
    registry.push(repository, "latest", "two")
    asking = DockerImages("x86_64", "always")

    assert await images.find(uri) == before
    assert await asking.find(uri) == ContainerImage(uri, "", "")
    assert (await asking.ensure(ContainerImage(uri, "", ""))).digest != before.digest


async def test_an_image_that_was_deleted_here_is_pulled_again_by_its_digest(
    registry: Registry, images: DockerImages, docker_engine: docker.DockerClient
) -> None:
    repository = unique("app")
    uri = f"{registry.name}/{repository}:1"
    registry.push(repository, "1", "one")
    pulled = await images.ensure(ContainerImage(uri, "", ""))
    registry.push(repository, "1", "another")
    docker_engine.images.remove(str(docker_engine.images.get(pulled.resolved).id), force=True)

    assert await images.ensure(pulled) == pulled


async def test_a_registry_that_wants_a_login_gets_the_operators(
    registry: Registry, images: DockerImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = unique("app")
    uri = f"{registry.name}/{repository}:1"
    registry.push(repository, "1", "one")
    registry.needs_login = True

    with pytest.raises(ImageUnusable) as refused:
        await images.ensure(ContainerImage(uri, "", ""))
    assert refused.value.reason.code == "ImageAccessDenied"
    assert "no basic auth credentials" in refused.value.reason.text

    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": _login()}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert (await images.ensure(ContainerImage(uri, "", ""))).resolved


async def test_what_the_registry_does_not_have_or_is_for_another_processor_is_refused(
    registry: Registry, images: DockerImages
) -> None:
    repository = unique("app")
    registry.push(repository, "foreign", "one", architecture="arm64")

    with pytest.raises(ImageUnusable) as missing:
        await images.ensure(ContainerImage(f"{registry.name}/{repository}:none", "", ""))
    with pytest.raises(ImageUnusable) as foreign:
        await images.ensure(ContainerImage(f"{registry.name}/{repository}:foreign", "", ""))

    assert missing.value.reason.code == "ImageAccessDenied"
    assert foreign.value.reason.code == "InvalidImage"
