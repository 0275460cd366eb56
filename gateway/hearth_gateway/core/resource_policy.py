"""Resource-based policies as values: statements made from parameters, added to a document and taken from it.

Rule 1: a document stays as it was written. Tools compare the condition keys letter by letter, `AWS:SourceArn` included,
and the whole document can also be replaced at once.
Rule 2: a document without statements does not exist.
Source: AddPermission, RemovePermission and GetPolicy in the AWS Lambda API reference; "Viewing resource-based IAM
policies in Lambda" in the developer guide.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from hearth.core.attachments import Policy
from hearth.core.errors import (
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from hearth.core.policy_document import MalformedPolicy, parse_policy

MAX_POLICY_CHARACTERS = 20_480

_BAD_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_IDENTITY = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d{12}:\S+", re.ASCII)
_SERVICE = re.compile(r"(?:[a-z0-9-]+\.)+amazonaws\.com(?:\.cn)?|[a-z0-9-]+\.hearth", re.ASCII)

Statement = dict[str, Any]

_CONDITIONS = (
    ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
    ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
    ("OrganizationId", "StringEquals", "aws:PrincipalOrgID"),
    ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
    ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
    ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
    ("SourceArn", "ArnLike", "AWS:SourceArn"),
)
"""Parameter, operator, condition key. The service writes the keys in just this mix of cases."""


def statement_of(parameters: Mapping[str, Any], resource: str) -> Statement:
    """The statement that the flat parameters of AddPermission or AddLayerVersionPermission describe."""
    statement: Statement = {
        "Sid": parameters["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(parameters["Principal"]),
        "Action": parameters["Action"],
        "Resource": resource,
    }
    conditions = _conditions(parameters)
    return {**statement, "Condition": conditions} if conditions else statement


def added(policy: Policy | None, statement: Statement, revision_id: str) -> Policy:
    """The policy with one statement more. Statement ids are unique within it."""
    statements = statements_of(policy)
    if any(known.get("Sid") == statement["Sid"] for known in statements):
        raise ResourceConflict(
            f"The statement id ({statement['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    return _policy([*statements, statement], revision_id)


def removed(policy: Policy, sid: str, revision_id: str) -> Policy | None:
    """The policy without one statement; None if it was the last."""
    statements = statements_of(policy)
    left = [known for known in statements if known.get("Sid") != sid]
    if len(left) == len(statements):
        raise ResourceNotFound(f"Statement {sid} is not found in resource policy.")
    return _policy(left, revision_id) if left else None


def replaced(document: str, revision_id: str) -> Policy:
    """A whole new policy, if it is one."""
    if len(document) > MAX_POLICY_CHARACTERS:
        raise _too_long()
    try:
        parse_policy(document)
    except MalformedPolicy as error:
        raise InvalidParameterValue(f"The policy is malformed: {error}") from error
    return Policy(document, revision_id)


def statements_of(policy: Policy | None) -> list[Statement]:
    """The statements of a document, which may hold a single one without a list around it."""
    if policy is None:
        return []
    statements = json.loads(policy.document)["Statement"]
    return statements if isinstance(statements, list) else [statements]


def check_revision(policy: Policy | None, revision_id: str | None, *, operation: str = "GetPolicy") -> None:
    """The caller's guard: the revision it last read."""
    if revision_id and (policy is None or policy.revision_id != revision_id):
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {operation} API to retrieve the latest Revision Id"
        )


def as_text(value: object) -> str:
    """JSON as the service writes it into answers: without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _policy(statements: list[Statement], revision_id: str) -> Policy:
    document = as_text({"Version": "2012-10-17", "Id": "default", "Statement": statements})
    if len(document) > MAX_POLICY_CHARACTERS:
        raise _too_long()
    return Policy(document, revision_id)


def _too_long() -> PolicyLengthExceeded:
    return PolicyLengthExceeded(f"The final policy size is bigger than the limit ({MAX_POLICY_CHARACTERS}).")


def _principal(given: str) -> object:
    if given == "*":
        return "*"
    if _ACCOUNT.fullmatch(given):
        return {"AWS": f"arn:aws:iam::{given}:root"}
    if _IDENTITY.fullmatch(given):
        return {"AWS": given}
    if _SERVICE.fullmatch(given):
        return {"Service": given}
    raise InvalidParameterValue(_BAD_PRINCIPAL)


def _conditions(parameters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, operator, key in _CONDITIONS:
        value = parameters.get(name)
        if value is None or value is False:
            continue
        found.setdefault(operator, {})[key] = "true" if value is True else value
    return found
