"""Which operation a request asks for: a table of method and path, nothing else.

Rule 1: the RAW path is split at '/' before anything is decoded, because an ARN arrives as one segment that holds
`%3A` and `%2F`; one with raw slashes is understood where nothing else fits. Rule 2: a trailing slash never matters.
Rule 3: the date at the front differs between operations of one family, so it is matched like any other segment.
Source: the request syntax of each operation in the AWS Lambda API reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote


class Operation(NamedTuple):
    """One row: a name, a method and a path; a query in the template must be in the request as well."""

    name: str
    method: str
    template: str


class Route(NamedTuple):
    """What a request asks for, and the path labels it asks it of."""

    operation: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An answer on its way to the wire."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


_FUNCTION = "functions/{FunctionName}"
_LAYER = "/2018-10-31/layers/{LayerName}/versions"
_CODE_SIGNING = "/2020-04-22/code-signing-configs"
_CAPACITY = "/2025-11-30/capacity-providers"
_DURABLE = "/2025-12-01/durable-executions/{DurableExecutionArn}"
_CALLBACK = "/2025-12-01/durable-execution-callbacks/{CallbackId}"
_RESOURCE_POLICY = "/2026-07-09/resource-policy/{ResourceArn}"

# One row per operation of the service model, by family. One that has no handler is answered by name.
OPERATIONS = (
    Operation("ListFunctions", "GET", "/2015-03-31/functions"),
    Operation("CreateFunction", "POST", "/2015-03-31/functions"),
    Operation("GetFunction", "GET", f"/2015-03-31/{_FUNCTION}"),
    Operation("DeleteFunction", "DELETE", f"/2015-03-31/{_FUNCTION}"),
    Operation("UpdateFunctionCode", "PUT", f"/2015-03-31/{_FUNCTION}/code"),
    Operation("GetFunctionConfiguration", "GET", f"/2015-03-31/{_FUNCTION}/configuration"),
    Operation("UpdateFunctionConfiguration", "PUT", f"/2015-03-31/{_FUNCTION}/configuration"),
    Operation("ListVersionsByFunction", "GET", f"/2015-03-31/{_FUNCTION}/versions"),
    Operation("PublishVersion", "POST", f"/2015-03-31/{_FUNCTION}/versions"),
    Operation("ListAliases", "GET", f"/2015-03-31/{_FUNCTION}/aliases"),
    Operation("CreateAlias", "POST", f"/2015-03-31/{_FUNCTION}/aliases"),
    Operation("GetAlias", "GET", f"/2015-03-31/{_FUNCTION}/aliases/{{Name}}"),
    Operation("UpdateAlias", "PUT", f"/2015-03-31/{_FUNCTION}/aliases/{{Name}}"),
    Operation("DeleteAlias", "DELETE", f"/2015-03-31/{_FUNCTION}/aliases/{{Name}}"),
    Operation("Invoke", "POST", f"/2015-03-31/{_FUNCTION}/invocations"),
    Operation("InvokeAsync", "POST", f"/2014-11-13/{_FUNCTION}/invoke-async"),
    Operation("InvokeWithResponseStream", "POST", f"/2021-11-15/{_FUNCTION}/response-streaming-invocations"),
    Operation("PutFunctionConcurrency", "PUT", f"/2017-10-31/{_FUNCTION}/concurrency"),
    Operation("GetFunctionConcurrency", "GET", f"/2019-09-30/{_FUNCTION}/concurrency"),
    Operation("DeleteFunctionConcurrency", "DELETE", f"/2017-10-31/{_FUNCTION}/concurrency"),
    Operation(
        "ListProvisionedConcurrencyConfigs",
        "GET",
        f"/2019-09-30/{_FUNCTION}/provisioned-concurrency?List=ALL",
    ),
    Operation("PutProvisionedConcurrencyConfig", "PUT", f"/2019-09-30/{_FUNCTION}/provisioned-concurrency"),
    Operation("GetProvisionedConcurrencyConfig", "GET", f"/2019-09-30/{_FUNCTION}/provisioned-concurrency"),
    Operation("DeleteProvisionedConcurrencyConfig", "DELETE", f"/2019-09-30/{_FUNCTION}/provisioned-concurrency"),
    Operation("ListFunctionEventInvokeConfigs", "GET", f"/2019-09-25/{_FUNCTION}/event-invoke-config/list"),
    Operation("PutFunctionEventInvokeConfig", "PUT", f"/2019-09-25/{_FUNCTION}/event-invoke-config"),
    Operation("GetFunctionEventInvokeConfig", "GET", f"/2019-09-25/{_FUNCTION}/event-invoke-config"),
    Operation("UpdateFunctionEventInvokeConfig", "POST", f"/2019-09-25/{_FUNCTION}/event-invoke-config"),
    Operation("DeleteFunctionEventInvokeConfig", "DELETE", f"/2019-09-25/{_FUNCTION}/event-invoke-config"),
    Operation("ListEventSourceMappings", "GET", "/2015-03-31/event-source-mappings"),
    Operation("CreateEventSourceMapping", "POST", "/2015-03-31/event-source-mappings"),
    Operation("GetEventSourceMapping", "GET", "/2015-03-31/event-source-mappings/{UUID}"),
    Operation("UpdateEventSourceMapping", "PUT", "/2015-03-31/event-source-mappings/{UUID}"),
    Operation("DeleteEventSourceMapping", "DELETE", "/2015-03-31/event-source-mappings/{UUID}"),
    Operation("ListFunctionUrlConfigs", "GET", f"/2021-10-31/{_FUNCTION}/urls"),
    Operation("CreateFunctionUrlConfig", "POST", f"/2021-10-31/{_FUNCTION}/url"),
    Operation("GetFunctionUrlConfig", "GET", f"/2021-10-31/{_FUNCTION}/url"),
    Operation("UpdateFunctionUrlConfig", "PUT", f"/2021-10-31/{_FUNCTION}/url"),
    Operation("DeleteFunctionUrlConfig", "DELETE", f"/2021-10-31/{_FUNCTION}/url"),
    Operation("GetPolicy", "GET", f"/2015-03-31/{_FUNCTION}/policy"),
    Operation("AddPermission", "POST", f"/2015-03-31/{_FUNCTION}/policy"),
    Operation("RemovePermission", "DELETE", f"/2015-03-31/{_FUNCTION}/policy/{{StatementId}}"),
    Operation("ListLayers", "GET", "/2018-10-31/layers"),
    Operation("GetLayerVersionByArn", "GET", "/2018-10-31/layers?find=LayerVersion"),
    Operation("ListLayerVersions", "GET", _LAYER),
    Operation("PublishLayerVersion", "POST", _LAYER),
    Operation("GetLayerVersion", "GET", f"{_LAYER}/{{VersionNumber}}"),
    Operation("DeleteLayerVersion", "DELETE", f"{_LAYER}/{{VersionNumber}}"),
    Operation("GetLayerVersionPolicy", "GET", f"{_LAYER}/{{VersionNumber}}/policy"),
    Operation("AddLayerVersionPermission", "POST", f"{_LAYER}/{{VersionNumber}}/policy"),
    Operation("RemoveLayerVersionPermission", "DELETE", f"{_LAYER}/{{VersionNumber}}/policy/{{StatementId}}"),
    Operation("ListTags", "GET", "/2017-03-31/tags/{Resource}"),
    Operation("TagResource", "POST", "/2017-03-31/tags/{Resource}"),
    Operation("UntagResource", "DELETE", "/2017-03-31/tags/{Resource}"),
    Operation("GetAccountSettings", "GET", "/2016-08-19/account-settings"),
    Operation("GetRuntimeManagementConfig", "GET", f"/2021-07-20/{_FUNCTION}/runtime-management-config"),
    Operation("PutRuntimeManagementConfig", "PUT", f"/2021-07-20/{_FUNCTION}/runtime-management-config"),
    Operation("GetFunctionRecursionConfig", "GET", f"/2024-08-31/{_FUNCTION}/recursion-config"),
    Operation("PutFunctionRecursionConfig", "PUT", f"/2024-08-31/{_FUNCTION}/recursion-config"),
    Operation("GetFunctionCodeSigningConfig", "GET", f"/2020-06-30/{_FUNCTION}/code-signing-config"),
    Operation("PutFunctionCodeSigningConfig", "PUT", f"/2020-06-30/{_FUNCTION}/code-signing-config"),
    Operation("DeleteFunctionCodeSigningConfig", "DELETE", f"/2020-06-30/{_FUNCTION}/code-signing-config"),
    Operation("ListCodeSigningConfigs", "GET", _CODE_SIGNING),
    Operation("CreateCodeSigningConfig", "POST", _CODE_SIGNING),
    Operation("GetCodeSigningConfig", "GET", f"{_CODE_SIGNING}/{{CodeSigningConfigArn}}"),
    Operation("UpdateCodeSigningConfig", "PUT", f"{_CODE_SIGNING}/{{CodeSigningConfigArn}}"),
    Operation("DeleteCodeSigningConfig", "DELETE", f"{_CODE_SIGNING}/{{CodeSigningConfigArn}}"),
    Operation("ListFunctionsByCodeSigningConfig", "GET", f"{_CODE_SIGNING}/{{CodeSigningConfigArn}}/functions"),
    Operation("GetResourcePolicy", "GET", _RESOURCE_POLICY),
    Operation("PutResourcePolicy", "PUT", _RESOURCE_POLICY),
    Operation("DeleteResourcePolicy", "DELETE", _RESOURCE_POLICY),
    Operation("PutFunctionScalingConfig", "PUT", f"/2025-11-30/{_FUNCTION}/function-scaling-config"),
    Operation("GetFunctionScalingConfig", "GET", f"/2025-11-30/{_FUNCTION}/function-scaling-config"),
    Operation("ListCapacityProviders", "GET", _CAPACITY),
    Operation("CreateCapacityProvider", "POST", _CAPACITY),
    Operation("GetCapacityProvider", "GET", f"{_CAPACITY}/{{CapacityProviderName}}"),
    Operation("UpdateCapacityProvider", "PUT", f"{_CAPACITY}/{{CapacityProviderName}}"),
    Operation("DeleteCapacityProvider", "DELETE", f"{_CAPACITY}/{{CapacityProviderName}}"),
    Operation(
        "ListFunctionVersionsByCapacityProvider", "GET", f"{_CAPACITY}/{{CapacityProviderName}}/function-versions"
    ),
    Operation("ListDurableExecutionsByFunction", "GET", f"/2025-12-01/{_FUNCTION}/durable-executions"),
    Operation("GetDurableExecution", "GET", _DURABLE),
    Operation("DeleteDurableExecution", "DELETE", _DURABLE),
    Operation("GetDurableExecutionHistory", "GET", f"{_DURABLE}/history"),
    Operation("GetDurableExecutionState", "GET", f"{_DURABLE}/state"),
    Operation("CheckpointDurableExecution", "POST", f"{_DURABLE}/checkpoint"),
    Operation("StopDurableExecution", "POST", f"{_DURABLE}/stop"),
    Operation("PauseDurableExecution", "POST", f"{_DURABLE}/pause"),
    Operation("ResumeDurableExecution", "POST", f"{_DURABLE}/resume"),
    Operation("SendDurableExecutionCallbackSuccess", "POST", f"{_CALLBACK}/succeed"),
    Operation("SendDurableExecutionCallbackFailure", "POST", f"{_CALLBACK}/fail"),
    Operation("SendDurableExecutionCallbackHeartbeat", "POST", f"{_CALLBACK}/heartbeat"),
)

# Labels whose values hold slashes. Client libraries encode them; people who write URLs by hand do not.
_SLASHED = frozenset({"CallbackId", "DurableExecutionArn", "Resource", "ResourceArn"})


@dataclass(frozen=True, slots=True)
class _Row:
    """A template, ready to be matched: a label's name or the literal, per segment."""

    operation: str
    literals: tuple[str | None, ...]
    labels: tuple[str | None, ...]
    query: frozenset[tuple[str, str]]

    def match(self, segments: list[str], query: frozenset[tuple[str, str]]) -> Route | None:
        fits = all(literal in (None, segment) for literal, segment in zip(self.literals, segments, strict=True))
        if not fits or not self.query <= query:
            return None
        pairs = zip(self.labels, segments, strict=True)
        return Route(self.operation, {label: unquote(segment) for label, segment in pairs if label is not None})


