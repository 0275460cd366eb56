"""Function URLs: an HTTP address per function.

Source: CreateFunctionUrlConfig and its siblings in the AWS Lambda API reference.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hearth.core.attachments import Cors, UrlConfig
from hearth.core.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import answers
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.core.names import FunctionReference
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
        _check_available(parameters)
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            record = _without_alias(reference, found, "Function does not exist")
            if LATEST in record.urls:
                raise ResourceConflict(
                    f"Failed to create function url config for [functionArn = {record.arn}]. "
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
            await self._registry.put(replace(record, urls={**record.urls, LATEST: url}))
        answer = answers.function_url(record, url, self._endpoint)
        left_out = {"LastModifiedTime"} if "InvokeMode" in parameters else {"LastModifiedTime", "InvokeMode"}
        return 201, {name: value for name, value in answer.items() if name not in left_out}

    async def get(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record = _without_alias(reference, self._registry.find(reference.name), _NO_RESOURCE)
        return 200, answers.function_url(record, _url(record), self._endpoint)

    async def update(self, parameters: Parameters) -> Answer:
        _check_available(parameters)
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            record = _without_alias(reference, found, _NO_RESOURCE)
            url = replace(_url(record), modified_us=self._now_us())
            if "Cors" in parameters:
                url = replace(url, cors=_cors(parameters["Cors"]))
            if "InvokeMode" in parameters:
                url = replace(url, invoke_mode=parameters["InvokeMode"])
            await self._registry.put(replace(record, urls={**record.urls, LATEST: url}))
        return 200, answers.function_url(record, url, self._endpoint)

    async def delete(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        async with self._registry.writing(reference.name) as found:
            record = _without_alias(reference, found, _NO_RESOURCE)
            _url(record)
            await self._registry.put(
                replace(record, urls={key: url for key, url in record.urls.items() if key != LATEST})
            )
        return 204, None

    async def list(self, parameters: Parameters) -> Answer:
        reference = self._addressing.reference(parameters)
        record = _without_alias(reference, self._registry.find(reference.name), "Function does not exist")
        urls = [answers.function_url(record, url, self._endpoint) for url in record.urls.values()]
        return 200, {"FunctionUrlConfigs": urls}

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)


def _check_available(parameters: Parameters) -> None:
    if parameters.get("AuthType", "NONE") != "NONE":
        raise InvalidParameterValue("AuthType AWS_IAM is not available yet. Please use NONE.")


def _without_alias(reference: FunctionReference, record: FunctionRecord | None, missing: str) -> FunctionRecord:
    """The record, addressed as a whole: a qualifier could only be an alias, and there are none."""
    if record is None or reference.qualifier is not None:
        raise ResourceNotFound(missing)
    return record


def _url(record: FunctionRecord) -> UrlConfig:
    url = record.urls.get(LATEST)
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
