"""Function URLs: an HTTP address for a function, and for each of its aliases.

Source: CreateFunctionUrlConfig and its siblings in the AWS Lambda API reference.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hearth.core.attachments import Cors, UrlConfig
from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import answers
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_NO_RESOURCE = "The resource you requested does not exist."


class FunctionUrlOperations:
    """Handlers of the function URL operations. `clock` gives epoch seconds, `new_id` UUIDs."""

    def __init__(
        self, endpoint: Endpoint, registry: Registry, *, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)
        self._clock = clock
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("CreateFunctionUrlConfig", self.create)
        api.register("GetFunctionUrlConfig", self.get)
        api.register("UpdateFunctionUrlConfig", self.update)
        api.register("DeleteFunctionUrlConfig", self.delete)
        api.register("ListFunctionUrlConfigs", self.list)

    async def create(self, parameters: Parameters) -> Answer:
        async with self._writing(parameters, "Function does not exist") as (record, qualifier):
            if qualifier in record.urls:
                arn = record.arn if qualifier == LATEST else f"{record.arn}:{qualifier}"
                raise ResourceConflict(
                    f"Failed to create function url config for [functionArn = {arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function"
                )
            now_us = self._now_us()
            url = UrlConfig(
                # 32 lower-case letters and digits, as the service's own.
                url_id=self._new_id().replace("-", ""),
                auth_type=parameters["AuthType"],
                created_us=now_us,
                modified_us=now_us,
                cors=_cors(parameters.get("Cors")),
                invoke_mode=parameters.get("InvokeMode", "BUFFERED"),
            )
            changed = await self._put(record, qualifier, url)
        answer = answers.function_url(changed, qualifier, self._endpoint)
        left_out = {"LastModifiedTime"} if "InvokeMode" in parameters else {"LastModifiedTime", "InvokeMode"}
        return 201, {name: value for name, value in answer.items() if name not in left_out}

    async def get(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record, qualifier = _target(reference, self._registry.find(reference.name), _NO_RESOURCE)
        _url(record, qualifier)
        return 200, answers.function_url(record, qualifier, self._endpoint)

    async def update(self, parameters: Parameters) -> Answer:
        async with self._writing(parameters, _NO_RESOURCE) as (record, qualifier):
            url = replace(_url(record, qualifier), modified_us=self._now_us())
            if "AuthType" in parameters:
                url = replace(url, auth_type=parameters["AuthType"])
            if "Cors" in parameters:
                url = replace(url, cors=_cors(parameters["Cors"]))
            if "InvokeMode" in parameters:
                url = replace(url, invoke_mode=parameters["InvokeMode"])
            changed = await self._put(record, qualifier, url)
        return 200, answers.function_url(changed, qualifier, self._endpoint)

    async def delete(self, parameters: Parameters) -> Answer:
        async with self._writing(parameters, _NO_RESOURCE) as (record, qualifier):
            _url(record, qualifier)
            await self._registry.put(
                replace(record, urls={key: url for key, url in record.urls.items() if key != qualifier})
            )
        return 204, None

    async def list(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record = self._registry.find(reference.name)
        if record is None:
            raise ResourceNotFound("Function does not exist")
        page, more = paging.page(sorted(record.urls), parameters)
        urls = [answers.function_url(record, qualifier, self._endpoint) for qualifier in page]
        return 200, {"FunctionUrlConfigs": urls, **more}

    @asynccontextmanager
    async def _writing(self, parameters: Parameters, missing: str) -> AsyncIterator[tuple[FunctionRecord, str]]:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            yield _target(reference, found, missing)

    async def _put(self, record: FunctionRecord, qualifier: str, url: UrlConfig) -> FunctionRecord:
        changed = replace(record, urls={**record.urls, qualifier: url})
        await self._registry.put(changed)
        return changed

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)


def _target(reference: FunctionReference, record: FunctionRecord | None, missing: str) -> tuple[FunctionRecord, str]:
    """The function, and whose URL is meant: the function's own, or that of one of its aliases."""
    if record is None or (reference.qualifier is not None and reference.qualifier not in record.aliases):
        raise ResourceNotFound(missing)
    return record, reference.qualifier or LATEST


def _url(record: FunctionRecord, qualifier: str) -> UrlConfig:
    url = record.urls.get(qualifier)
    if url is None:
        raise ResourceNotFound(_NO_RESOURCE)
    return url


def _cors(sent: dict[str, Any] | None) -> Cors | None:
    """The settings as sent; an empty structure removes them."""
    if not sent:
        return None
    lists = {name: tuple(sent[name]) if name in sent else None for name in _CORS_LISTS}
    return Cors(
        allow_credentials=sent.get("AllowCredentials"),
        max_age_s=sent.get("MaxAge"),
        **{field: lists[name] for name, field in _CORS_LISTS.items()},
    )


_CORS_LISTS = {
    "AllowHeaders": "allow_headers",
    "AllowMethods": "allow_methods",
    "AllowOrigins": "allow_origins",
    "ExposeHeaders": "expose_headers",
}
