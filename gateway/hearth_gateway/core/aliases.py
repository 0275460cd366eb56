"""Aliases: names for versions, and shares of the invocations for a second one.

Source: CreateAlias, UpdateAlias and AliasRoutingConfiguration in the AWS Lambda API reference; "Implement Lambda
canary deployments using a weighted alias" in the developer guide.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hearth.core.attachments import Alias
from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.core.function import LATEST
from hearth.core.records import FunctionRecord
from hearth_gateway.core.provisioned import check_provisionable
from hearth_gateway.core.versions import without_attachments


def new_alias(record: FunctionRecord, parameters: Mapping[str, Any], revision_id: str) -> Alias:
    """The alias that CreateAlias asks for."""
    return changed_alias(record, Alias(parameters["Name"], "", ""), parameters, revision_id)


def changed_alias(record: FunctionRecord, alias: Alias, parameters: Mapping[str, Any], revision_id: str) -> Alias:
    """The alias with the members that were sent; weights that were sent replace the old ones whole."""
    weights = alias.weights
    if "RoutingConfig" in parameters:
        weights = parameters["RoutingConfig"].get("AdditionalVersionWeights", {})
    changed = replace(
        alias,
        version=parameters.get("FunctionVersion", alias.version),
        description=parameters.get("Description", alias.description),
        weights=dict(weights),
        revision_id=revision_id,
    )
    _check(record, changed)
    if alias.name in record.provisioned:
        check_provisionable(record, changed)
    return changed


def with_alias(record: FunctionRecord, alias: Alias) -> FunctionRecord:
    """The record with this in the place of the alias of the same name."""
    return replace(record, aliases={**record.aliases, alias.name: alias})


def without_alias(record: FunctionRecord, name: str) -> FunctionRecord:
    """The record without the alias and what is attached to it."""
    aliases = {key: alias for key, alias in record.aliases.items() if key != name}
    return replace(without_attachments(record, name), aliases=aliases)


def _check(record: FunctionRecord, alias: Alias) -> None:
    _check_exists(record, alias.version)
    if len(alias.weights) > 1:
        raise InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for other in alias.weights:
        if other == alias.version:
            raise InvalidParameterValue(
                f"Invalid function version {other}. "
                f"Function version {other} is already included in routing configuration."
            )
        if alias.version == LATEST:
            raise InvalidParameterValue("$LATEST is not supported for an alias pointing to more than 1 version")
        _check_exists(record, other)
        _check_alike(record, alias.version, other)


def _check_exists(record: FunctionRecord, number: str) -> None:
    if number != LATEST and number not in record.versions:
        raise ResourceNotFound(f"Function not found: {record.arn}:{number}")


def _check_alike(record: FunctionRecord, one: str, other: str) -> None:
    """Whoever invokes the alias must be able to rely on one role, and on one place for what failed."""
    first, second = (record.versions[number].deployment.configuration for number in (one, other))
    if (first.role, first.dead_letter_arn) != (second.role, second.dead_letter_arn):
        raise InvalidParameterValue(
            f"Function versions {one} and {other} must have the same execution role and dead-letter queue "
            "to be in one routing configuration."
        )
