"""What can go wrong, said once: the wire code, the HTTP status, and whose fault it is.

Rule 1: every error that can reach a caller is a `HearthError`; foreign errors are mapped at the border, with `from`.
Rule 2: an error says whose fault it is, so that nobody searches in the wrong place.
"""

from enum import Enum


class Fault(Enum):
    """Who has to act for the error to go away."""

    CALLER = "caller"
    FUNCTION = "function"
    CAPACITY = "capacity"
    PLATFORM = "platform"


class HearthError(Exception):
    """An error with a documented wire form.

    `code` is the AWS exception name (header `x-amzn-ErrorType`), `status` the HTTP status. `Type` in the body is
    `User` unless the fault is the platform's. `upper_message` says whether the body's member is `Message` or
    `message`: AWS uses both, and SDKs deserialise by exact name.
    Source: the errors section of each operation in the AWS Lambda API reference.
    """

    code = "ServiceException"
    status = 500
    fault = Fault.PLATFORM
    retryable = False
    upper_message = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> dict[str, str]:
        """The error's JSON body, members in AWS's case."""
        kind = "Service" if self.fault is Fault.PLATFORM else "User"
        return {"Type": kind, "Message" if self.upper_message else "message": self.message}


class ServiceError(HearthError):
    """The platform itself failed."""

    retryable = True
    upper_message = True


class ResourceNotFound(HearthError):
    code, status, fault, upper_message = "ResourceNotFoundException", 404, Fault.CALLER, True


class ResourceConflict(HearthError):
    code, status, fault = "ResourceConflictException", 409, Fault.CALLER


class ResourceInUse(HearthError):
    code, status, fault, upper_message = "ResourceInUseException", 400, Fault.CALLER, True


class InvalidParameterValue(HearthError):
    code, status, fault = "InvalidParameterValueException", 400, Fault.CALLER


class ValidationError(HearthError):
    """A request that breaks the shape of its operation: pattern, enum, length, range, required."""

    code, status, fault = "ValidationException", 400, Fault.CALLER

    def body(self) -> dict[str, str]:
        return {"message": self.message}


class InvalidRequestContent(HearthError):
    code, status, fault = "InvalidRequestContentException", 400, Fault.CALLER


class RequestTooLarge(HearthError):
    """The model calls it RequestTooLargeException; the service sends this code."""

    code, status, fault, upper_message = "RequestEntityTooLargeException", 413, Fault.CALLER, True


class PreconditionFailed(HearthError):
    code, status, fault = "PreconditionFailedException", 412, Fault.CALLER


class AccessDenied(HearthError):
    code, status, fault, upper_message = "AccessDeniedException", 403, Fault.CALLER, True


class PolicyLengthExceeded(HearthError):
    code, status, fault = "PolicyLengthExceededException", 400, Fault.CALLER


class RecursiveInvocation(HearthError):
    """A chain of invocations that came back to the same function too often."""

    code, status, fault, upper_message = "RecursiveInvocationException", 400, Fault.CALLER, True


class CodeSigningConfigNotFound(HearthError):
    code, status, fault, upper_message = "CodeSigningConfigNotFoundException", 404, Fault.CALLER, True


class ProvisionedConcurrencyConfigNotFound(HearthError):
    code, status, fault = "ProvisionedConcurrencyConfigNotFoundException", 404, Fault.CALLER


class CodeStorageExceeded(HearthError):
    code, status, fault = "CodeStorageExceededException", 400, Fault.CALLER


class UnknownOperation(HearthError):
    code, status, fault = "UnknownOperationException", 404, Fault.CALLER


class TooManyRequests(HearthError):
    """A throttle. `reason` is one of the documented reasons, `retry_after_s` becomes `Retry-After`."""

    code, status, fault, retryable = "TooManyRequestsException", 429, Fault.CAPACITY, True

    def __init__(self, reason: str, retry_after_s: int = 1, message: str = "Rate Exceeded.") -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, str]:
        return {"Reason": self.reason, "Type": "User", "message": self.message}
