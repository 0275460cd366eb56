"""Which destinations a function's asynchronous invocations may have.

Source: `DestinationConfig` in the AWS Lambda API reference.
"""

from hearth.core.errors import InvalidParameterValue
from hearth.core.function import FunctionName
from hearth.registry import Registry
from hearth_gateway.core.addresses import BucketAddress, FunctionAddress, parse_target
from hearth_gateway.core.names import parse_function_name


class Destinations:
    """Judges destination ARNs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def check(self, arn: str, own: FunctionName, *, is_success: bool) -> None:
        """Raises InvalidParameterValue for what takes no record, a function that is not there, or the one whose records
        these are."""
        match parse_target(arn):
            case FunctionAddress():
                self._check_function(arn, own)
            case None:
                raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")
            case BucketAddress() if is_success:
                raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")

    def _check_function(self, arn: str, own: FunctionName) -> None:
        reference = parse_function_name(arn, arn.split(":")[4])
        if reference.name == own:
            raise InvalidParameterValue("You can't specify the function as a destination for itself.")
        record = self._registry.find(reference.name)
        if record is None or record.find(reference.qualifier) is None:
            raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")
