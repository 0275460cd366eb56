"""The operations on published versions.

Source: PublishVersion and ListVersionsByFunction in the AWS Lambda API reference.
"""

from collections.abc import Callable

from hearth.core.errors import InvalidParameterValue
from hearth.core.records import FunctionRecord
from hearth.registry import Registry
from hearth_gateway.core import answers, configuration, versions
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api import paging
from hearth_gateway.lambda_api.addressing import Addressing
from hearth_gateway.lambda_api.api import Answer, LambdaApi, Parameters


class VersionOperations:
    """Handlers of the version operations. `clock` gives epoch seconds, `new_id` UUIDs."""

    def __init__(
        self, endpoint: Endpoint, registry: Registry, *, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._addressing = Addressing(registry, endpoint)
        self._clock = clock
        self._new_id = new_id

    def register(self, api: LambdaApi) -> None:
        api.register("PublishVersion", self.publish)
        api.register("ListVersionsByFunction", self.list)

    async def publish(self, parameters: Parameters) -> Answer:
        configuration.refuse_unavailable(parameters)
        async with self._addressing.changing(parameters) as current:
            versions.check_publishable(current)
            _check_code(current, parameters.get("CodeSha256"))
            record, version = versions.published(
                current,
                # An empty description is none, as clients that always send the member mean it.
                description=parameters.get("Description") or None,
                revision_id=self._new_id(),
                now_ms=int(self._clock() * 1000),
            )
            if record is not current:
                await self._registry.put(record)
        return 201, answers.function_configuration(record, version, self._endpoint, version.version)

    async def list(self, parameters: Parameters) -> Answer:
        record = self._addressing.find_whole(parameters)
        after, size = paging.asked(parameters)
        found = versions.of_page(record, after, size + 1)
        shown = [version for _, version in found[:size]]
        listed = [answers.listed_configuration(record, version, version.version) for version in shown]
        last = None if len(found) <= size else shown[-1].version
        return 200, {"Versions": listed, **paging.next_marker(last)}


def _check_code(record: FunctionRecord, wanted: str | None) -> None:
    """Refuse to publish other code than the caller thinks is there."""
    current = answers.code_sha256(record.latest.deployment)
    if wanted and wanted != current:
        raise InvalidParameterValue(
            f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
