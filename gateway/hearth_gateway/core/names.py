"""Every form in which a caller may name a function.

A name, a partial ARN or a full ARN, each with or without a version or alias behind it. The checks run in the
order in which the service applies them: shape, length, account, qualifier. Every region and partition means this
platform, so that ARNs copied from elsewhere work; the account must be ours.
Source: the `FunctionName` parameter of Invoke in the AWS Lambda API reference.
"""

import re
from typing import NamedTuple

from hearth.core.arns import function_arn
from hearth.core.errors import AccessDenied, InvalidParameterValue, ResourceNotFound, ValidationError
from hearth.core.function import FunctionName

MAX_NAME = 64
MAX_REFERENCE = 256

NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
"""The pattern as the service states it in its error messages."""

QUALIFIER_PATTERN = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
MAX_QUALIFIER = 128
_QUALIFIER = re.compile(QUALIFIER_PATTERN, re.ASCII)

# The same language, with names for the parts. `function:x` could be a partial ARN or a function called
# "function" with a qualifier; the service reads the former, and so do we.
_PARTS = re.compile(
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9\-_.]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9\-_]+))?",
    re.ASCII,
)


NOT_WHOLE = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)


class FunctionReference(NamedTuple):
    """A function as a caller addressed it; `qualifier` is None where none was given."""

    name: FunctionName
    qualifier: str | None

    def arn(self, region: str, account: str) -> str:
        """The ARN as addressed: with the qualifier if one was given."""
        return function_arn(region, account, self.name, self.qualifier)


def parse_function_name(text: str, account: str) -> FunctionReference:
    """Read any documented form of a function's name, as seen from this account."""
    parts = _PARTS.fullmatch(text) if 0 < len(text) <= MAX_REFERENCE else None
    if parts is None:
        raise ValidationError(_shape_text(text))
    name = parts["name"]
    if len(name) > MAX_NAME:
        raise InvalidParameterValue(_violation(name, f"Member must have length less than or equal to {MAX_NAME}"))
    if parts["account"] not in (None, account):
        raise AccessDenied(
            f"User is not authorized to perform this operation on resource: {text} "
            "because no resource-based policy allows it"
        )
    return FunctionReference(FunctionName(name), parts["qualifier"])


def qualified(reference: FunctionReference, qualifier: str | None) -> FunctionReference:
    """Join the qualifier inside the name with the one of the query; the two may agree but not differ."""
    if not qualifier:
        return reference
    if len(qualifier) > MAX_QUALIFIER:
        raise ValidationError(
            _violation(qualifier, f"Member must have length less than or equal to {MAX_QUALIFIER}", "qualifier")
        )
    if _QUALIFIER.fullmatch(qualifier) is None:
        constraint = f"Member must satisfy regular expression pattern: {QUALIFIER_PATTERN}"
        raise ValidationError(_violation(qualifier, constraint, "qualifier"))
    if reference.qualifier not in (None, qualifier):
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return FunctionReference(reference.name, qualifier)


def function_level(reference: FunctionReference) -> FunctionName:
    """The bare name, for operations that concern all versions together and refuse a qualifier."""
    if reference.qualifier is not None:
        raise InvalidParameterValue(NOT_WHOLE)
    return reference.name


def function_not_found(reference: FunctionReference, region: str, account: str) -> ResourceNotFound:
    """The error for a function or qualifier that does not exist, naming it as the caller did."""
    return ResourceNotFound(f"Function not found: {reference.arn(region, account)}")


def _shape_text(text: str) -> str:
    if len(text) > MAX_REFERENCE:
        return _violation(text, f"Member must have length less than or equal to {MAX_REFERENCE}")
    if not text:
        return _violation(text, "Member must have length greater than or equal to 1")
    return _violation(text, f"Member must satisfy regular expression pattern: {NAME_PATTERN}")


def _violation(value: str, constraint: str, member: str = "functionName") -> str:
    where = f"Value '{value}' at '{member}'"
    return f"1 validation error detected: {where} failed to satisfy constraint: {constraint}"
