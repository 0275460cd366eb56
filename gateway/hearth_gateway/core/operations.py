"""Which operation a request asks for: a table of method and path, nothing else.

Rule 1: the RAW path is split at '/' before anything is decoded, because an ARN arrives as one segment that
holds `%3A` and `%2F`. Rule 2: a trailing slash never matters. Rule 3: the date at the front differs between
operations of one family, so it is matched like any other segment.
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

# One row per operation, by family. An operation that is listed but has no handler is answered by name.
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
)


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
    return next((found for row in rows if (found := row.match(segments, pairs)) is not None), None)


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


_TABLE = _table()
