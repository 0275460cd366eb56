"""The errors of SQS: one name in the JSON protocol, another in the query protocol, and the service's own words.

Clients of the JSON protocol learn both: the name from `__type`, the older code from the header `x-amzn-query-error`,
which is what SDKs have always shown as the error's code.
Source: "Common errors" and each operation's errors in the Amazon SQS API reference; AWS query compatible protocols,
Smithy 2.0.
"""

from hearth.core.errors import Fault, HearthError

_PREFIX = "AWS.SimpleQueueService."

# What the query protocol calls an error, where that is another name.
_QUERY_CODES = {
    "QueueDoesNotExist": f"{_PREFIX}NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "QueueDeletedRecently": f"{_PREFIX}QueueDeletedRecently",
    "PurgeQueueInProgress": f"{_PREFIX}PurgeQueueInProgress",
    "TooManyEntriesInBatchRequest": f"{_PREFIX}TooManyEntriesInBatchRequest",
    "EmptyBatchRequest": f"{_PREFIX}EmptyBatchRequest",
    "BatchEntryIdsNotDistinct": f"{_PREFIX}BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": f"{_PREFIX}BatchRequestTooLong",
    "InvalidBatchEntryId": f"{_PREFIX}InvalidBatchEntryId",
    "MessageNotInflight": f"{_PREFIX}MessageNotInflight",
    "UnsupportedOperation": f"{_PREFIX}UnsupportedOperation",
    # Errors of the way to the service, and of its request reader.
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidParameterValueException": "InvalidParameterValue",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "MissingRequiredParameterException": "MissingParameter",
    "SerializationException": "MalformedInput",
    "ServiceException": "InternalFailure",
    "UnknownOperationException": "InvalidAction",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}


class SqsError(HearthError):
    """A request that SQS refuses."""

    fault = Fault.CALLER

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def query_code(code: str) -> str:
    """What the query protocol calls the error of this name."""
    return _QUERY_CODES.get(code, code)


def no_queue() -> SqsError:
    """There is no queue of that name."""
    return SqsError("QueueDoesNotExist", "The specified queue does not exist.")


def missing(parameter: str) -> SqsError:
    """A parameter that the operation cannot do without."""
    return SqsError("MissingRequiredParameterException", f"The request must contain the parameter {parameter}.")


def invalid(message: str) -> SqsError:
    """A parameter whose value will not do."""
    return SqsError("InvalidParameterValueException", message)


def out_of_range(value: object, parameter: str, reason: str) -> SqsError:
    """The service's sentence about a parameter outside its range."""
    return invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def unsupported(message: str) -> SqsError:
    """Something that this queue, at this time, does not do."""
    return SqsError("UnsupportedOperation", message)


def not_found(message: str) -> SqsError:
    """Something else than a queue that is not there."""
    return SqsError("ResourceNotFoundException", message, 404)


def bad_handle(handle: str) -> SqsError:
    """A receipt handle that no receive has given."""
    return SqsError(
        "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.', 404
    )
