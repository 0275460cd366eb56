"""The rules of provisioned concurrency and of scaling configurations: what may have them, how much, what is shown.

Rule 1: a published version has one configuration: its own, or that of an alias.
Rule 2: what is provisioned comes out of the function's reserved concurrency, or else out of what all functions share,
of which the account's minimum must be left. It counts from the moment it is asked for.
Rule 3: the minimum of a scaling configuration is the version's own provisioned concurrency, whichever operation set
it; its maximum is a cap, and no less than what is kept ready.
Source: PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig and PutFunctionScalingConfig (which AWS has
for functions on instances of the customer's own, as these all are) in the AWS Lambda API reference;
"Configuring provisioned concurrency for a function" in the developer guide.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hearth.core.attachments import Alias
from hearth.core.errors import InvalidParameterValue, ResourceConflict
from hearth.core.function import LATEST
from hearth.core.provisioning import ProvisionedState, targets
from hearth.core.records import FunctionRecord
from hearth_gateway.core.endpoint import Endpoint

UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
NO_VERSION = "The function resource provided must be an alias or a published version."
MISSING = "No Provisioned Concurrency Config found for this function"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_qualifier(record: FunctionRecord, qualifier: str) -> None:
    """Refuse what cannot have a configuration now."""
    if qualifier == LATEST:
        raise InvalidParameterValue(UNPUBLISHED)
    alias = record.aliases.get(qualifier)
    if alias is None:
        if any(qualifier in record.aliases[name].versions for name in record.provisioned if name in record.aliases):
            raise ResourceConflict("Version is pointed by a Provisioned Concurrency alias")
        record.version(qualifier)  # which raises while there is nothing to run
        return
    if alias.weights:
        raise InvalidParameterValue("Alias with weights can not be used with Provisioned Concurrency")
    check_provisionable(record, alias)
    record.version(alias.version)


def check_provisionable(record: FunctionRecord, alias: Alias) -> None:
    """Refuse an alias whose versions cannot be provisioned through it. Weights are legal here: deployments shift
    them on an alias that has its configuration already, and its environments are split accordingly."""
    if alias.version == LATEST:
        raise InvalidParameterValue(UNPUBLISHED)
    if any(version in record.provisioned for version in alias.versions):
        raise ResourceConflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )


def check_amount(record: FunctionRecord, qualifier: str, requested: int, unreserved: int, *, minimum: int) -> None:
    """`unreserved`: what neither reservations nor provisioned concurrency have taken, this configuration's own share
    given back; `minimum`: how much of it must be left."""
    if record.reserved is not None:
        others = sum(each.requested for name, each in record.provisioned.items() if name != qualifier)
        if others + requested > record.reserved:
            raise InvalidParameterValue(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                "for function"
            )
        return
    if requested > unreserved:
        raise InvalidParameterValue(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            f"[{unreserved}]."
        )
    if unreserved - requested < minimum:
        raise InvalidParameterValue(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{minimum}]."
        )


def check_ceilings(record: FunctionRecord) -> None:
    """Refuse to keep more environments ready than there may be (rule 3)."""
    for version, count in targets(record).items():
        most = record.ceilings.get(version)
        if most is not None and count > most:
            raise InvalidParameterValue(
                f"MaxExecutionEnvironments {most} of version {version} should not be lower than its minimum, which its "
                f"provisioned concurrency and MinExecutionEnvironments set [{count}]."
            )


def with_ceiling(record: FunctionRecord, version: str, most: int | None) -> FunctionRecord:
    """The record with the most environments that this version may have, None for any number."""
    others = {number: ceiling for number, ceiling in record.ceilings.items() if number != version}
    return replace(record, ceilings=others if most is None else {**others, version: most})


def scaling(record: FunctionRecord, version: str, ready: int) -> dict[str, Any]:
    """The scaling configuration as it is answered, nothing if there is none. `ready`: environments that are there of
    those that are to be."""
    own, most = record.provisioned.get(version), record.ceilings.get(version)
    if own is None and most is None:
        return {}
    requested = 0 if own is None else own.requested
    limit = {} if most is None else {"MaxExecutionEnvironments": most}
    return {
        "AppliedFunctionScalingConfig": {"MinExecutionEnvironments": min(requested, ready), **limit},
        "RequestedFunctionScalingConfig": {"MinExecutionEnvironments": requested, **limit},
    }


def shown(state: ProvisionedState, modified_ms: int) -> dict[str, Any]:
    """The configuration as it is answered."""
    if state.available >= state.requested:
        status: Mapping[str, str] = {"Status": "READY"}
    elif state.problem is not None:
        status = {"Status": "FAILED", "StatusReason": state.problem.value}
    else:
        status = {"Status": "IN_PROGRESS"}
    return {
        "RequestedProvisionedConcurrentExecutions": state.requested,
        "AvailableProvisionedConcurrentExecutions": state.available,
        "AllocatedProvisionedConcurrentExecutions": state.allocated,
        **status,
        "LastModified": _date(modified_ms),
    }


def listed(record: FunctionRecord, qualifier: str, state: ProvisionedState, endpoint: Endpoint) -> dict[str, Any]:
    """The same as an item of a list."""
    arn = endpoint.arn(record.name, qualifier)
    return {"FunctionArn": arn, **shown(state, record.provisioned[qualifier].modified_ms)}


def _date(epoch_ms: int) -> str:
    """Whole seconds, and an offset without a colon."""
    return (_EPOCH + timedelta(milliseconds=epoch_ms)).strftime("%Y-%m-%dT%H:%M:%S+0000")