def route(method: str, raw_path: str, query: str) -> Route | None:
    """The operation that a request asks for, or None. `raw_path` and `query` are as they came by wire."""
    segments = _segments(raw_path)
    rows = _TABLE.get((method, len(segments)), ())
    pairs = frozenset(parse_qsl(query)) if query else frozenset()
    found = next((found for row in rows if (found := row.match(segments, pairs)) is not None), None)
    return found or _with_raw_slashes(method, segments)


def _with_raw_slashes(method: str, segments: list[str]) -> Route | None:
    """The operation whose one label is an ARN that was not encoded: the label takes every segment between the literals
    before and behind it. The template with the most literals wins."""
    for place, row in _SLASHED_ROWS.get(method, ()):
        extra = len(segments) - len(row.literals)
        if extra > 0:
            label = "/".join(segments[place : place + extra + 1])
            found = row.match([*segments[:place], label, *segments[place + extra + 1 :]], frozenset())
            if found is not None:
                return found
    return None


def _segments(raw_path: str) -> list[str]:
    segments = raw_path.split("/")
    return segments[1:-1] if segments[-1] == "" else segments[1:]


def _row(operation: Operation) -> _Row:
    path, _, query = operation.template.partition("?")
    segments = _segments(path)
    labels = tuple(segment[1:-1] if segment.startswith("{") else None for segment in segments)
    literals = tuple(segment if label is None else None for segment, label in zip(segments, labels, strict=True))
    return _Row(operation.name, literals, labels, frozenset(parse_qsl(query)))


def _table() -> dict[tuple[str, int], tuple[_Row, ...]]:
    """Rows by method and number of segments; those that ask for a query first, being narrower."""
    table: dict[tuple[str, int], tuple[_Row, ...]] = {}
    for operation in sorted(OPERATIONS, key=lambda operation: "?" not in operation.template):
        row = _row(operation)
        key = (operation.method, len(row.literals))
        table[key] = (*table.get(key, ()), row)
    return table


def _slashed_rows() -> dict[str, list[tuple[int, _Row]]]:
    """By method, the rows whose one label may hold slashes, and its place; those with most literals first."""
    found: dict[str, list[tuple[int, _Row]]] = {}
    for (method, _), rows in sorted(_TABLE.items(), key=lambda item: -item[0][1]):
        for row in rows:
            labels = [(place, label) for place, label in enumerate(row.labels) if label is not None]
            if len(labels) == 1 and labels[0][1] in _SLASHED:
                found.setdefault(method, []).append((labels[0][0], row))
    return found


_TABLE = _table()
_SLASHED_ROWS = _slashed_rows()
