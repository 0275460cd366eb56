"""Drives the Lambda API as a client library would, without a socket in between.

Requests are serialised and answers parsed by botocore, so every test also tests the wire form.
"""

import functools
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize

from hearth.core.runtimes import Catalogue
from hearth.layers import LayerBook
from hearth.packages import CodePackages
from hearth.registry import Change, Registry
from hearth.testing import InMemoryImages, InMemoryStore
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.operations import ApiResponse, route
from hearth_gateway.lambda_api.code_sources import NoObjects, Objects
from hearth_gateway.lambda_api.control_plane import ControlPlane, control_plane

ROLE = "arn:aws:iam::000000000000:role/r"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
RUNTIMES = Catalogue.of("python3.13", "nodejs22.x", "provided")
ENDPOINT = Endpoint(region="us-east-1", account="000000000000", port=9400, runtimes=RUNTIMES)
START_S = 1_795_225_000.25


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


CODE = zipped(app=b"one")
OTHER_CODE = zipped(app=b"another")


@functools.cache
def service_model() -> Any:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("lambda", "service-2"))


class Harness:
    """A control plane on an in-memory store, a clock that stands still, and ids that count."""

    def __init__(
        self,
        data_dir: Path,
        store: InMemoryStore | None = None,
        endpoint: Endpoint = ENDPOINT,
        *,
        layer_store: InMemoryStore | None = None,
    ) -> None:
        self.store = store or InMemoryStore()
        self.layer_store = layer_store or InMemoryStore()
        self.endpoint = endpoint
        self.registry = Registry(self.store)
        self.packages = CodePackages(data_dir, max_total_bytes=10**9)
        self.layers = LayerBook(self.layer_store)
        self.objects: Objects = NoObjects()
        self.images = InMemoryImages()
        self.changes: list[Change] = []
        self.now_s = START_S
        self._ids: Iterator[int] = iter(range(1, 10**9))
        self._plane: ControlPlane | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Harness"]:
        self.registry.on_change(self.changes.append)
        await self.registry.load()
        await self.layers.load()
        await self.packages.open()
        plane = control_plane(
            self.endpoint,
            self.registry,
            self.packages,
            layers=self.layers,
            objects=self.objects,
            images=self.images,
            clock=lambda: self.now_s,
            new_id=self._new_id,
        )
        async with plane as self._plane:
            yield self

    @property
    def plane(self) -> ControlPlane:
        assert self._plane is not None
        return self._plane

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The parsed answer of an operation, the status among its members as `status`."""
        model = service_model().operation_model(operation)
        request = botocore.serialize.create_serializer("rest-json").serialize_to_request(parameters, model)
        query = urlencode(request.get("query_string", {}), doseq=True)
        target = request["url_path"] + ("&" if "?" in request["url_path"] else "?") + query
        answer = await self.raw(request["method"], target, request["body"])
        parser = botocore.parsers.create_parser("rest-json")
        response = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.body}
        parsed: dict[str, Any] = parser.parse(response, model.output_shape)
        parsed.pop("ResponseMetadata")
        return {**parsed, "status": answer.status}

    async def raw(self, method: str, target: str, body: bytes | str = b"", host: str = "127.0.0.1:9400") -> ApiResponse:
        """The answer to a request as bytes."""
        parts = urlsplit(target)
        found = route(method, parts.path, parts.query)
        assert found is not None, target
        content = body.encode() if isinstance(body, str) else body
        query = parse_qs(parts.query, keep_blank_values=True)
        return await self.plane.api.handle(found, query, {"Host": host}, content, permit=lambda _: None)

    async def create(self, name: str = "hello", **parameters: Any) -> dict[str, Any]:
        """Create a function with what every function needs; it is Pending when this returns."""
        needed = {"Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}}
        return await self.call("CreateFunction", FunctionName=name, **{**needed, **parameters})

    async def created(self, name: str = "hello", **parameters: Any) -> dict[str, Any]:
        """Create a function and wait until it is Active."""
        await self.create(name, **parameters)
        await self.plane.deployer.idle()
        return await self.call("GetFunctionConfiguration", FunctionName=name)

    def _new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012}"
