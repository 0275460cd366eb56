"""Durable executions: there are none, since no function can be created with a DurableConfig.

So lists are empty and everything that names an execution, a callback or a checkpoint names one that does not exist.
Source: the durable execution operations in the AWS Lambda API reference.
"""

from typing import NoReturn

from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.registry import Registry
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters

_OF_EXECUTION = ("Delete", "Get", "Pause", "Resume", "Stop")
_OF_CALLBACK = ("Failure", "Heartbeat", "Success")


class DurableExecutions:
    """Handlers of the durable execution operations."""

    def __init__(self, endpoint: Endpoint, registry: Registry) -> None:
        self._addressing = Addressing(registry, endpoint)

    def register(self, api: LambdaApi) -> None:
        api.register("ListDurableExecutionsByFunction", self.list_none)
        for verb in _OF_EXECUTION:
            api.register(f"{verb}DurableExecution", self.no_execution)
        api.register("GetDurableExecutionHistory", self.no_execution)
        for end in _OF_CALLBACK:
            api.register(f"SendDurableExecutionCallback{end}", self.no_callback)
        # Those two are the function's own, made with a token that it was given; there was none to give.
        api.register("CheckpointDurableExecution", self.no_checkpoint)
        api.register("GetDurableExecutionState", self.no_checkpoint)

    async def list_none(self, parameters: Parameters) -> Answer:
        self._addressing.find(parameters)
        return 200, {"DurableExecutions": []}

    async def no_execution(self, parameters: Parameters) -> NoReturn:
        raise ResourceNotFound(f"Durable execution not found: {parameters['DurableExecutionArn']}")

    async def no_callback(self, parameters: Parameters) -> NoReturn:
        raise ResourceNotFound(f"Callback not found: {parameters['CallbackId']}")

    async def no_checkpoint(self, parameters: Parameters) -> NoReturn:
        raise InvalidParameterValue("Invalid Checkpoint Token.")
