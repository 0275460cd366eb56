"""Code signing: no function has a configuration, and none can be made, since it takes AWS Signer.

Tools ask each function for its configuration after every read and take an empty answer for "none".
Source: the code signing operations in the AWS Lambda API reference.
"""

from typing import NoReturn

from hearth.core.errors import CodeSigningConfigNotFound, InvalidParameterValue, ResourceNotFound
from hearth.registry import Registry
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_NOT_FOUND = "The Lambda code signing configuration {} can not be found."


class CodeSigning:
    """Handlers of the code signing operations."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._addressing = Addressing(registry, endpoint)

    def register(self, api: LambdaApi) -> None:
        api.register("GetFunctionCodeSigningConfig", self.of_function)
        api.register("PutFunctionCodeSigningConfig", self.attach)
        api.register("DeleteFunctionCodeSigningConfig", self.detach)
        api.register("ListCodeSigningConfigs", self.list_none)
        api.register("CreateCodeSigningConfig", self.refuse)
        for operation in ("GetCodeSigningConfig", "UpdateCodeSigningConfig", "DeleteCodeSigningConfig"):
            api.register(operation, self.missing)
        api.register("ListFunctionsByCodeSigningConfig", self.missing)

    async def of_function(self, parameters: Parameters) -> Answer:
        self._addressing.find_whole(parameters)
        return 200, {}

    async def attach(self, parameters: Parameters) -> Answer:
        self._addressing.find_whole(parameters)
        raise CodeSigningConfigNotFound(_NOT_FOUND.format(parameters["CodeSigningConfigArn"]))

    async def detach(self, parameters: Parameters) -> Answer:
        self._addressing.find_whole(parameters)
        return 204, None

    async def list_none(self, parameters: Parameters) -> Answer:
        return 200, {"CodeSigningConfigs": []}

    async def refuse(self, parameters: Parameters) -> NoReturn:
        raise InvalidParameterValue("Code signing is not available on this platform: it requires AWS Signer.")

    async def missing(self, parameters: Parameters) -> NoReturn:
        raise ResourceNotFound(_NOT_FOUND.format(parameters["CodeSigningConfigArn"]))
