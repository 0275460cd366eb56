"""Every form in which a caller may name a layer or one of its versions.

Rule 1: any region is legal, and means this platform: ARNs that were written for another region go on working.
Rule 2: another account's layer is out of reach, as on AWS without a permission of its owner.
The shapes are checked already. Source: the `LayerName` and `Arn` parameters and `Layers` of a function in the AWS
Lambda API reference.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hearth.core.errors import AccessDenied, InvalidParameterValue, ResourceNotFound
from hearth_gateway.core.endpoint import Endpoint

MAX_LAYERS = 5

_PREFIX = "arn:"
_ACCOUNT, _NAME, _NUMBER = 4, 6, 7
"""Places in `arn:aws:lambda:region:account:layer:name:number`."""


class LayerVersionName(NamedTuple):
    """A version of one of our layers."""

    layer: str
    number: int


def layer_name(text: str, endpoint: Endpoint) -> str:
    """The bare name of a layer that was given by name or ARN."""
    if not text.startswith(_PREFIX):
        return text
    parts = text.split(":")
    _check_account(text, parts[_ACCOUNT], endpoint)
    return parts[_NAME]


def layer_version(arn: str, endpoint: Endpoint) -> LayerVersionName | None:
    """The version that a full ARN names; None for a form that names no version of a customer's layer."""
    parts = arn.split(":")
    if len(parts) <= _NUMBER:
        return None
    _check_account(arn, parts[_ACCOUNT], endpoint)
    return LayerVersionName(parts[_NAME], int(parts[_NUMBER]))


def referenced(arns: Sequence[str], endpoint: Endpoint) -> list[LayerVersionName]:
    """The layer versions of a function, in order, if they may be together. Whether they exist is not asked here."""
    if len(arns) > MAX_LAYERS:
        raise InvalidParameterValue(f"Cannot reference more than {MAX_LAYERS} layers.")
    found: dict[str, tuple[str, LayerVersionName]] = {}
    for arn in arns:
        name = layer_version(arn, endpoint)
        if name is None:
            raise InvalidParameterValue(f"Layer version {arn} does not exist.")
        if name.layer in found:
            raise InvalidParameterValue(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{found[name.layer][0]} and {arn} are versions of the same layer."
            )
        found[name.layer] = (arn, name)
    return [name for _, name in found.values()]


def check_number(number: int) -> None:
    """Version numbers begin at 1."""
    if number < 1:
        raise InvalidParameterValue("Layer Version Cannot be less than 1")


def not_found() -> ResourceNotFound:
    """A layer or version that does not exist, where the service does not name it."""
    return ResourceNotFound("The resource you requested does not exist.")


def _check_account(arn: str, account: str, endpoint: Endpoint) -> None:
    if account and account != endpoint.account:
        raise AccessDenied(
            f"User is not authorized to perform: lambda:GetLayerVersion on resource: {arn} "
            "because no resource-based policy allows the lambda:GetLayerVersion action"
        )
