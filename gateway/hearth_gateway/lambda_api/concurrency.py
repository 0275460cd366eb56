"""Reserved concurrency, and the account's limits around it.

Source: PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency and GetAccountSettings in the AWS
Lambda API reference.
"""

from dataclasses import replace

from hearth.core.errors import InvalidParameterValue
from hearth.core.package_rules import MAX_UNZIPPED_BYTES, MAX_ZIPPED_BYTES
from hearth.core.records import FunctionRecord
from hearth.packages import CodePackages
from hearth.registry import Registry
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters


class ConcurrencyOperations:
    """Handlers of the concurrency operations and of GetAccountSettings."""

    def __init__(self, endpoint: Endpoint, registry: Registry, packages: CodePackages) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._packages = packages
        self._addressing = Addressing(registry, endpoint)

    def register(self, api: LambdaApi) -> None:
        api.register("PutFunctionConcurrency", self.put)
        api.register("GetFunctionConcurrency", self.get)
        api.register("DeleteFunctionConcurrency", self.delete)
        api.register("GetAccountSettings", self.account_settings)

    async def put(self, parameters: Parameters) -> Answer:
        reserved: int = parameters["ReservedConcurrentExecutions"]
        await self._reserve(parameters, reserved)
        return 200, {"ReservedConcurrentExecutions": reserved}

    async def get(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        return 200, {} if record.reserved is None else {"ReservedConcurrentExecutions": record.reserved}

    async def delete(self, parameters: Parameters) -> Answer:
        await self._reserve(parameters, None)
        return 204, None

    async def account_settings(self, parameters: Parameters) -> Answer:
        unreserved = self._endpoint.account_concurrency - self._registry.reserved
        limit = {
            "TotalCodeSize": self._endpoint.code_storage_bytes,
            "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
            "CodeSizeZipped": MAX_ZIPPED_BYTES,
            "ConcurrentExecutions": self._endpoint.account_concurrency,
            "UnreservedConcurrentExecutions": unreserved,
        }
        usage = {"TotalCodeSize": self._packages.total_bytes, "FunctionCount": len(self._registry)}
        return 200, {"AccountLimit": limit, "AccountUsage": usage}

    async def _reserve(self, parameters: Parameters, reserved: int | None) -> None:
        async with self._registry.reserving, self._addressing.writing(parameters) as record:
            if reserved is not None:
                self._check_unreserved(record, reserved)
            await self._registry.put(replace(record, reserved=reserved))

    def _check_unreserved(self, record: FunctionRecord, reserved: int) -> None:
        """What is provisioned without a reservation is set aside as well; this function's is part of its own now."""
        provisioned = sum(each.requested for each in record.provisioned.values())
        if reserved < provisioned:
            raise InvalidParameterValue(
                f"ReservedConcurrentExecutions {reserved} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}]."
            )
        freed = provisioned if record.reserved is None else record.reserved
        taken = self._registry.reserved + self._registry.provisioned - freed + reserved
        left = self._endpoint.account_concurrency - taken
        if left < self._endpoint.unreserved_minimum:
            raise InvalidParameterValue(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{self._endpoint.unreserved_minimum}]."
            )
