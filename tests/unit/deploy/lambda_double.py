"""A Lambda client in memory, for the command's tests: the operations it uses, in botocore's shapes."""

import base64
import hashlib
import itertools
from typing import Any


class ResourceNotFoundException(Exception):
    pass


class ResourceConflictException(Exception):
    pass


class ResourceInUseException(Exception):
    pass


class _Exceptions:
    ResourceNotFoundException = ResourceNotFoundException
    ResourceConflictException = ResourceConflictException
    ResourceInUseException = ResourceInUseException


class LambdaDouble:
    """Functions become Active at the second look, mappings Enabled likewise. `calls` are the changing operations."""

    exceptions = _Exceptions

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self.functions: dict[str, dict[str, Any]] = {}
        self.urls: dict[str, str] = {}
        self.mappings: dict[str, dict[str, Any]] = {}
        self._settled_as = "Failed" if fails else "Active"
        self._numbers = itertools.count()

    def create_function(self, *, FunctionName: str, Code: dict[str, bytes], **members: Any) -> dict[str, Any]:
        self.calls.append("create_function")
        record = {**members, "FunctionName": FunctionName, "FunctionArn": f"arn:{FunctionName}", "State": "Pending"}
        record["CodeSha256"] = _digest(Code["ZipFile"])
        self.functions[FunctionName] = record
        return dict(record)

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:
        record = self._function(FunctionName)
        answer = dict(record)
        record["State"], record["LastUpdateStatus"] = self._settled_as, "Successful"
        record["StateReason"] = "the package is broken"
        return answer

    def update_function_configuration(self, *, FunctionName: str, **members: Any) -> None:
        self._change("update_function_configuration", FunctionName, members)

    def update_function_code(self, *, FunctionName: str, ZipFile: bytes) -> None:
        self._change("update_function_code", FunctionName, {"CodeSha256": _digest(ZipFile)})

    def delete_function(self, *, FunctionName: str) -> None:
        self.calls.append("delete_function")
        del self.functions[FunctionName]

    def create_function_url_config(self, *, FunctionName: str, AuthType: str) -> dict[str, str]:
        if FunctionName in self.urls:
            raise ResourceConflictException
        self.calls.append("create_function_url_config")
        self.urls[FunctionName] = f"http://{FunctionName}.localhost/"
        return {"FunctionUrl": self.urls[FunctionName], "AuthType": AuthType}

    def get_function_url_config(self, *, FunctionName: str) -> dict[str, str]:
        return {"FunctionUrl": self.urls[FunctionName]}

    def list_event_source_mappings(self, *, FunctionName: str, EventSourceArn: str | None = None) -> dict[str, Any]:
        found = [
            each
            for each in self.mappings.values()
            if each["FunctionName"] == FunctionName and EventSourceArn in (None, each["EventSourceArn"])
        ]
        return {"EventSourceMappings": [dict(each) for each in found]}

    def create_event_source_mapping(self, **members: Any) -> dict[str, Any]:
        self.calls.append("create_event_source_mapping")
        uuid = f"uuid-{next(self._numbers)}"
        self.mappings[uuid] = {**members, "UUID": uuid, "State": "Creating"}
        return dict(self.mappings[uuid])

    def get_event_source_mapping(self, *, UUID: str) -> dict[str, Any]:
        answer = dict(self.mappings[UUID])
        self.mappings[UUID]["State"] = "Enabled"
        return answer

    def delete_event_source_mapping(self, *, UUID: str) -> None:
        self.calls.append("delete_event_source_mapping")
        del self.mappings[UUID]

    def _function(self, name: str) -> dict[str, Any]:
        try:
            return self.functions[name]
        except KeyError:
            raise ResourceNotFoundException(name) from None

    def _change(self, call: str, name: str, members: dict[str, Any]) -> None:
        record = self._function(name)
        if "Pending" in (record["State"], record.get("LastUpdateStatus")):
            raise ResourceConflictException
        self.calls.append(call)
        record.update(members, LastUpdateStatus="InProgress")


def _digest(package: bytes) -> str:
    return base64.b64encode(hashlib.sha256(package).digest()).decode()
